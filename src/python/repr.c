/* repr: see repr.h. */
#include "python/repr.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "python/layout.h"

static void put_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_put_u8(out, (uint8_t)c);
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    buf_put_u8(out, (uint8_t)((more == 1 ? 0xc0 : more == 2 ? 0xe0 : 0xf0) | c >> 6 * more));
    while (more-- > 0)
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 6 * more & 63)));
}

void repr_overflow(struct repr *r)
{
    if (!r->full)
        buf_put_str(r->out, "…");
    r->full = true;
}

void repr_chars(struct repr *r, const char *utf8, size_t n)
{
    if (r->full || r->chars + n > REPR_CHARS) {
        repr_overflow(r);
        return;
    }
    r->chars += n;
    buf_put_str(r->out, utf8);
}

/* Characters that show nothing, or that change how others are shown. */
static bool is_invisible(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0, 0x1f},        {0x7f, 0xa0},       {0xad, 0xad},         {0x61c, 0x61c},
                  {0x180e, 0x180e}, {0x2000, 0x200f},   {0x2028, 0x202f},     {0x205f, 0x206f},
                  {0x3000, 0x3000}, {0xd800, 0xf8ff},   {0xfeff, 0xfeff},     {0xfff0, 0xfffb},
                  {0xfffe, 0xffff}, {0x1d173, 0x1d17a}, {0xe0000, UINT32_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    }
    return false;
}

void repr_put(struct repr *r, const char *text)
{
    size_t left = strlen(text), used;
    for (; left && !r->full; text += used, left -= used) {
        uint32_t c = utf8_next(text, left, &used);
        char one[5] = "?";
        if (c != UTF8_INVALID && !is_invisible(c))
            snprintf(one, sizeof(one), "%.*s", (int)used, text);
        repr_chars(r, one, 1);
    }
}

__attribute__((format(printf, 2, 3))) void repr_format(struct repr *r, const char *fmt, ...)
{
    char text[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    repr_put(r, text);
}

void repr_length(struct repr *r, uint64_t length, size_t depth)
{
    if (depth == 0)
        buf_printf(r->out, " len=%llu", (unsigned long long)length);
    else
        repr_format(r, " len=%llu", (unsigned long long)length);
}

void repr_quoted(struct repr *r, uint32_t c, char quote, bool bytes)
{
    char text[16];
    struct buf utf8;
    const char *named = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : c == '\\' ? "\\\\" : NULL;
    if (named) {
        repr_chars(r, named, 2);
    } else if (c == (uint32_t)quote) {
        repr_chars(r, (char[]){'\\', quote, 0}, 2);
    } else if (is_invisible(c) || (bytes && c > 0x7e)) {
        int n = snprintf(text, sizeof(text), c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        repr_chars(r, text, (size_t)n);
    } else {
        buf_init(&utf8, 8);
        put_utf8(&utf8, c);
        buf_put_u8(&utf8, 0);
        if (!utf8.error)
            repr_chars(r, (char *)utf8.data, 1);
        buf_release(&utf8);
    }
}

void repr_decimal(struct repr *r, uint32_t *digits, size_t n)
{
    char text[REPR_DIGITS_MAX * 10 + 1];
    size_t at = sizeof(text);
    text[--at] = 0;
    while (n > 0 && at > 0) {
        uint64_t rest = 0;
        for (size_t i = n; i-- > 0;) {
            rest = rest << INT_DIGIT_BITS | digits[i];
            digits[i] = (uint32_t)(rest / 10);
            rest %= 10;
        }
        text[--at] = (char)('0' + rest);
        while (n > 0 && !digits[n - 1])
            n--;
    }
    repr_put(r, text[at] ? text + at : "0");
}

void repr_double(struct repr *r, double x, bool plain)
{
    char text[40];
    int precision = 0;
    if (!isfinite(x)) {
        repr_put(r, isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
        return;
    }
    do
        snprintf(text, sizeof(text), "%.*e", precision, x);
    while (strtod(text, NULL) != x && ++precision < 17);
    const char *e = strchr(text, 'e');
    long exponent = e ? strtol(e + 1, NULL, 10) : 0;
    if (exponent < -4 || exponent >= 16) {
        repr_put(r, text);
        return;
    }
    long decimals = precision - exponent;
    snprintf(text, sizeof(text), "%.*f", decimals > 0 ? (int)decimals : plain ? 0 : 1, x);
    repr_put(r, text);
}
