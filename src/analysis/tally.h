/* tally: a table of things that occur on stacks (functions, lines, calls), each with its own and total time.
 *
 * The total of a thing counts a stack once, however often the thing recurs on it: while a walk is below a
 * thing, on_path is not 0, and deeper occurrences add nothing.
 */
#ifndef ZOND_ANALYSIS_TALLY_H
#define ZOND_ANALYSIS_TALLY_H

#include "analysis/profile.h"
#include "base/buf.h"
#include "base/map.h"

struct tally {
    uint64_t key; /* two 32-bit numbers that say what it is */
    uint32_t on_path;
    struct weights self;
    struct weights total;
};

/* Invariants: items holds count tallies; by_key maps each one's key to its index. */
struct tally_table {
    struct buf items; /* struct tally */
    struct map by_key;
    uint32_t count;
};

/* A recording with more distinct things than this is no real one. */
#define TALLY_MAX (1u << 20)

void tally_init(struct tally_table *t);
void tally_release(struct tally_table *t);

static inline uint64_t tally_key(uint32_t high, uint32_t low)
{
    return (uint64_t)high << 32 | low;
}

/* The index of the thing with this key, made if it is new. -E2BIG beyond TALLY_MAX, -ENOMEM. */
int tally_index(struct tally_table *t, uint64_t key, uint32_t *index);

/* Valid until the next tally_index. */
static inline struct tally *tally_at(const struct tally_table *t, uint32_t index)
{
    return (struct tally *)t->items.data + index;
}

/* Sums; none overflows by undefined behaviour. */
void weights_add(struct weights *to, const struct weights *w);
bool weights_any(const struct weights *w);

/* The order of all tables: self, then total, descending by the metric. 0: equal. */
int weights_order(const struct weights *self_a, const struct weights *total_a, const struct weights *self_b,
                  const struct weights *total_b, enum metric by);

#endif
