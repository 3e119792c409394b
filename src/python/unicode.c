/* unicode: see unicode.h. No memory of its own, no system calls: it also runs inside other programs. */
#include "python/unicode.h"

#include <string.h>

bool unicode_head(const struct layout *l, const uint8_t *head, struct unicode *out)
{
    uint32_t state;
    memcpy(&out->length, head + l->unicode.length, sizeof(out->length));
    memcpy(&state, head + l->unicode.state, sizeof(state));
    out->kind = state >> l->unicode.kind_shift & 7;
    out->data = state >> l->unicode.ascii_shift & 1 ? l->unicode.ascii_data : l->unicode.data;
    bool compact = state >> l->unicode.compact_shift & 1;
    return compact && (out->kind == 1 || out->kind == 2 || out->kind == 4);
}

uint32_t unicode_at(const uint8_t *data, uint32_t kind, uint64_t i)
{
    uint16_t two;
    uint32_t four;
    switch (kind) {
    case 1:
        return data[i];
    case 2:
        memcpy(&two, data + 2 * i, sizeof(two));
        return two;
    default:
        memcpy(&four, data + 4 * i, sizeof(four));
        return four;
    }
}

size_t unicode_utf8(uint8_t out[static UNICODE_UTF8_MAX], uint32_t c)
{
    if (c < 0x80 || (c >= 0xdc80 && c <= 0xdcff)) {
        out[0] = (uint8_t)(c < 0x80 ? c : c - 0xdc00);
        return 1;
    }
    size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    static const uint8_t mask[] = {0, 0x1f, 0x0f, 0x07};
    out[0] = (uint8_t)(lead[more] | (c >> 6 * more & mask[more]));
    for (size_t i = 1; i <= more; i++)
        out[i] = (uint8_t)(0x80 | (c >> 6 * (more - i) & 63));
    return more + 1;
}
