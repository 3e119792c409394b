/* text: see text.h. */
#include "python/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void put_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_put_u8(out, (uint8_t)c);
    } else if (c < 0x800) {
        buf_put_u8(out, (uint8_t)(0xc0 | c >> 6));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 63)));
    } else if (c >= 0xdc80 && c <= 0xdcff) {
        buf_put_u8(out, (uint8_t)(c - 0xdc00));
    } else if (c < 0x10000) {
        buf_put_u8(out, (uint8_t)(0xe0 | c >> 12));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 6 & 63)));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 63)));
    } else {
        buf_put_u8(out, (uint8_t)(0xf0 | (c >> 18 & 7)));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 12 & 63)));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 6 & 63)));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 63)));
    }
}

static uint32_t unit_at(const uint8_t *data, uint32_t kind, size_t i)
{
    uint16_t two;
    uint32_t four;
    switch (kind) {
    case 1:
        return data[i];
    case 2:
        memcpy(&two, data + 2 * i, 2);
        return two;
    default:
        memcpy(&four, data + 4 * i, 4);
        return four;
    }
}

int py_read_str(struct py_runtime *rt, uint64_t object, struct buf *out)
{
    const struct layout *l = &rt->layout;
    uint8_t head[128], data[PY_TEXT_MAX];
    uint64_t length;
    uint32_t state;
    size_t head_len = max_u64(l->unicode.length + 8, l->unicode.state + 4);
    if (head_len > sizeof(head))
        return -ERANGE;
    int err = object ? memory_read(&rt->memory, object, head, head_len) : -EBADMSG;
    if (err)
        return err;
    memcpy(&length, head + l->unicode.length, 8);
    memcpy(&state, head + l->unicode.state, 4);
    uint32_t kind = state >> l->unicode.kind_shift & 7;
    bool ascii = state >> l->unicode.ascii_shift & 1;
    bool compact = state >> l->unicode.compact_shift & 1;
    if (!compact || (kind != 1 && kind != 2 && kind != 4))
        return -EBADMSG;
    size_t n = (size_t)min_u64(length, PY_TEXT_MAX / kind);
    err =
        memory_read(&rt->memory, object + (ascii ? l->unicode.ascii_data : l->unicode.data), data, n * kind);
    for (size_t i = 0; !err && i < n; i++)
        put_utf8(out, unit_at(data, kind, i));
    return err ? err : out->error;
}

int py_read_bytes(struct py_runtime *rt, uint64_t object, uint8_t **out, size_t *len)
{
    uint64_t size;
    *out = NULL;
    *len = 0;
    int err = object ? memory_read_u64(&rt->memory, object + rt->layout.bytes.size, &size) : -EBADMSG;
    if (err)
        return err;
    if (size > PY_BYTES_MAX)
        return -EFBIG;
    uint8_t *data = malloc(size + 1);
    if (!data)
        return -ENOMEM;
    err = memory_read(&rt->memory, object + rt->layout.bytes.data, data, size);
    if (err) {
        free(data);
        return err;
    }
    *out = data;
    *len = size;
    return 0;
}
