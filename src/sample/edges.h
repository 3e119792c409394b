/* edges: which place calls which function, to tell a torn stack from a real one.
 *
 * Frames are copied one after the other, some 10-100 ns apart. When calls follow each other as fast as that,
 * a copy can join a caller of one moment with a callee of the next: a stack that cannot occur. Each frame for
 * itself is sound, so only the edge between them gives it away: a torn one is made of two halves of others
 * that are seen far more often. Which of the two moments is shown instead is told in look.c; no look is ever
 * thrown away, since those that move are not like those that do not. Knows ids of the recording, no memory of
 * a target.
 */
#ifndef ZOND_SAMPLE_EDGES_H
#define ZOND_SAMPLE_EDGES_H

#include "base/map.h"

/* Sightings out of the last few hundred of a side: halved with every EDGES_HALF_LIFE of them, up to `at`. */
struct tally {
    uint32_t count, at;
};

/* One edge as a share of what its place calls, and of where its callee is called from. calls: its place
 * stands on a call. real: it was watched for long enough, whatever its shares. The others are indices into
 * sides. */
struct edge {
    struct tally of_place, of_callee;
    uint32_t place_id; /* frame id */
    uint32_t place, callee, pair;
    bool calls, real;
};

/* A place, a callee, or a caller and a callee: how often an edge of it was seen, and the index of the one
 * that is seen most; EDGES_NONE before the first. */
struct side {
    uint32_t clock, top;
};

/* by_edge: (frame id, code id of the callee) -> edge. by_place, by_callee, by_pair (code ids of caller and
 * callee) -> side. */
struct edges {
    struct map by_edge, by_place, by_callee, by_pair;
    struct edge *list;
    size_t count, cap;
    struct side *sides;
    size_t side_count, side_cap;
};

#define EDGES_NONE UINT32_MAX

void edges_init(struct edges *e);
void edges_release(struct edges *e);

/* The number of the edge from `place` (frame id) to the function `callee` (code id), or EDGES_NONE. Numbers
 * are valid until the next edges_add. */
uint32_t edges_find(const struct edges *e, uint32_t place, uint32_t callee);
/* Adds an edge that was not found. caller: code id of the place's function. calls: the place stands on an
 * instruction that calls. EDGES_NONE when memory is short. */
uint32_t edges_add(struct edges *e, uint32_t place, uint32_t caller, uint32_t callee, bool calls);
/* Counts one sighting. */
void edges_see(struct edges *e, uint32_t edge);

/* Can the edge be torn: its callee is mostly called from elsewhere, and its place mostly calls something
 * else, or does not stand on a call? */
bool edges_doubtful(const struct edges *e, uint32_t edge);
/* The edge was there at several looks in a row: it is never doubtful again. */
void edges_confirm(struct edges *e, uint32_t edge);
/* From where a doubtful edge is shown: from where else its caller calls this callee, or from the same place.
 * EDGES_NONE: its caller is not known to call it at all. */
uint32_t edges_place(const struct edges *e, uint32_t edge);

#endif
