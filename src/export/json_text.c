/* json_text: see json_text.h. */
#include "export/json_text.h"

#include "base/utf8.h"

void json_text(FILE *to, const char *s, size_t len)
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
