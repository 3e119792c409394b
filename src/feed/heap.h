/* heap: what a process has allocated and not given back, block by block, and sums of it by stack.
 *
 * Events come in the one order of their channel. A block that is given back without having been announced (it
 * was there before, or a fork inherited it) is nobody's: a process counts what it allocated itself. One that
 * is announced at an address where another one is was given back unseen: it counts as freed.
 *
 * The peak is exact: each stack remembers what it held when the process held most. That costs nothing an
 * event: a stack's bytes at the peak are noted when they change for the first time after it.
 */
#ifndef ZOND_FEED_HEAP_H
#define ZOND_FEED_HEAP_H

#include "agent/channel.h"
#include "base/base.h"

/* Sums of one stack. What is live are the differences. Of mappings, a piece that is given back by itself
 * counts as freed when nothing is left of the whole. peak, peak_of: heap.c's. */
struct heap_site {
    uint32_t stack;
    uint64_t allocated, allocations;
    uint64_t freed, frees;
    uint64_t peak;
    uint64_t peak_of;
};

/* Sums of a process. lost: events that could not be taken for lack of memory. */
struct heap_sum {
    uint64_t live, allocations;
    uint64_t peak, peak_ns;
    uint64_t lost;
};

struct heap;

/* 0 or -ENOMEM. */
int heap_new(struct heap **out);
void heap_free(struct heap *h);

/* Takes the event that had this ticket, now. What makes no sense is passed over. */
void heap_take(struct heap *h, uint32_t ticket, const struct channel_event *event, uint64_t now_ns);

struct heap_sum heap_sum(const struct heap *h);

/* All sites, in the order in which they came; an index stays that of its site. Valid until the next event. */
const struct heap_site *heap_sites(const struct heap *h, size_t *count);
/* Bytes of a site when the process held most. */
uint64_t heap_at_peak(const struct heap *h, const struct heap_site *site);

#endif
