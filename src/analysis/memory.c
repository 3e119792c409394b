/* memory: see memory.h. */
#include "analysis/memory.h"

#include <errno.h>
#include <stdlib.h>

/* Sums of one heap and stack that are kept: beyond, the recording is refused for lack of memory. */
#define SITES_MAX (1u << 22)

void memory_init(struct memory_use *m, const struct rec_reader *r)
{
    *m = (struct memory_use){.reader = r};
    struct buf *all[] = {&m->heaps, &m->functions, &m->lines};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_init(all[i], SIZE_MAX);
    buf_init(&m->latest, SITES_MAX * sizeof(struct rec_heap_site));
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

static void add(struct memory_sums *to, const struct memory_sums *s)
{
    to->allocated += s->allocated;
    to->allocations += s->allocations;
    to->freed += s->freed;
    to->frees += s->frees;
    to->peak += s->peak;
}

static void add_site(struct memory_sums *to, const struct rec_heap_site *s)
{
    add(to, &(struct memory_sums){s->allocated, s->allocations, s->freed, s->frees, s->peak});
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

/* What is held under each node, its own included, and how the trie hangs together: 0 ends a list. */
struct tree {
    uint32_t count;
    struct memory_sums *sums;
    uint32_t *first_child, *next_sibling;
};

static int tree_init(struct tree *t, uint32_t count)
{
    *t = (struct tree){.count = count,
                       .sums = calloc(count, sizeof(*t->sums)),
                       .first_child = calloc(count, sizeof(*t->first_child)),
                       .next_sibling = calloc(count, sizeof(*t->next_sibling))};
    return t->sums && t->first_child && t->next_sibling ? 0 : -ENOMEM;
}

static void tree_release(struct tree *t)
{
    free(t->sums);
    free(t->first_child);
    free(t->next_sibling);
}

/* The rows of a node; node 0 is outside of Python. False: no memory. */
static bool rows_of(struct memory_use *m, uint32_t node, struct memory_row **function,
                    struct memory_row **line)
{
    struct rec_frame frame = rec_reader_frame(m->reader, rec_reader_heap_node(m->reader, node).frame);
    uint32_t code = node ? frame.code : MEMORY_OUTSIDE;
    *function = row_of(&m->functions, &m->function_of, code, 0);
    *line = row_of(&m->lines, &m->line_of, code, node ? frame.line : 0);
    return *function && *line;
}

static int add_self(struct memory_use *m, const struct tree *t)
{
    struct memory_row *function, *line;
    for (uint32_t id = 0; id < t->count; id++) {
        if (!t->sums[id].allocations && !t->sums[id].allocated)
            continue;
        if (!rows_of(m, id, &function, &line))
            return -ENOMEM;
        add(&function->self, &t->sums[id]);
        add(&line->self, &t->sums[id]);
    }
    return 0;
}

/* A caller's id is smaller than its callees'. What is under node 0 alone stays its own. */
static void sum_subtrees(struct tree *t, const struct rec_reader *r)
{
    for (uint32_t id = t->count - 1; id > 0; id--) {
        uint32_t parent = rec_reader_heap_node(r, id).parent;
        if (parent)
            add(&t->sums[parent], &t->sums[id]);
        t->next_sibling[id] = t->first_child[parent];
        t->first_child[parent] = id;
    }
}

/* A row that recurs on the stack is counted where it is outermost. */
static void enter(struct memory_row *row, const struct memory_sums *sums)
{
    if (!row->open++)
        add(&row->total, sums);
}

static bool visit(struct memory_use *m, const struct tree *t, uint32_t id, bool entered)
{
    struct memory_row *function, *line;
    if (!rows_of(m, id, &function, &line))
        return false;
    if (entered) {
        enter(function, &t->sums[id]);
        enter(line, &t->sums[id]);
    } else {
        function->open--;
        line->open--;
    }
    return true;
}

/* One walk over the trie that enters and leaves each node once: stacks can be deep, and many. */
static int add_totals(struct memory_use *m, const struct tree *t)
{
    uint32_t id = t->first_child[0];
    bool fine = visit(m, t, 0, true) && visit(m, t, 0, false);
    while (id && fine) {
        fine = visit(m, t, id, true);
        if (fine && t->first_child[id]) {
            id = t->first_child[id];
            continue;
        }
        while (id && fine) {
            fine = visit(m, t, id, false);
            if (t->next_sibling[id]) {
                id = t->next_sibling[id];
                break;
            }
            id = rec_reader_heap_node(m->reader, id).parent;
        }
    }
    return fine ? 0 : -ENOMEM;
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
        m->whole.rss_peak = max_u64(m->whole.rss_peak, heaps[i].last.rss_peak);
        if (heaps[i].last.peak >= highest) {
            highest = heaps[i].last.peak;
            m->whole.peak_ns = heaps[i].last.peak_ns;
        }
    }
}

/* The sums of all heaps that are taken, at their nodes. */
static int add_sites(struct memory_use *m, struct tree *t)
{
    const struct rec_heap_site *sites = (const struct rec_heap_site *)m->latest.data;
    const struct memory_heap *heaps = (const struct memory_heap *)m->heaps.data;
    int err = tree_init(t, rec_reader_heap_node_count(m->reader));
    for (size_t i = 0; !err && i < m->latest.len / sizeof(*sites); i++) {
        if (!heaps[sites[i].heap].taken)
            continue;
        add_site(&m->whole.sums, &sites[i]);
        add_site(&t->sums[sites[i].stack], &sites[i]);
    }
    return err;
}

int memory_fold(struct memory_use *m)
{
    struct tree tree = {0};
    int err = 0;
    if (m->latest.len)
        err = add_sites(m, &tree);
    if (!err && m->latest.len) {
        err = add_self(m, &tree);
        sum_subtrees(&tree, m->reader);
    }
    if (!err && m->latest.len)
        err = add_totals(m, &tree);
    tree_release(&tree);
    sum_heaps(m);
    return err;
}
