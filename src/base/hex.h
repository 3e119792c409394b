/* hex: bytes as hexadecimal digits, two for each, lower case, and back. */
#ifndef ZOND_BASE_HEX_H
#define ZOND_BASE_HEX_H

#include "base/base.h"

/* Writes 2 * len digits and a NUL byte. */
void hex_put(char *out, const uint8_t *bytes, size_t len);
/* Bytes of a text that is nothing but digits. Returns how many; 0: it is another text, or they are more than
 * max. */
size_t hex_get(const char *text, uint8_t *out, size_t max);

#endif
