/* hex: see hex.h. */
#include "base/hex.h"

#include <string.h>

static const char digits[] = "0123456789abcdef";

void hex_put(char *out, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * len] = 0;
}

size_t hex_get(const char *text, uint8_t *out, size_t max)
{
    size_t len = strlen(text);
    if (len % 2 || len / 2 > max || strspn(text, digits) != len)
        return 0;
    for (size_t i = 0; i < len / 2; i++)
        out[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 |
                           (strchr(digits, text[2 * i + 1]) - digits));
    return len / 2;
}
