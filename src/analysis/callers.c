/* Who calls a function, and whom it calls: one side of the table of calls each. */
#include <errno.h>
#include <stdlib.h>

#include "analysis/views.h"

static int compare(const void *a, const void *b, void *by)
{
    const struct profile_function *x = a;
    const struct profile_function *y = b;
    int order = weights_order(&x->total, &x->self, &y->total, &y->self, *(enum metric *)by);
    return order ? order : (x->code > y->code) - (x->code < y->code);
}

/* The calls whose one end is `code`; shift selects the half of the key that names it. */
static int neighbours(const struct profile *p, uint32_t code, unsigned shift, enum metric by,
                      struct profile_function **out, size_t *count)
{
    const struct tally_table *calls = &p->fold.calls;
    struct profile_function *to = malloc((calls->count + 1) * sizeof(*to));
    if (!to)
        return -ENOMEM;
    size_t n = 0;
    for (uint32_t i = 0; i < calls->count; i++) {
        const struct tally *t = tally_at(calls, i);
        if ((uint32_t)(t->key >> shift) == code && weights_any(&t->total))
            to[n++] = (struct profile_function){
                .code = (uint32_t)(t->key >> (32 - shift)), .self = t->self, .total = t->total};
    }
    qsort_r(to, n, sizeof(*to), compare, &by);
    *out = to;
    *count = n;
    return 0;
}

int profile_callers(const struct profile *p, uint32_t code, enum metric by, struct profile_function **out,
                    size_t *count)
{
    return neighbours(p, code, 0, by, out, count);
}

int profile_callees(const struct profile *p, uint32_t code, enum metric by, struct profile_function **out,
                    size_t *count)
{
    return neighbours(p, code, 32, by, out, count);
}
