/* collections: see collections.h. Sums are kept by stack while the recording is read, and shared out to
 * functions and lines at the end; of single collections only their lengths are kept.
 */
#include "analysis/collections.h"

#include <errno.h>
#include <stdlib.h>

void collections_init(struct collections_use *c, const struct rec_reader *r)
{
    *c = (struct collections_use){.reader = r};
    struct buf *all[] = {&c->programs, &c->sites, &c->stacks, &c->pauses, &c->functions, &c->lines};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_init(all[i], SIZE_MAX);
    map_init(&c->site_of);
    map_init(&c->function_of);
    map_init(&c->line_of);
}

void collections_release(struct collections_use *c)
{
    struct buf *all[] = {&c->programs, &c->sites, &c->stacks, &c->pauses, &c->functions, &c->lines};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_release(all[i]);
    map_release(&c->site_of);
    map_release(&c->function_of);
    map_release(&c->line_of);
}

static struct collections_program *program_of(const struct collections_use *c, uint32_t heap)
{
    return (struct collections_program *)c->programs.data + heap;
}

int collections_add_heap(struct collections_use *c, const struct rec_heap *heap, bool taken)
{
    const struct collections_program program = {.start_ns = heap->start_ns, .taken = taken};
    buf_put(&c->programs, &program, sizeof(program));
    return c->programs.error;
}

void collections_add_collector(struct collections_use *c, const struct rec_collector *collector)
{
    struct collections_program *program = program_of(c, collector->heap);
    program->since_ns = collector->since_ns;
    program->until_ns = collector->until_ns;
}

static void add(struct collections_sums *to, const struct collections_sums *sums)
{
    to->count += sums->count;
    to->ns += sums->ns;
    to->longest_ns = max_u64(to->longest_ns, sums->longest_ns);
    to->collected += sums->collected;
    to->uncollectable += sums->uncollectable;
}

/* The sums of a stack; NULL: no memory. */
static struct collections_sums *site_of(struct collections_use *c, uint32_t stack)
{
    uint32_t known = map_get(&c->site_of, stack);
    if (known == MAP_NONE) {
        const struct collections_sums none = {0};
        known = (uint32_t)(c->stacks.len / sizeof(stack));
        buf_put(&c->stacks, &stack, sizeof(stack));
        buf_put(&c->sites, &none, sizeof(none));
        if (c->stacks.error || c->sites.error || map_put(&c->site_of, stack, known) != 0)
            return NULL;
    }
    return (struct collections_sums *)c->sites.data + known;
}

int collections_add(struct collections_use *c, const struct rec_collection *collection)
{
    const struct collections_sums one = {.count = 1,
                                         .ns = collection->length_ns,
                                         .longest_ns = collection->length_ns,
                                         .collected = collection->collected,
                                         .uncollectable = collection->uncollectable};
    if (!program_of(c, collection->heap)->taken)
        return 0;
    struct collections_sums *site = site_of(c, collection->stack);
    if (!site)
        return -ENOMEM;
    add(site, &one);
    add(&c->whole, &one);
    add(&c->generations[collection->generation], &one);
    buf_put(&c->pauses, &one.ns, sizeof(one.ns));
    return c->pauses.error;
}

/* Tables ------------------------------------------------------------------------------------------------ */

static int add_to_row(struct buf *rows, struct map *index, struct collections_row new)
{
    uint64_t key = (uint64_t) new.code << 32 | new.line;
    uint32_t known = map_get(index, key);
    if (known != MAP_NONE) {
        add(&((struct collections_row *)rows->data)[known].sums, &new.sums);
        return 0;
    }
    known = (uint32_t)(rows->len / sizeof(new));
    buf_put(rows, &new, sizeof(new));
    return rows->error ? rows->error : map_put(index, key, known);
}

static int fold_site(struct collections_use *c, uint32_t node, const struct collections_sums *sums)
{
    struct rec_frame frame = rec_reader_frame(c->reader, rec_reader_heap_node(c->reader, node).frame);
    struct collections_row row = {.code = node ? frame.code : COLLECTIONS_OUTSIDE, .sums = *sums};
    int err = add_to_row(&c->functions, &c->function_of, row);
    row.line = node ? frame.line : 0;
    return err ? err : add_to_row(&c->lines, &c->line_of, row);
}

static int by_length(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int collections_fold(struct collections_use *c)
{
    const uint32_t *stacks = (const uint32_t *)c->stacks.data;
    const struct collections_sums *sites = (const struct collections_sums *)c->sites.data;
    const struct collections_program *programs = (const struct collections_program *)c->programs.data;
    int err = 0;
    for (size_t i = 0; !err && i < c->stacks.len / sizeof(*stacks); i++)
        err = fold_site(c, stacks[i], &sites[i]);
    for (size_t i = 0; i < c->programs.len / sizeof(*programs); i++) {
        if (!programs[i].taken || !programs[i].since_ns)
            continue;
        c->recorded++;
        if (programs[i].until_ns > programs[i].start_ns)
            c->recorded_ns += programs[i].until_ns - programs[i].start_ns;
    }
    if (c->pauses.len)
        qsort(c->pauses.data, c->pauses.len / sizeof(uint64_t), sizeof(uint64_t), by_length);
    return err;
}

uint64_t collections_quantile(const struct collections_use *c, double share)
{
    size_t count = c->pauses.len / sizeof(uint64_t);
    size_t at = (size_t)((double)count * share);
    return count ? ((const uint64_t *)c->pauses.data)[min_u64(at, count - 1)] : 0;
}

bool collections_known(const struct collections_use *c, uint32_t heap)
{
    return program_of(c, heap)->since_ns != 0;
}
