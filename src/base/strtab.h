/* strtab: byte strings interned to dense ids, from 0 (always the empty string).
 *
 * Strings may hold any byte but are stored NUL-terminated. An id never changes while the table lives.
 */
#ifndef ZOND_BASE_STRTAB_H
#define ZOND_BASE_STRTAB_H

#include "base/base.h"
#include "base/buf.h"
#include "base/map.h"

/* A longer string is cut at this many bytes: file names and qualified names are far below. */
#define STRTAB_MAX_LEN 65535

/* Invariants: offsets[i] is where string i starts in bytes, lens[i] its length; by_hash maps the XXH3 of a
 * string (probed forward by +1 on a collision) to its id. */
struct strtab {
    struct buf bytes;
    uint32_t *offsets;
    uint32_t *lens;
    size_t count;
    size_t cap;
    struct map by_hash;
};

int strtab_init(struct strtab *t);
void strtab_release(struct strtab *t);

/* The id of these bytes, made if it is new. Adds at most one string: compare count before and after. */
int strtab_intern(struct strtab *t, const void *bytes, size_t len, uint32_t *id);

/* The string, NUL-terminated; valid until the next intern. An unknown id gives "?". */
const char *strtab_get(const struct strtab *t, uint32_t id);
/* Its length in bytes; 0 for an unknown id. */
size_t strtab_len(const struct strtab *t, uint32_t id);

#endif
