/* json_stream: see json_stream.h. */
#include "export/json_stream.h"

#include "base/utf8.h"

void json_put_text(FILE *to, const char *s, size_t len)
{
    fputc('"', to);
    for (size_t i = 0, used; i < len; i += used) {
        uint32_t c = utf8_next(s + i, len - i, &used);
        if (c == UTF8_INVALID)
            fputs("\\ufffd", to);
        else if (c < 0x20 || c == 0x7f || c == '<' || c == 0x2028 || c == 0x2029)
            fprintf(to, "\\u%04x", (unsigned)c);
        else if (c == '"' || c == '\\')
            fprintf(to, "\\%c", (int)c);
        else
            fwrite(s + i, 1, used, to);
    }
    fputc('"', to);
}

void json_put_uint(FILE *to, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    fwrite_unlocked(digits + at, 1, sizeof(digits) - at, to);
}

void json_put_millis(FILE *to, uint64_t ns)
{
    char digits[7] = ".000000";
    uint64_t part = ns % NS_PER_MS;
    json_put_uint(to, ns / NS_PER_MS);
    if (!part)
        return;
    for (size_t i = sizeof(digits) - 1; i; i--, part /= 10)
        digits[i] = (char)('0' + part % 10);
    fwrite_unlocked(digits, 1, sizeof(digits), to);
}
