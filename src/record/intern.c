/* intern: see intern.h. */
#include "record/intern.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

void intern_init(struct intern *t, size_t size, uint32_t max)
{
    *t = (struct intern){.size = size, .max = max};
    buf_init(&t->items, size * max);
    map_init(&t->by_hash);
}

void intern_release(struct intern *t)
{
    buf_release(&t->items);
    map_release(&t->by_hash);
}

int intern_id(struct intern *t, const void *item, uint32_t *id, bool *added)
{
    *added = false;
    uint64_t hash = XXH3_64bits(item, t->size);
    for (;; hash++) {
        *id = map_get(&t->by_hash, hash);
        if (*id == MAP_NONE)
            break;
        if (memcmp(t->items.data + *id * t->size, item, t->size) == 0)
            return 0;
    }
    if (t->count == t->max)
        return -ENOSPC;
    uint8_t *to = buf_reserve(&t->items, t->size);
    if (!to || map_put(&t->by_hash, hash, t->count) != 0)
        return -ENOMEM;
    memcpy(to, item, t->size);
    t->items.len += t->size;
    *id = t->count++;
    *added = true;
    return 0;
}
