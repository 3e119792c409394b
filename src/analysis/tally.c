/* tally: see tally.h. */
#include "analysis/tally.h"

#include <errno.h>

void tally_init(struct tally_table *t)
{
    *t = (struct tally_table){0};
    buf_init(&t->items, TALLY_MAX * sizeof(struct tally));
    map_init(&t->by_key);
}

void tally_release(struct tally_table *t)
{
    buf_release(&t->items);
    map_release(&t->by_key);
}

int tally_index(struct tally_table *t, uint64_t key, uint32_t *index)
{
    *index = map_get(&t->by_key, key);
    if (*index != MAP_NONE)
        return 0;
    buf_put(&t->items, &(struct tally){.key = key}, sizeof(struct tally));
    if (t->items.error)
        return t->items.error == -EFBIG ? -E2BIG : t->items.error;
    *index = t->count++;
    return map_put(&t->by_key, key, *index);
}

uint64_t weights_of(const struct weights *w, enum metric metric)
{
    switch (metric) {
    case METRIC_WALL:
        return w->wall;
    case METRIC_CPU:
        return w->cpu;
    case METRIC_GIL:
        return w->gil_held;
    case METRIC_GC:
        return w->gc;
    case METRIC_COUNT:
        break;
    }
    return 0;
}

void weights_add(struct weights *to, const struct weights *w)
{
    to->wall += w->wall;
    to->cpu += w->cpu;
    to->gil_held += w->gil_held;
    to->gil_wait += w->gil_wait;
    to->gc += w->gc;
    to->in_c += w->in_c;
    to->blocked += w->blocked;
    to->samples += w->samples;
    to->squared_gaps += w->squared_gaps;
}

bool weights_any(const struct weights *w)
{
    return w->wall | w->cpu | w->samples;
}

static int descending(uint64_t a, uint64_t b)
{
    return (a < b) - (a > b);
}

int weights_order(const struct weights *self_a, const struct weights *total_a, const struct weights *self_b,
                  const struct weights *total_b, enum metric by)
{
    int order = descending(weights_of(self_a, by), weights_of(self_b, by));
    return order ? order : descending(weights_of(total_a, by), weights_of(total_b, by));
}
