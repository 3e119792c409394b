/* edges: see edges.h. */
#include "sample/edges.h"

#include <errno.h>
#include <stdlib.h>

/* Sightings after which an edge without a rival is trusted. A torn one turns up in 1-2 % of the looks, up to
 * 3.10 in 10 % (frames are copied one by one), when the edges that it is made of are long known. */
#define TRUST_SEEN 16
/* A doubtful edge is trusted when it was there again so often, and in at least 1 of 4 repeated looks. Torn
 * ones come again about as often as they come at all. */
#define TRUST_AGAIN 5
#define TRUST_RATIO 4
/* Then all is forgotten and learnt anew: bounds the memory to about 40 MB. */
#define EDGES_MAX 500000

void edges_init(struct edges *e)
{
    *e = (struct edges){0};
    map_init(&e->by_edge);
    map_init(&e->callee_of);
    map_init(&e->place_of);
}

void edges_release(struct edges *e)
{
    map_release(&e->by_edge);
    map_release(&e->callee_of);
    map_release(&e->place_of);
    free(e->list);
    *e = (struct edges){0};
}

static void forget(struct edges *e)
{
    map_clear(&e->by_edge);
    map_clear(&e->callee_of);
    map_clear(&e->place_of);
    e->count = 0;
}

static uint64_t key_of(uint32_t place, uint32_t callee)
{
    return (uint64_t)place << 32 | callee;
}

bool edges_trusted(const struct edges *e, uint32_t place, uint32_t callee)
{
    uint32_t index = map_get(&e->by_edge, key_of(place, callee));
    return index != MAP_NONE && e->list[index].trusted;
}

static struct edge *edge_of(struct edges *e, uint64_t key)
{
    uint32_t index = map_get(&e->by_edge, key);
    if (index != MAP_NONE)
        return &e->list[index];
    if (e->count == EDGES_MAX)
        forget(e);
    if (e->count == e->cap) {
        size_t cap = e->cap ? e->cap * 2 : 256;
        struct edge *list = realloc(e->list, cap * sizeof(*list));
        if (!list)
            return NULL;
        e->list = list;
        e->cap = cap;
    }
    if (map_put(&e->by_edge, key, (uint32_t)e->count) != 0)
        return NULL;
    e->list[e->count] = (struct edge){0};
    return &e->list[e->count++];
}

static bool has_rivals(const struct edges *e, uint32_t place, uint32_t callee)
{
    uint32_t other_callee = map_get(&e->callee_of, place), other_place = map_get(&e->place_of, callee);
    return other_callee != MAP_NONE && other_callee != callee && other_place != MAP_NONE &&
           other_place != place;
}

static void trust(struct edges *e, struct edge *edge, uint32_t place, uint32_t callee)
{
    edge->trusted = true;
    if (map_get(&e->callee_of, place) == MAP_NONE)
        map_put(&e->callee_of, place, callee);
    if (map_get(&e->place_of, callee) == MAP_NONE)
        map_put(&e->place_of, callee, place);
}

bool edges_sound(struct edges *e, uint32_t place, uint32_t callee, bool calls, bool again)
{
    struct edge *edge = edge_of(e, key_of(place, callee));
    if (!edge || edge->trusted)
        return true;
    edge->seen++;
    edge->again += again;
    bool doubtful = !calls || has_rivals(e, place, callee);
    if (doubtful ? edge->again >= TRUST_AGAIN && edge->again * TRUST_RATIO >= edge->seen
                 : edge->seen >= TRUST_SEEN)
        trust(e, edge, place, callee);
    return !doubtful || edge->trusted;
}
