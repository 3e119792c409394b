/* states: see states.h. The sums of a profile overlap, and CPU time and wall time come from different
 * clocks, so each part takes at most what the parts before it left: that keeps the sum true.
 */
#include "report/states.h"

static void add(struct states *s, uint64_t *left, const char *name, enum ink ink, uint64_t ns)
{
    ns = min_u64(ns, *left);
    *left -= ns;
    s->parts[s->count++] = (struct state){name, ink, ns};
}

/* Listed with what ran first, split off with what is surest first. */
static void split_running(struct states *s, const struct weights *w, uint64_t left, bool wall)
{
    struct states order = {0};
    add(&order, &left, "waiting", INK_WAIT, wall ? w->blocked : 0);
    add(&order, &left, "waiting for the GIL", INK_GIL, wall ? w->gil_wait : 0);
    add(&order, &left, "GC", INK_GC, w->gc);
    add(&order, &left, "C code", INK_C, w->in_c);
    add(&order, &left, "Python", INK_PYTHON, left);
    for (size_t i = order.count; i-- > 0;)
        s->parts[s->count++] = order.parts[i];
}

void states_of(struct states *s, const struct weights *w, enum metric metric)
{
    bool whole = metric == METRIC_WALL || metric == METRIC_CPU;
    uint64_t left = whole ? weights_of(w, metric) : w->wall;
    *s = (struct states){.total = left};
    switch (metric) {
    case METRIC_GIL:
        add(s, &left, "held the GIL", INK_PYTHON, w->gil_held);
        add(s, &left, "waited for the GIL", INK_GIL, w->gil_wait);
        add(s, &left, "neither", INK_WAIT, left);
        return;
    case METRIC_GC:
        add(s, &left, "GC", INK_GC, w->gc);
        add(s, &left, "anything else", INK_WAIT, left);
        return;
    case METRIC_WALL:
    case METRIC_CPU:
    case METRIC_COUNT:
        break;
    }
    split_running(s, w, left, metric == METRIC_WALL);
}
