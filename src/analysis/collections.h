/* collections: the garbage collections of a recording, summed by generation and by what triggered them.
 * Exact: each that the program's Python told of.
 */
#ifndef ZOND_ANALYSIS_COLLECTIONS_H
#define ZOND_ANALYSIS_COLLECTIONS_H

#include "base/buf.h"
#include "base/map.h"
#include "record/reader.h"

/* Of a part of the collections. */
struct collections_sums {
    uint64_t count, ns, longest_ns;
    uint64_t collected, uncollectable;
};

/* A function (line 0) or a line of one, which was the innermost of Python when a collection began. code
 * COLLECTIONS_OUTSIDE: none was. */
struct collections_row {
    uint32_t code, line;
    struct collections_sums sums;
};

#define COLLECTIONS_OUTSIDE UINT32_MAX

/* A program by its heap, with the latest that was said of it. since_ns 0: nobody listened to its collections.
 * taken: by the filter. */
struct collections_program {
    uint64_t start_ns, since_ns, until_ns;
    bool taken;
};

/* Invariants: programs has a struct collections_program for each heap of the reader; sites a struct
 * collections_sums for each stack, which site_of finds, and stacks its node. pauses (uint64_t, ns), functions
 * and lines (struct collections_row) are in no order until collections_fold sorts the pauses. recorded:
 * programs whose collections are known; recorded_ns: how long they ran, from their start on. */
struct collections_use {
    const struct rec_reader *reader;
    struct buf programs;
    struct buf sites, stacks;
    struct map site_of;
    struct buf pauses;
    struct buf functions, lines;
    struct map function_of, line_of;
    struct collections_sums whole;
    struct collections_sums generations[REC_GENERATIONS];
    size_t recorded;
    uint64_t recorded_ns;
};

void collections_init(struct collections_use *c, const struct rec_reader *r);
void collections_release(struct collections_use *c);

/* What a reader says; 0 or -ENOMEM. */
int collections_add_heap(struct collections_use *c, const struct rec_heap *heap, bool taken);
void collections_add_collector(struct collections_use *c, const struct rec_collector *collector);
int collections_add(struct collections_use *c, const struct rec_collection *collection);
/* After all: makes the tables. 0 or -ENOMEM. */
int collections_fold(struct collections_use *c);

/* After that: so long or shorter was this share of the pauses, 0 to 1: 0.5 is the median. 0 if there are
 * none. */
uint64_t collections_quantile(const struct collections_use *c, double share);

/* Is it known of this heap's program which collections it made? */
bool collections_known(const struct collections_use *c, uint32_t heap);

#endif
