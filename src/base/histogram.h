/* histogram: how often values of each size occurred, to an eighth of a power of two.
 *
 * Fixed room, no limits of range; two of them add up. Quantiles are upper bounds, at most an eighth too high.
 */
#ifndef ZOND_BASE_HISTOGRAM_H
#define ZOND_BASE_HISTOGRAM_H

#include "base/base.h"

/* Values below 16 each, then eight buckets for each power of two of the rest. */
#define HISTOGRAM_BUCKETS (16 + 60 * 8)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
};

void histogram_add(struct histogram *h, uint64_t value, uint64_t times);
/* The highest value of a bucket. */
uint64_t histogram_upper(size_t bucket);
/* At most this many are the share q of all values; 0 when there are none. 0 < q <= 1 */
uint64_t histogram_quantile(const struct histogram *h, double q);

#endif
