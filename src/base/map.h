/* map: u64 key -> u32 value, open addressing with linear probing, no removal.
 *
 * The hot path of the sampler looks up one key for each frame that moved, so the table is flat and the
 * key is hashed by one multiplication. Values are ids into arrays that the owner keeps.
 */
#ifndef ZOND_BASE_MAP_H
#define ZOND_BASE_MAP_H

#include "base/base.h"

#define MAP_NONE UINT32_MAX

struct map_slot;

/* Invariants: cap is 0 or a power of two; count <= cap * 3/4; an empty slot holds value MAP_NONE. */
struct map {
    struct map_slot *slots;
    size_t cap;
    size_t count;
};

void map_init(struct map *m);
void map_release(struct map *m);
/* Forgets all keys; keeps the memory. */
void map_clear(struct map *m);

/* The value of key, or MAP_NONE. */
uint32_t map_get(const struct map *m, uint64_t key);
/* Sets or replaces. value must not be MAP_NONE. 0 or -ENOMEM. */
int map_put(struct map *m, uint64_t key, uint32_t value);

#endif
