/* The table of lines, sorted by a metric. */
#include <stdlib.h>

#include "analysis/views.h"

static int compare(const void *a, const void *b, void *by)
{
    const struct profile_line *x = a;
    const struct profile_line *y = b;
    int order = weights_order(&x->self, &x->total, &y->self, &y->total, *(enum metric *)by);
    if (order)
        return order;
    order = (x->code > y->code) - (x->code < y->code);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static size_t collect(const struct tally_table *table, struct profile_line *to)
{
    size_t n = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct tally *t = tally_at(table, i);
        if (weights_any(&t->total))
            to[n++] = (struct profile_line){.code = (uint32_t)(t->key >> 32),
                                            .line = (uint32_t)t->key,
                                            .self = t->self,
                                            .total = t->total};
    }
    return n;
}

const struct profile_line *profile_lines(struct profile *p, enum metric by, size_t *count)
{
    free(p->lines);
    p->lines = malloc((p->fold.lines.count + 1) * sizeof(*p->lines));
    *count = p->lines ? collect(&p->fold.lines, p->lines) : 0;
    if (*count)
        qsort_r(p->lines, *count, sizeof(*p->lines), compare, &by);
    return p->lines;
}
