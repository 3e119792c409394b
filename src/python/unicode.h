/* unicode: what a str object holds, out of copies of its memory or out of that memory itself. Shared by who
 * reads from outside (text.h) and by the agent.
 */
#ifndef ZOND_PYTHON_UNICODE_H
#define ZOND_PYTHON_UNICODE_H

#include "python/layout.h"

#define UNICODE_UTF8_MAX 4

/* length: code points, of `kind` bytes each (1, 2 or 4), from `data` bytes behind the object's start on. */
struct unicode {
    uint64_t length;
    uint32_t kind;
    uint32_t data;
};

/* False when it is no compact string. head: up to the layout's unicode.length and unicode.state. */
bool unicode_head(const struct layout *l, const uint8_t *head, struct unicode *out);

/* Code point i of data. */
uint32_t unicode_at(const uint8_t *data, uint32_t kind, uint64_t i);

/* Its bytes in UTF-8; returns how many. A surrogate that stands for an undecodable byte of a file name
 * (surrogateescape) becomes that byte again. */
size_t unicode_utf8(uint8_t out[static UNICODE_UTF8_MAX], uint32_t c);

#endif
