/* sums: the time of one thread by path, from its samples. */
#ifndef ZOND_EXPORT_SUMS_H
#define ZOND_EXPORT_SUMS_H

#include "export/paths.h"

struct sum {
    uint64_t weight; /* ns of the metric */
    uint64_t looks;
};

/* of_path: by node, as many as there are nodes. The first `count` of `touched` are the nodes whose sums are
 * not 0, in the order in which they were met; the others are 0. */
struct sums {
    struct sum *of_path;
    uint32_t *touched;
    uint32_t count;
};

int sums_init(struct sums *s, const struct paths *p);
void sums_release(struct sums *s);

/* Replaces the sums by those of this thread. */
void sums_of_thread(struct sums *s, const struct paths *p, uint32_t thread);

#endif
