/* whose: see whose.h. */
#include "report/whose.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t value_of(const struct whose *w, enum memory_order order)
{
    return w->memory ? memory_value(&w->memory->self, order) : 0;
}

static int by_memory(const void *a, const void *b, void *order)
{
    const struct whose *x = a;
    const struct whose *y = b;
    uint64_t v = value_of(x, *(enum memory_order *)order), w = value_of(y, *(enum memory_order *)order);
    if (v != w)
        return v < w ? 1 : -1;
    if (x->code != y->code)
        return x->code < y->code ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static uint64_t key_of(uint32_t code, uint32_t line)
{
    return (uint64_t)code << 32 | line;
}

/* Adds memory to the first `count` rows, and rows for what has only memory. */
static int add_memory(const struct report_style *style, const struct buf *from, struct whose *list,
                      size_t *count)
{
    const struct memory_row *rows = (const struct memory_row *)from->data;
    enum memory_order order = style->order;
    struct map index;
    map_init(&index);
    int err = 0;
    size_t timed = *count;
    for (size_t i = 0; !err && i < timed; i++)
        err = map_put(&index, key_of(list[i].code, list[i].line), (uint32_t)i);
    for (size_t i = 0; !err && i < from->len / sizeof(*rows); i++) {
        uint32_t known = map_get(&index, key_of(rows[i].code, rows[i].line));
        if (known != MAP_NONE)
            list[known].memory = &rows[i];
        else if (rows[i].self.allocations)
            list[(*count)++] = (struct whose){.code = rows[i].code, .line = rows[i].line, .memory = &rows[i]};
    }
    map_release(&index);
    if (style->memory)
        qsort_r(list, *count, sizeof(*list), by_memory, &order);
    else
        qsort_r(list + timed, *count - timed, sizeof(*list), by_memory, &order);
    return err;
}

static struct whose *list_of(const struct buf *memory, size_t timed)
{
    return calloc(timed + (memory ? memory->len / sizeof(struct memory_row) : 0) + 1, sizeof(struct whose));
}

int whose_functions(struct profile *p, const struct report_style *style, struct whose **out, size_t *count)
{
    const struct memory_use *m = profile_memory(p);
    const struct profile_function *f = profile_functions(p, style->metric, count);
    *out = list_of(m ? &m->functions : NULL, *count);
    for (size_t i = 0; *out && i < *count; i++)
        (*out)[i] = (struct whose){.code = f[i].code, .function = &f[i]};
    if (!*out)
        return -ENOMEM;
    return m ? add_memory(style, &m->functions, *out, count) : 0;
}

/* Outside of Python there are no lines. */
static size_t without_outside(struct whose *list, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i].code != MEMORY_OUTSIDE)
            list[n++] = list[i];
    }
    return n;
}

int whose_lines(struct profile *p, const struct report_style *style, struct whose **out, size_t *count)
{
    const struct memory_use *m = profile_memory(p);
    const struct profile_line *l = profile_lines(p, style->metric, count);
    *out = list_of(m ? &m->lines : NULL, *count);
    for (size_t i = 0; *out && i < *count; i++)
        (*out)[i] = (struct whose){.code = l[i].code, .line = l[i].line, .of_line = &l[i]};
    if (!*out)
        return -ENOMEM;
    int err = m ? add_memory(style, &m->lines, *out, count) : 0;
    *count = without_outside(*out, *count);
    return err;
}
