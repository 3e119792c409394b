/* places: see places.h. */
#include "report/places.h"

#include <errno.h>
#include <stdlib.h>

int place_compare(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static int by_time(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;
    if (x->self != y->self)
        return x->self < y->self ? 1 : -1;
    if (x->total != y->total)
        return x->total < y->total ? 1 : -1;
    return place_compare(a, b);
}

/* Makes one of entries with the same place, which stand together; returns how many are left. */
static size_t merge(struct place *places, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        struct place *last = n ? &places[n - 1] : NULL;
        if (last && place_compare(last, &places[i]) == 0) {
            last->self += places[i].self;
            last->total = max_u64(max_u64(last->total, places[i].total), last->self);
        } else {
            places[n++] = places[i];
        }
    }
    return n;
}

int places_new(struct profile *p, enum metric by, struct place **out, size_t *count)
{
    size_t all, n = 0;
    const struct profile_line *l = profile_lines(p, by, &all);
    struct place *places = calloc(all + 1, sizeof(*places));
    if (!places)
        return -ENOMEM;
    for (size_t i = 0; i < all; i++) {
        struct rec_code code = rec_reader_code(profile_reader(p), l[i].code);
        uint64_t total = weights_of(&l[i].total, by);
        if (code.kind == REC_PYTHON && l[i].line && total)
            places[n++] =
                (struct place){code.file, l[i].line, l[i].code, weights_of(&l[i].self, by), total, 0};
    }
    qsort(places, n, sizeof(*places), place_compare);
    *count = merge(places, n);
    qsort(places, *count, sizeof(*places), by_time);
    *out = places;
    return 0;
}
