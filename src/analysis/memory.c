/* memory: see memory.h. */
#include "analysis/memory.h"

#include <errno.h>

void memory_init(struct memory_use *m, const struct rec_reader *r)
{
    *m = (struct memory_use){.reader = r};
    struct buf *all[] = {&m->heaps, &m->latest, &m->functions, &m->lines};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_init(all[i], SIZE_MAX);
    map_init(&m->index);
    map_init(&m->function_of);
    map_init(&m->line_of);
}

void memory_release(struct memory_use *m)
{
    struct buf *all[] = {&m->heaps, &m->latest, &m->functions, &m->lines};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_release(all[i]);
    map_release(&m->index);
    map_release(&m->function_of);
    map_release(&m->line_of);
}

uint64_t memory_value(const struct memory_sums *s, enum memory_order by)
{
    switch (by) {
    case MEMORY_LIVE:
        return memory_live(s);
    case MEMORY_ALLOCATED:
        return s->allocated;
    case MEMORY_COUNT:
        return s->allocations;
    default:
        return s->peak;
    }
}

int memory_add_heap(struct memory_use *m, uint32_t heap, bool taken)
{
    const struct memory_heap entry = {.heap = heap, .taken = taken};
    buf_put(&m->heaps, &entry, sizeof(entry));
    return m->heaps.error;
}

int memory_add_site(struct memory_use *m, const struct rec_heap_site *site)
{
    uint64_t key = (uint64_t)site->heap << 32 | site->stack;
    uint32_t known = map_get(&m->index, key);
    if (known != MAP_NONE) {
        ((struct rec_heap_site *)m->latest.data)[known] = *site;
        return 0;
    }
    uint32_t next = (uint32_t)(m->latest.len / sizeof(*site));
    buf_put(&m->latest, site, sizeof(*site));
    return m->latest.error ? m->latest.error : map_put(&m->index, key, next);
}

void memory_add_point(struct memory_use *m, const struct rec_heap_point *point)
{
    struct memory_heap *heap = (struct memory_heap *)m->heaps.data + point->heap;
    heap->last = *point;
    heap->recorded = true;
    m->recorded = true;
}

/* Tables ------------------------------------------------------------------------------------------------ */

static void add(struct memory_sums *to, const struct rec_heap_site *s)
{
    to->allocated += s->allocated;
    to->allocations += s->allocations;
    to->freed += s->freed;
    to->frees += s->frees;
    to->peak += s->peak;
}

/* The row of a function or line, made if need be; NULL: no memory. */
static struct memory_row *row_of(struct buf *rows, struct map *index, uint32_t code, uint32_t line)
{
    uint64_t key = (uint64_t)code << 32 | line;
    uint32_t known = map_get(index, key);
    if (known == MAP_NONE) {
        const struct memory_row new = {.code = code, .line = line};
        known = (uint32_t)(rows->len / sizeof(new));
        buf_put(rows, &new, sizeof(new));
        if (rows->error || map_put(index, key, known) != 0)
            return NULL;
    }
    return (struct memory_row *)rows->data + known;
}

/* stamp: of this site, from 1: a row that recurs on the stack is counted once. */
static void add_row(struct memory_row *row, const struct rec_heap_site *s, bool innermost, uint32_t stamp)
{
    if (innermost)
        add(&row->self, s);
    if (row->stamp != stamp)
        add(&row->total, s);
    row->stamp = stamp;
}

static int fold_site(struct memory_use *m, const struct rec_heap_site *s, uint32_t stamp)
{
    uint32_t node = s->stack;
    do {
        struct rec_node at = rec_reader_heap_node(m->reader, node);
        struct rec_frame frame = rec_reader_frame(m->reader, at.frame);
        uint32_t code = node ? frame.code : MEMORY_OUTSIDE;
        struct memory_row *function = row_of(&m->functions, &m->function_of, code, 0);
        struct memory_row *line = row_of(&m->lines, &m->line_of, code, node ? frame.line : 0);
        if (!function || !line)
            return -ENOMEM;
        add_row(function, s, node == s->stack, stamp);
        add_row(line, s, node == s->stack, stamp);
        node = at.parent;
    } while (node);
    return 0;
}

/* A heap that was killed with zond may have points and no sums yet: the tables say nothing of it then. */
static void sum_heaps(struct memory_use *m)
{
    const struct memory_heap *heaps = (const struct memory_heap *)m->heaps.data;
    uint64_t highest = 0;
    for (size_t i = 0; i < m->heaps.len / sizeof(*heaps); i++) {
        if (!heaps[i].taken || !heaps[i].recorded)
            continue;
        m->whole.heaps++;
        m->whole.rss_peak += heaps[i].last.rss_peak;
        if (heaps[i].last.peak >= highest) {
            highest = heaps[i].last.peak;
            m->whole.peak_ns = heaps[i].last.peak_ns;
        }
    }
}

int memory_fold(struct memory_use *m)
{
    const struct rec_heap_site *sites = (const struct rec_heap_site *)m->latest.data;
    const struct memory_heap *heaps = (const struct memory_heap *)m->heaps.data;
    int err = 0;
    for (size_t i = 0; !err && i < m->latest.len / sizeof(*sites); i++) {
        if (!heaps[sites[i].heap].taken)
            continue;
        add(&m->whole.sums, &sites[i]);
        err = fold_site(m, &sites[i], (uint32_t)i + 1);
    }
    sum_heaps(m);
    return err;
}
