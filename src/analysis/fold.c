/* fold: see fold.h.
 *
 * A deep recursion makes 10^5 nodes on one path, so nothing here walks a stack from a sample: weights are
 * summed from callees to callers in one pass over the nodes (a caller's id is smaller), and one walk over the
 * trie, which enters and leaves each node once, adds each subtree to a function's total where the function is
 * outermost. The time is linear in the nodes, and no recursion in C is as deep as the one in Python.
 */
#include "analysis/fold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "record/reader.h"

/* One epoch at work. Arrays by node; n nodes, the first the empty stack. */
struct epoch {
    const struct rec_reader *reader;
    uint32_t n;
    struct weights *sum; /* first a node's own weight, later with its callees' */
    struct link *links;
};

/* The walk's view of a node; 0 ends a list. function, line and call are indices into the tables (a call only
 * when the parent is not empty); global is in the trie of the whole recording: that of the innermost caller
 * there when the node is `cut`. weighs: it or a callee has a weight; the other members count only then. */
struct link {
    uint32_t parent;
    uint32_t first_child;
    uint32_t next_sibling;
    uint32_t frame;
    uint32_t function;
    uint32_t line;
    uint32_t call;
    uint32_t global;
    bool weighs;
    bool cut;
};

int fold_init(struct fold *f)
{
    *f = (struct fold){0};
    buf_init(&f->self, SIZE_MAX);
    buf_init(&f->places, SIZE_MAX);
    tally_init(&f->functions);
    tally_init(&f->lines);
    tally_init(&f->calls);
    return trie_init(&f->trie);
}

void fold_release(struct fold *f)
{
    buf_release(&f->self);
    buf_release(&f->places);
    tally_release(&f->functions);
    tally_release(&f->lines);
    tally_release(&f->calls);
    trie_release(&f->trie);
}

/* Makes room for the weights of nodes below n, as zeros. */
static int extend(struct fold *f, uint32_t n)
{
    size_t len = n * sizeof(struct weights);
    if (len <= f->self.len)
        return 0;
    uint8_t *to = buf_reserve(&f->self, len - f->self.len);
    if (!to)
        return f->self.error;
    memset(to, 0, len - f->self.len);
    f->self.len = len;
    return 0;
}

int fold_add(struct fold *f, uint32_t node, const struct weights *w)
{
    int err = extend(f, node + 1);
    if (!err)
        weights_add((struct weights *)f->self.data + node, w);
    return err;
}

/* Places the frames that came since the last fold. */
static int place_frames(struct fold *f, const struct rec_reader *r)
{
    uint32_t known = (uint32_t)(f->places.len / sizeof(struct frame_place));
    int err = 0;
    for (uint32_t id = known; !err && id < rec_reader_frame_count(r); id++) {
        struct rec_frame frame = rec_reader_frame(r, id);
        struct frame_place place = {0};
        err = tally_index(&f->functions, tally_key(0, frame.code), &place.function);
        if (!err)
            err = tally_index(&f->lines, tally_key(frame.code, frame.line), &place.line);
        if (!err)
            buf_put(&f->places, &place, sizeof(place));
        if (!err)
            err = f->places.error;
    }
    return err;
}

/* From callees to callers: lists of children in ascending order, and what weighs at all. */
static void link_nodes(const struct fold *f, struct epoch *e)
{
    const struct frame_place *places = (const struct frame_place *)f->places.data;
    for (uint32_t id = e->n - 1; id > 0; id--) {
        struct rec_node node = rec_reader_node(e->reader, id);
        struct link *link = &e->links[id];
        struct link *parent = &e->links[node.parent];
        link->weighs |= weights_any(&e->sum[id]);
        if (!link->weighs)
            continue;
        parent->weighs = true;
        link->parent = node.parent;
        link->frame = node.frame;
        link->function = places[node.frame].function;
        link->line = places[node.frame].line;
        link->next_sibling = parent->first_child;
        parent->first_child = id;
    }
}

static int find_global(struct fold *f, const struct link *parent, struct link *link)
{
    link->global = parent->global;
    link->cut = parent->cut;
    if (parent->cut)
        return 0;
    int err = trie_child(&f->trie, parent->global, link->frame, &link->global);
    link->cut = link->global == parent->global;
    return err;
}

static int find_call(struct fold *f, const struct link *parent, struct link *link)
{
    if (!link->parent)
        return 0;
    uint32_t caller = (uint32_t)tally_at(&f->functions, parent->function)->key;
    uint32_t callee = (uint32_t)tally_at(&f->functions, link->function)->key;
    return tally_index(&f->calls, tally_key(caller, callee), &link->call);
}

/* From callers to callees: own weights to all tables. */
static int add_selves(struct fold *f, const struct epoch *e)
{
    weights_add(&trie_at(&f->trie, 0)->self, &e->sum[0]);
    for (uint32_t id = 1; id < e->n; id++) {
        struct link *link = &e->links[id];
        if (!link->weighs)
            continue;
        int err = find_global(f, &e->links[link->parent], link);
        if (!err)
            err = find_call(f, &e->links[link->parent], link);
        if (err)
            return err;
        if (!weights_any(&e->sum[id]))
            continue;
        weights_add(&trie_at(&f->trie, link->global)->self, &e->sum[id]);
        weights_add(&tally_at(&f->functions, link->function)->self, &e->sum[id]);
        weights_add(&tally_at(&f->lines, link->line)->self, &e->sum[id]);
        if (link->parent)
            weights_add(&tally_at(&f->calls, link->call)->self, &e->sum[id]);
    }
    return 0;
}

static void sum_subtrees(struct epoch *e)
{
    for (uint32_t id = e->n - 1; id > 0; id--) {
        if (e->links[id].weighs)
            weights_add(&e->sum[e->links[id].parent], &e->sum[id]);
    }
}

static void enter(struct fold *f, const struct epoch *e, uint32_t id)
{
    const struct link *link = &e->links[id];
    tally_enter(tally_at(&f->functions, link->function), &e->sum[id]);
    tally_enter(tally_at(&f->lines, link->line), &e->sum[id]);
    if (link->parent)
        tally_enter(tally_at(&f->calls, link->call), &e->sum[id]);
}

static void leave(struct fold *f, const struct epoch *e, uint32_t id)
{
    const struct link *link = &e->links[id];
    tally_leave(tally_at(&f->functions, link->function));
    tally_leave(tally_at(&f->lines, link->line));
    if (link->parent)
        tally_leave(tally_at(&f->calls, link->call));
}

/* Depth first, adding each subtree's sum to what is outermost at its root. */
static void add_totals(struct fold *f, const struct epoch *e)
{
    uint32_t id = e->links[0].first_child;
    while (id) {
        enter(f, e, id);
        if (e->links[id].first_child) {
            id = e->links[id].first_child;
            continue;
        }
        leave(f, e, id);
        while (!e->links[id].next_sibling && e->links[id].parent) {
            id = e->links[id].parent;
            leave(f, e, id);
        }
        id = e->links[id].next_sibling;
    }
}

int fold_epoch(struct fold *f, const struct rec_reader *r)
{
    struct epoch e = {.reader = r, .n = (uint32_t)(f->self.len / sizeof(struct weights))};
    if (e.n == 0)
        return 0;
    e.sum = (struct weights *)f->self.data;
    e.links = calloc(e.n, sizeof(*e.links));
    if (!e.links)
        return -ENOMEM;
    int err = place_frames(f, r);
    if (!err) {
        link_nodes(f, &e);
        err = add_selves(f, &e);
    }
    if (!err) {
        sum_subtrees(&e);
        add_totals(f, &e);
    }
    free(e.links);
    buf_clear(&f->self);
    return err;
}
