/* histogram: see histogram.h. */
#include "base/histogram.h"

static size_t bucket_of(uint64_t value)
{
    if (value < 16)
        return (size_t)value;
    unsigned shift = 60u - (unsigned)__builtin_clzll(value); /* leaves 4 bits, the highest set */
    return 16 + (size_t)(shift - 1) * 8 + (size_t)(value >> shift) - 8;
}

uint64_t histogram_upper(size_t bucket)
{
    if (bucket < 16)
        return bucket;
    size_t shift = (bucket - 16) / 8 + 1;
    return (((uint64_t)(bucket - 16) % 8 + 9) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value, uint64_t times)
{
    h->counts[bucket_of(value)] += times;
    h->total += times;
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS && h->total; i++) {
        seen += h->counts[i];
        if ((double)seen >= q * (double)h->total)
            return histogram_upper(i);
    }
    return 0;
}
