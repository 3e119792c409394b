/* map: see map.h. */
#include "base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct map_slot {
    uint64_t key;
    uint32_t value;
};

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_release(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

void map_clear(struct map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        m->slots[i].value = MAP_NONE;
    m->count = 0;
}

/* Fibonacci hashing with the high half folded in: keys are addresses and pairs of small ids. */
static size_t slot_of(const struct map *m, uint64_t key)
{
    uint64_t h = (key ^ (key >> 32)) * 0x9E3779B97F4A7C15ull;
    return (size_t)(h ^ (h >> 32)) & (m->cap - 1);
}

static struct map_slot *find(const struct map *m, uint64_t key)
{
    size_t i = slot_of(m, key);
    while (m->slots[i].value != MAP_NONE && m->slots[i].key != key)
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

uint32_t map_get(const struct map *m, uint64_t key)
{
    return m->cap ? find(m, key)->value : MAP_NONE;
}

static int grow(struct map *m)
{
    struct map bigger = {.cap = m->cap ? m->cap * 2 : 64, .count = m->count};
    bigger.slots = malloc(bigger.cap * sizeof(*bigger.slots));
    if (!bigger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < bigger.cap; i++)
        bigger.slots[i].value = MAP_NONE;
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].value != MAP_NONE)
            *find(&bigger, m->slots[i].key) = m->slots[i];
    }
    free(m->slots);
    *m = bigger;
    return 0;
}

int map_put(struct map *m, uint64_t key, uint32_t value)
{
    if (m->count + 1 > m->cap / 4 * 3) {
        int err = grow(m);
        if (err)
            return err;
    }
    struct map_slot *s = find(m, key);
    if (s->value == MAP_NONE)
        m->count++;
    *s = (struct map_slot){.key = key, .value = value};
    return 0;
}
