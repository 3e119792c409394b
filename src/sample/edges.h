/* edges: which function is called from which place, to tell a torn stack from a real one.
 *
 * Frames are copied one after the other, some 10-100 ns apart. When calls follow each other as fast as that,
 * a copy can join a caller of one moment with a callee of the next: a stack that cannot occur. Each frame for
 * itself is sound, so only the edge between them gives it away. An edge is trusted after it was seen a few
 * times. One that is not, while its place is trusted to call something else and its callee to be called from
 * elsewhere, is doubtful; so is one from a place that does not look like a call: the look is repeated, and
 * the edge is trusted only if it is then there again as often as a real one would be.
 */
#ifndef ZOND_SAMPLE_EDGES_H
#define ZOND_SAMPLE_EDGES_H

#include "base/map.h"

/* One edge: how often it was doubtful, and how often it was still there at the next look. */
struct edge {
    uint32_t seen, again;
    bool trusted;
};

/* by_edge: (place, callee) -> index in list. callee_of, place_of: a trusted edge of each place and callee. */
struct edges {
    struct map by_edge, callee_of, place_of;
    struct edge *list;
    size_t count, cap;
};

void edges_init(struct edges *e);
void edges_release(struct edges *e);

bool edges_trusted(const struct edges *e, uint32_t place, uint32_t callee);

/* Is the edge from `place` (frame id) to the function `callee` (code id) sound? calls: the place stands on an
 * instruction that calls. again: the edge was doubtful at the look before this one, in the same activation.
 * When memory is short everything is sound. */
bool edges_sound(struct edges *e, uint32_t place, uint32_t callee, bool calls, bool again);

#endif
