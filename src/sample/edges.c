/* edges: see edges.h. */
#include "sample/edges.h"

#include <errno.h>
#include <stdlib.h>

#include "base/list.h"

/* An edge is rare on a side where another one is seen so many times as often. Torn are 0.1-4 %, and up to 20
 * % where calls take 50 ns and the sampler's caches are cold (bench/workloads/callers.py, 1 kHz and
 * unthrottled). */
#define RARE 3
/* So rare must it be for its callee to be left out, since a real edge can be rare. */
#define ALIEN 16
/* Sightings of a side after which older ones count half: what a program did before weighs little soon. */
#define EDGES_HALF_LIFE 256
/* Then all is forgotten and learnt anew: bounds the memory to about 60 MB. */
#define EDGES_MAX 500000

static void init_maps(struct edges *e, void (*each)(struct map *))
{
    each(&e->by_edge);
    each(&e->by_place);
    each(&e->by_callee);
    each(&e->by_pair);
}

void edges_init(struct edges *e)
{
    *e = (struct edges){0};
    init_maps(e, map_init);
}

void edges_release(struct edges *e)
{
    init_maps(e, map_release);
    free(e->list);
    free(e->sides);
    *e = (struct edges){0};
}

static void forget(struct edges *e)
{
    init_maps(e, map_clear);
    e->count = e->side_count = 0;
}

static uint64_t key_of(uint32_t high, uint32_t low)
{
    return (uint64_t)high << 32 | low;
}

static uint32_t side_of(struct edges *e, struct map *map, uint64_t key)
{
    uint32_t index = map_get(map, key);
    if (index != MAP_NONE)
        return index;
    struct side *sides = list_room(e->sides, &e->side_cap, e->side_count, sizeof(*sides));
    if (!sides)
        return EDGES_NONE;
    e->sides = sides;
    if (map_put(map, key, (uint32_t)e->side_count) != 0)
        return EDGES_NONE;
    e->sides[e->side_count] = (struct side){.top = EDGES_NONE};
    return (uint32_t)e->side_count++;
}

uint32_t edges_find(const struct edges *e, uint32_t place, uint32_t callee)
{
    return map_get(&e->by_edge, key_of(place, callee));
}

uint32_t edges_add(struct edges *e, uint32_t place, uint32_t caller, uint32_t callee, bool calls)
{
    if (e->count == EDGES_MAX)
        forget(e);
    struct edge edge = {.place_id = place,
                        .place = side_of(e, &e->by_place, place),
                        .callee = side_of(e, &e->by_callee, callee),
                        .pair = side_of(e, &e->by_pair, key_of(caller, callee)),
                        .calls = calls};
    struct edge *list = list_room(e->list, &e->cap, e->count, sizeof(*list));
    if (!list)
        return EDGES_NONE;
    e->list = list;
    if (edge.place == EDGES_NONE || edge.callee == EDGES_NONE || edge.pair == EDGES_NONE ||
        map_put(&e->by_edge, key_of(place, callee), (uint32_t)e->count) != 0)
        return EDGES_NONE;
    e->list[e->count] = edge;
    return (uint32_t)e->count++;
}

static uint32_t tally_now(const struct tally *tally, uint32_t clock)
{
    return tally->count >> min_u64((clock - tally->at) / EDGES_HALF_LIFE, 31);
}

static void tally_add(struct tally *tally, uint32_t clock)
{
    tally->count = tally_now(tally, clock) + 1;
    tally->at += (clock - tally->at) / EDGES_HALF_LIFE * EDGES_HALF_LIFE;
}

/* The tally of an edge on one of its sides: a pair has the callee's. */
static uint32_t of_place_now(const struct edges *e, uint32_t edge)
{
    return tally_now(&e->list[edge].of_place, e->sides[e->list[edge].place].clock);
}

static uint32_t of_callee_now(const struct edges *e, uint32_t edge)
{
    return tally_now(&e->list[edge].of_callee, e->sides[e->list[edge].callee].clock);
}

typedef uint32_t (*tally_fn)(const struct edges *e, uint32_t edge);

/* Makes the edge the top of a side, if it is now seen more than the one that was. */
static void rise(struct edges *e, uint32_t edge, uint32_t side, tally_fn tally)
{
    uint32_t top = e->sides[side].top;
    if (top == EDGES_NONE || (top != edge && tally(e, edge) > tally(e, top)))
        e->sides[side].top = edge;
}

void edges_see(struct edges *e, uint32_t edge)
{
    struct edge *it = &e->list[edge];
    tally_add(&it->of_place, ++e->sides[it->place].clock);
    tally_add(&it->of_callee, ++e->sides[it->callee].clock);
    rise(e, edge, it->place, of_place_now);
    rise(e, edge, it->callee, of_callee_now);
    rise(e, edge, it->pair, of_callee_now);
}

/* Is another edge of that side seen `times` as often? */
static bool is_rare(const struct edges *e, uint32_t edge, uint32_t side, tally_fn tally, uint32_t times)
{
    return tally(e, edge) * times < tally(e, e->sides[side].top);
}

static bool can_be_torn(const struct edges *e, uint32_t edge, uint32_t times)
{
    const struct edge *it = &e->list[edge];
    return !it->real && is_rare(e, edge, it->callee, of_callee_now, times) &&
           (!it->calls || is_rare(e, edge, it->place, of_place_now, times));
}

bool edges_doubtful(const struct edges *e, uint32_t edge)
{
    return can_be_torn(e, edge, RARE);
}

void edges_confirm(struct edges *e, uint32_t edge)
{
    e->list[edge].real = true;
}

uint32_t edges_place(const struct edges *e, uint32_t edge)
{
    uint32_t top = e->sides[e->list[edge].pair].top;
    if (top != edge && !edges_doubtful(e, top))
        return e->list[top].place_id;
    return can_be_torn(e, edge, ALIEN) ? EDGES_NONE : e->list[edge].place_id;
}
