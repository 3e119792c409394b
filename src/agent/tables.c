/* tables: what the agent has seen, numbered: nodes, frames and functions, in the shared memory.
 *
 * Rows are found by chains that only grow at their head, so no lock is needed: who has a new row fills it,
 * then makes it the head. Two threads that see the same for the first time at once may number it twice, which
 * only costs a row. Knows neither Python nor events.
 */
#include "agent/agent.h"

/* One of the tables: rows of `size` bytes that start with a struct channel_link. */
struct table {
    struct channel_index *index;
    uint8_t *rows;
    size_t size;
    uint32_t limit;
};

static struct channel_link *link_of(const struct table *t, uint32_t row)
{
    return (struct channel_link *)(t->rows + t->size * row);
}

static _Atomic uint32_t *head_of(const struct table *t, uint64_t key)
{
    uint64_t hash = key * 0x9e3779b97f4a7c15u;
    return &t->index->heads[(hash >> 40) % CHANNEL_HEADS];
}

static uint32_t find(const struct table *t, uint64_t key)
{
    uint32_t row = atomic_load_explicit(head_of(t, key), memory_order_acquire);
    while (row && link_of(t, row)->key != key)
        row = link_of(t, row)->next;
    return row;
}

/* A new row that nobody else knows yet; 0: there is no room. */
static uint32_t take_row(struct channel *c, const struct table *t)
{
    if (atomic_load_explicit(&t->index->count, memory_order_relaxed) < t->limit - 1) {
        uint32_t row = atomic_fetch_add_explicit(&t->index->count, 1, memory_order_relaxed) + 1;
        if (row < t->limit)
            return row;
    }
    atomic_fetch_add_explicit(&c->full, 1, memory_order_relaxed);
    return 0;
}

static void publish(const struct table *t, uint64_t key, uint32_t row)
{
    _Atomic uint32_t *head = head_of(t, key);
    struct channel_link *link = link_of(t, row);
    link->key = key;
    uint32_t first = atomic_load_explicit(head, memory_order_relaxed);
    do
        link->next = first;
    while (!atomic_compare_exchange_weak_explicit(head, &first, row, memory_order_release,
                                                  memory_order_relaxed));
}

static uint32_t number(struct channel *c, const struct table *t, uint64_t key, tables_fill_fn *fill,
                       const void *ctx)
{
    uint32_t row = find(t, key);
    if (row)
        return row;
    row = take_row(c, t);
    if (!row)
        return 0;
    if (fill)
        fill(c, row, ctx);
    publish(t, key, row);
    return row;
}

uint32_t tables_node(struct channel *c, uint32_t caller, uint32_t frame)
{
    const struct table t = {&c->node_index, (uint8_t *)c->nodes, sizeof(*c->nodes), CHANNEL_NODES};
    return number(c, &t, (uint64_t)caller << 32 | frame, NULL, NULL);
}

uint32_t tables_frame(struct channel *c, uint64_t key, tables_fill_fn *fill, const void *ctx)
{
    const struct table t = {&c->frame_index, (uint8_t *)c->frames, sizeof(*c->frames), CHANNEL_FRAMES};
    return number(c, &t, key, fill, ctx);
}

uint32_t tables_code(struct channel *c, uint64_t key, tables_fill_fn *fill, const void *ctx)
{
    const struct table t = {&c->code_index, (uint8_t *)c->codes, sizeof(*c->codes), CHANNEL_CODES};
    return number(c, &t, key, fill, ctx);
}

uint8_t *tables_text(struct channel *c, uint32_t n, uint32_t *at)
{
    *at = 0;
    if (atomic_load_explicit(&c->text_used, memory_order_relaxed) < CHANNEL_TEXT - n) {
        uint32_t start = atomic_fetch_add_explicit(&c->text_used, n, memory_order_relaxed);
        if (start <= CHANNEL_TEXT - n) {
            *at = start;
            return c->text + start;
        }
    }
    atomic_fetch_add_explicit(&c->full, 1, memory_order_relaxed);
    return NULL;
}
