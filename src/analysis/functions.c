/* The table of functions, sorted by a metric. */
#include <stdlib.h>

#include "analysis/views.h"

static int compare(const void *a, const void *b, void *by)
{
    const struct profile_function *x = a;
    const struct profile_function *y = b;
    int order = weights_order(&x->self, &x->total, &y->self, &y->total, *(enum metric *)by);
    return order ? order : (x->code > y->code) - (x->code < y->code);
}

static size_t collect(const struct tally_table *table, struct profile_function *to)
{
    size_t n = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct tally *t = tally_at(table, i);
        if (weights_any(&t->total))
            to[n++] = (struct profile_function){.code = (uint32_t)t->key, .self = t->self, .total = t->total};
    }
    return n;
}

const struct profile_function *profile_functions(struct profile *p, enum metric by, size_t *count)
{
    free(p->functions);
    p->functions = malloc((p->fold.functions.count + 1) * sizeof(*p->functions));
    *count = p->functions ? collect(&p->fold.functions, p->functions) : 0;
    if (*count)
        qsort_r(p->functions, *count, sizeof(*p->functions), compare, &by);
    return p->functions;
}
