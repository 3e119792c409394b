/* fold: see fold.h.
 *
 * A deep recursion makes 10^5 nodes on one path, so nothing here walks a stack from a sample. Three passes
 * over the nodes, each linear: own weights to the tables; from callees to callers (a caller's id is smaller),
 * which sums subtrees and lists children; and one walk over the trie, which enters and leaves each node once
 * and adds each subtree to a function's total where the function is outermost. No recursion in C is as deep
 * as the one in Python. The time goes into cache lines, so a node has one for its weights and a fifth of one
 * for its links.
 */
#include "analysis/fold.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "record/reader.h"

#define CAP_FIRST 1024
/* Eleven days; the squares of all looks of an epoch at this are a float still. */
#define GAP_MAX_US 1e12f

static const struct rec_node *nodes_of(const struct fold *f)
{
    return rec_reader_nodes(f->reader);
}

static const struct frame_place *place_of(const struct fold *f, const struct rec_node *node)
{
    return (const struct frame_place *)f->places.data + node->frame;
}

int fold_init(struct fold *f, const struct rec_reader *r, unsigned without)
{
    *f = (struct fold){.reader = r, .without = without};
    buf_init(&f->places, SIZE_MAX);
    tally_init(&f->functions);
    tally_init(&f->lines);
    tally_init(&f->calls);
    return trie_init(&f->trie);
}

void fold_release(struct fold *f)
{
    free(f->nodes);
    free(f->links);
    buf_release(&f->places);
    tally_release(&f->functions);
    tally_release(&f->lines);
    tally_release(&f->calls);
    trie_release(&f->trie);
}

/* Weights --------------------------------------------------------------------------------------------- */

/* It began and ended somewhere between two looks, which can be late. Never 0. */
static float squared_gap(const struct rec_sample *s, uint64_t period_ns)
{
    float gap_ns = fmaxf((float)s->wall_ns / (float)s->count, (float)period_ns);
    float gap_us = fminf(fmaxf(gap_ns / (float)NS_PER_US, 1), GAP_MAX_US);
    return gap_us * gap_us;
}

struct node_weights fold_weigh(const struct rec_sample *s, uint64_t period_ns)
{
    struct node_weights w = {
        .wall = s->wall_ns, .cpu = s->cpu_ns, .samples = s->count, .squared_gaps = squared_gap(s, period_ns)};
    if (s->state & REC_GIL_HELD)
        w.gil_held = s->wall_ns;
    if (s->state & REC_GIL_WAIT)
        w.gil_wait = s->wall_ns;
    if (s->state & REC_IN_GC)
        w.gc = s->wall_ns;
    else if (s->state & REC_IN_C)
        w.in_c = s->cpu_ns;
    if (!(s->state & (REC_GIL_WAIT | REC_ON_CPU)) && s->wall_ns > s->cpu_ns)
        w.blocked = s->wall_ns - s->cpu_ns;
    return w;
}

static inline void add_nodes(struct node_weights *to, const struct node_weights *w)
{
    to->wall += w->wall;
    to->cpu += w->cpu;
    to->gil_held += w->gil_held;
    to->gil_wait += w->gil_wait;
    to->gc += w->gc;
    to->in_c += w->in_c;
    to->blocked += w->blocked;
    to->samples += w->samples;
    to->squared_gaps += w->squared_gaps;
}

static inline void add_to_weights(struct weights *to, const struct node_weights *w)
{
    to->wall += w->wall;
    to->cpu += w->cpu;
    to->gil_held += w->gil_held;
    to->gil_wait += w->gil_wait;
    to->gc += w->gc;
    to->in_c += w->in_c;
    to->blocked += w->blocked;
    to->samples += w->samples;
    to->squared_gaps += w->squared_gaps;
}

void weights_add_node(struct weights *to, const struct node_weights *w)
{
    add_to_weights(to, w);
}

/* Makes room for node, which is below REC_MAX_NODES. */
static int grow(struct fold *f, uint32_t node)
{
    uint32_t cap = f->cap ? f->cap : CAP_FIRST;
    while (cap <= node)
        cap *= 2;
    struct node_weights *nodes = aligned_alloc(sizeof(*nodes), cap * sizeof(*nodes));
    struct fold_link *links = realloc(f->links, cap * sizeof(*links));
    f->links = links ? links : f->links;
    if (!nodes || !links) {
        free(nodes);
        return -ENOMEM;
    }
    if (f->cap)
        memcpy(nodes, f->nodes, f->cap * sizeof(*nodes));
    memset(nodes + f->cap, 0, (cap - f->cap) * sizeof(*nodes));
    memset(links + f->cap, 0, (cap - f->cap) * sizeof(*links));
    free(f->nodes);
    f->nodes = nodes;
    f->cap = cap;
    return 0;
}

int fold_add(struct fold *f, uint32_t node, const struct node_weights *w)
{
    if (node >= f->cap) {
        int err = grow(f, node);
        if (err)
            return err;
    }
    f->pending += w->samples;
    if (f->pending > UINT32_MAX - 1) {
        int err = fold_epoch(f);
        if (err)
            return err;
        f->pending = w->samples;
    }
    f->count = f->count > node ? f->count : node + 1;
    add_nodes(&f->nodes[node], w);
    return 0;
}

/* Passes ---------------------------------------------------------------------------------------------- */

/* The time of others is that of the Python line that called them. */
static bool has_lines(uint8_t kind)
{
    static const bool lack[] = {
        [REC_NATIVE] = true, [REC_JIT] = true, [REC_GC] = true, [REC_SYSCALL] = true, [REC_GUESSED] = true};
    return kind >= ARRAY_LEN(lack) || !lack[kind];
}

/* Places the frames that came since the last fold. */
static int place_frames(struct fold *f)
{
    uint32_t known = (uint32_t)(f->places.len / sizeof(struct frame_place));
    int err = 0;
    for (uint32_t id = known; !err && id < rec_reader_frame_count(f->reader); id++) {
        struct rec_frame frame = rec_reader_frame(f->reader, id);
        struct frame_place place = {0};
        err = tally_index(&f->functions, tally_key(0, frame.code), &place.function);
        if (!has_lines(rec_reader_code(f->reader, frame.code).kind))
            place.line = FOLD_NO_LINE;
        else if (!err)
            err = tally_index(&f->lines, tally_key(frame.code, frame.line), &place.line);
        if (!err)
            buf_put(&f->places, &place, sizeof(place));
        if (!err)
            err = f->places.error;
    }
    return err;
}

/* The call that leads to a node with a caller. */
static int find_call(struct fold *f, const struct rec_node *nodes, uint32_t id, uint32_t *call)
{
    uint32_t caller = place_of(f, &nodes[nodes[id].parent])->function;
    uint32_t callee = place_of(f, &nodes[id])->function;
    uint64_t key = tally_key((uint32_t)tally_at(&f->functions, caller)->key,
                             (uint32_t)tally_at(&f->functions, callee)->key);
    return tally_index(&f->calls, key, call);
}

/* The line that a node stands for: its own, or that of the innermost caller that has one. */
static uint32_t line_of(const struct fold *f, const struct rec_node *nodes, uint32_t id)
{
    uint32_t line = FOLD_NO_LINE;
    for (; id && line == FOLD_NO_LINE; id = nodes[id].parent)
        line = place_of(f, &nodes[id])->line;
    return line;
}

/* Own weights, before those of callees are added to them. */
static void add_selves(struct fold *f)
{
    const struct rec_node *nodes = nodes_of(f);
    add_to_weights(&f->sum, &f->nodes[0]);
    for (uint32_t id = 1; id < f->count; id++) {
        const struct node_weights *own = &f->nodes[id];
        if (own->squared_gaps == 0)
            continue;
        const struct frame_place *place = place_of(f, &nodes[id]);
        add_to_weights(&f->sum, own);
        add_to_weights(&tally_at(&f->functions, place->function)->self, own);
        uint32_t line = line_of(f, nodes, id);
        if (line != FOLD_NO_LINE)
            add_to_weights(&tally_at(&f->lines, line)->self, own);
    }
}

/* Own weights to the distinct stacks of the recording. global: by node, its place there; `cut` nodes weigh on
 * their innermost caller that found room. */
static int add_stacks(struct fold *f)
{
    const struct rec_node *nodes = nodes_of(f);
    bool by_function = f->without & PROFILE_WITHOUT_STACK_LINES;
    uint32_t *global = calloc(f->count, sizeof(*global));
    uint8_t *weighs = calloc(f->count, 1);
    uint8_t *cut = calloc(f->count, 1);
    int err = global && weighs && cut ? 0 : -ENOMEM;
    for (uint32_t id = f->count - 1; !err && id > 0; id--) {
        weighs[id] |= f->nodes[id].squared_gaps != 0;
        weighs[nodes[id].parent] |= weighs[id];
    }
    if (!err)
        add_to_weights(&trie_at(&f->trie, 0)->self, &f->nodes[0]);
    for (uint32_t id = 1; !err && id < f->count; id++) {
        uint32_t parent = nodes[id].parent;
        if (!weighs[id])
            continue;
        global[id] = global[parent];
        cut[id] = cut[parent];
        if (!cut[id]) {
            uint32_t what = by_function ? place_of(f, &nodes[id])->function : nodes[id].frame;
            err = trie_child(&f->trie, global[parent], what, nodes[id].frame, &global[id]);
            cut[id] = global[id] == global[parent];
        }
        if (f->nodes[id].squared_gaps != 0)
            add_to_weights(&trie_at(&f->trie, global[id])->self, &f->nodes[id]);
    }
    free(global);
    free(weighs);
    free(cut);
    return err;
}

/* Own weights to calls. */
static int add_calls(struct fold *f)
{
    const struct rec_node *nodes = nodes_of(f);
    int err = 0;
    for (uint32_t id = 1; !err && id < f->count; id++) {
        if (!nodes[id].parent)
            continue;
        err = find_call(f, nodes, id, &f->links[id].call);
        if (!err && f->nodes[id].squared_gaps != 0)
            add_to_weights(&tally_at(&f->calls, f->links[id].call)->self, &f->nodes[id]);
    }
    return err;
}

/* From callees to callers: subtrees summed, and lists of the children that weigh, in ascending order. */
static void sum_subtrees(struct fold *f)
{
    const struct rec_node *nodes = nodes_of(f);
    for (uint32_t id = f->count - 1; id > 0; id--) {
        const struct node_weights *sum = &f->nodes[id];
        uint32_t parent = nodes[id].parent;
        if (sum->squared_gaps == 0)
            continue;
        add_nodes(&f->nodes[parent], sum);
        f->links[id].next_sibling = f->links[parent].first_child;
        f->links[parent].first_child = id;
    }
}

static inline void enter_tally(struct tally *t, const struct node_weights *below)
{
    if (t->on_path++ == 0)
        add_to_weights(&t->total, below);
}

static inline void enter(struct fold *f, const struct rec_node *nodes, uint32_t id)
{
    const struct frame_place *place = place_of(f, &nodes[id]);
    enter_tally(tally_at(&f->functions, place->function), &f->nodes[id]);
    if (place->line != FOLD_NO_LINE)
        enter_tally(tally_at(&f->lines, place->line), &f->nodes[id]);
    if (nodes[id].parent && !(f->without & PROFILE_WITHOUT_CALLS))
        enter_tally(tally_at(&f->calls, f->links[id].call), &f->nodes[id]);
}

static inline void leave(struct fold *f, const struct rec_node *nodes, uint32_t id)
{
    const struct frame_place *place = place_of(f, &nodes[id]);
    tally_at(&f->functions, place->function)->on_path--;
    if (place->line != FOLD_NO_LINE)
        tally_at(&f->lines, place->line)->on_path--;
    if (nodes[id].parent && !(f->without & PROFILE_WITHOUT_CALLS))
        tally_at(&f->calls, f->links[id].call)->on_path--;
}

/* Depth first, adding each subtree's sum to what is outermost at its root. */
static void add_totals(struct fold *f)
{
    const struct rec_node *nodes = nodes_of(f);
    uint32_t id = f->links[0].first_child;
    while (id) {
        enter(f, nodes, id);
        if (f->links[id].first_child) {
            id = f->links[id].first_child;
            continue;
        }
        leave(f, nodes, id);
        while (!f->links[id].next_sibling && nodes[id].parent) {
            id = nodes[id].parent;
            leave(f, nodes, id);
        }
        id = f->links[id].next_sibling;
    }
}

int fold_epoch(struct fold *f)
{
    if (f->count == 0)
        return 0;
    int err = place_frames(f);
    if (!err)
        add_selves(f);
    if (!err && !(f->without & PROFILE_WITHOUT_STACKS))
        err = add_stacks(f);
    if (!err && !(f->without & PROFILE_WITHOUT_CALLS))
        err = add_calls(f);
    if (!err) {
        sum_subtrees(f);
        add_totals(f);
    }
    memset(f->nodes, 0, f->count * sizeof(*f->nodes));
    memset(f->links, 0, f->count * sizeof(*f->links));
    f->count = 0;
    f->pending = 0;
    return err;
}
