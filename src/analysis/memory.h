/* memory: the heaps of a recording, summed by function and line. Exact: what was asked for at the system
 * allocator.
 *
 * Several processes are summed, each as it was at its own peak.
 */
#ifndef ZOND_ANALYSIS_MEMORY_H
#define ZOND_ANALYSIS_MEMORY_H

#include "base/buf.h"
#include "base/map.h"
#include "record/reader.h"

/* What comes first in a table. */
enum memory_order { MEMORY_PEAK, MEMORY_LIVE, MEMORY_ALLOCATED, MEMORY_COUNT, MEMORY_ORDERS };

/* freed: of what was allocated here, wherever it was given back. peak: held when the process held most. */
struct memory_sums {
    uint64_t allocated, allocations;
    uint64_t freed, frees;
    uint64_t peak;
};

static inline uint64_t memory_live(const struct memory_sums *s)
{
    return s->allocated - s->freed;
}

uint64_t memory_value(const struct memory_sums *s, enum memory_order by);

/* A function (line 0) or a line of one. self: it was the innermost Python frame; total: on the stack (once).
 */
struct memory_row {
    uint32_t code; /* MEMORY_OUTSIDE: no Python frame was there */
    uint32_t line;
    struct memory_sums self, total;
    uint32_t open; /* while it is summed up: how often it is on the path */
};

#define MEMORY_OUTSIDE UINT32_MAX

/* A heap with its last point. */
struct memory_heap {
    uint32_t heap;
    struct rec_heap_point last;
    bool recorded; /* there is one: else it has no memory, but collections only */
    bool taken;    /* by the filter */
};

/* The peak in sums is that of all heaps, each at its own time; peak_ns: of the heap whose peak is highest.
 * rss_peak: of the process that had most, as pages can be several processes'; 0: not known. heaps 0: the
 * recording has no memory in it. */
struct memory_whole {
    size_t heaps;
    struct memory_sums sums;
    uint64_t peak_ns;
    uint64_t rss_peak;
};

/* Invariants: latest has a struct rec_heap_site for each heap and stack, which index finds; heaps one struct
 * memory_heap for each heap of the reader. functions and lines are made by memory_fold. */
struct memory_use {
    const struct rec_reader *reader;
    struct buf heaps;
    struct buf latest;
    struct map index;
    struct buf functions, lines; /* struct memory_row */
    struct map function_of, line_of;
    struct memory_whole whole;
    bool recorded; /* of any program, also such as the filter does not take */
};

void memory_init(struct memory_use *m, const struct rec_reader *r);
void memory_release(struct memory_use *m);

/* What a reader says; 0 or -ENOMEM. */
int memory_add_heap(struct memory_use *m, uint32_t heap, bool taken);
int memory_add_site(struct memory_use *m, const struct rec_heap_site *site);
void memory_add_point(struct memory_use *m, const struct rec_heap_point *point);
/* After all: makes the tables. 0 or -ENOMEM. */
int memory_fold(struct memory_use *m);

#endif
