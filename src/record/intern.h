/* intern: records of one fixed size, given dense ids by their content, from 0.
 *
 * Items are compared as bytes: whoever fills one leaves no padding unset.
 */
#ifndef ZOND_RECORD_INTERN_H
#define ZOND_RECORD_INTERN_H

#include "base/buf.h"
#include "base/map.h"

/* Invariants: items holds count items of size bytes; by_hash maps the XXH3 of an item (probed forward by +1
 * on a collision) to its id; count <= max. */
struct intern {
    struct buf items;
    struct map by_hash;
    size_t size;
    uint32_t count;
    uint32_t max;
};

void intern_init(struct intern *t, size_t size, uint32_t max);
void intern_release(struct intern *t);

/* The id of this item; *added tells whether it was new. -ENOSPC beyond max, -ENOMEM. */
int intern_id(struct intern *t, const void *item, uint32_t *id, bool *added);

#endif
