/* utf8: one code point at a time from bytes that are not trusted. */
#ifndef ZOND_BASE_UTF8_H
#define ZOND_BASE_UTF8_H

#include "base/base.h"

#define UTF8_INVALID UINT32_MAX

/* Decodes the code point at the start of s (len > 0 bytes). *used is how many bytes it took: 1 with
 * UTF8_INVALID, when the first byte starts no shortest-form, non-surrogate code point up to U+10FFFF. */
static inline uint32_t utf8_next(const char *s, size_t len, size_t *used)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)s;
    size_t more = p[0] < 0x80 ? 0 : p[0] >> 5 == 6 ? 1 : p[0] >> 4 == 14 ? 2 : p[0] >> 3 == 30 ? 3 : SIZE_MAX;
    *used = 1;
    if (more >= len)
        return UTF8_INVALID;
    uint32_t c = more ? p[0] & (0x3fu >> more) : p[0];
    for (size_t i = 1; i <= more; i++) {
        if (p[i] >> 6 != 2)
            return UTF8_INVALID;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c < smallest[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return UTF8_INVALID;
    *used = more + 1;
    return c;
}

#endif
