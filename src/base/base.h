/* base: what every other folder may use and nothing of the domain.
 *
 * One convention for errors in the whole tree: a function that can fail returns 0 or a negative errno
 * and gives its result through an out-parameter. Libraries never print; src/cli makes the sentences.
 */
#ifndef ZOND_BASE_BASE_H
#define ZOND_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull
#define NS_PER_US 1000ull

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* CLOCK_MONOTONIC in ns: the one clock of a recording. */
uint64_t clock_ns(void);
/* CLOCK_REALTIME in ns since the epoch: only for "started at". */
uint64_t clock_wall_ns(void);
/* CPU time of the calling process in ns: the profiler's own cost. */
uint64_t clock_self_cpu_ns(void);

#endif
