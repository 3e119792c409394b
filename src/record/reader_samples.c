/* The reader's samples: the columns of a chunk, decoded in step. This is where the time of a report goes, so
 * varints of one or two bytes, nearly all, are read in place.
 */
#include <errno.h>

#include "record/reader_state.h"

static inline uint64_t number(struct cursor *c)
{
    if (c->at < c->end && *c->at < 0x80)
        return *c->at++;
    if (c->end - c->at >= 2 && c->at[1] < 0x80) {
        c->at += 2;
        return (c->at[-2] & 0x7fu) | (uint64_t)c->at[-1] << 7;
    }
    return cursor_varint(c);
}

static inline uint64_t difference(struct cursor *c)
{
    uint64_t v = number(c);
    return (v >> 1) ^ (0 - (v & 1));
}

/* The time must be one that fits 63 bits of ns. */
static bool fits(const struct rec_reader *r, uint64_t units)
{
    return units <= INT64_MAX / r->unit_ns;
}

static int take_times(const struct rec_reader *r, struct cursor *sections, struct reader_lane *lane,
                      struct rec_sample *s)
{
    uint64_t end = lane->end + r->period * s->count + difference(&sections[REC_COL_END]);
    uint64_t start = lane->end + difference(&sections[REC_COL_START]);
    uint64_t wall = end - start;
    uint64_t cpu = difference(&sections[REC_COL_CPU]);
    if (s->state & REC_ON_CPU)
        cpu = wall - cpu;
    if (!fits(r, wall) || !fits(r, cpu))
        return -EBADMSG;
    s->end_ns = r->start_ns + end * r->unit_ns;
    s->wall_ns = wall * r->unit_ns;
    s->cpu_ns = cpu * r->unit_ns;
    lane->end = end;
    return 0;
}

/* The caller of new nodes: some steps above `last`, or named by id. */
static int take_base(const struct rec_reader *r, struct cursor *c, uint32_t last, uint32_t *base)
{
    const struct rec_node *nodes = (const struct rec_node *)r->nodes.data;
    uint64_t up = number(c);
    if (up == 0) {
        uint64_t id = number(c);
        *base = (uint32_t)id;
        return id < rec_reader_node_count(r) ? 0 : -EBADMSG;
    }
    if (up > REC_MAX_UP + 1)
        return -EBADMSG;
    *base = last;
    for (; up > 1; up--)
        *base = nodes[*base].parent;
    return 0;
}

/* Finds for new nodes the first ones that say the same. */
static int find_same(struct rec_reader *r)
{
    const struct rec_node *nodes = (const struct rec_node *)r->nodes.data;
    uint32_t count = rec_reader_node_count(r);
    if (!r->has_places || r->places_kept)
        return 0;
    for (uint32_t id = reader_count(&r->same, sizeof(id)); id < count; id++) {
        uint64_t key = (uint64_t)reader_first_node(r, nodes[id].parent) << 32 | nodes[id].frame;
        uint32_t same = id ? map_get(&r->node_of, key) : REC_NO_STACK;
        int err = same == MAP_NONE ? map_put(&r->node_of, key, id) : 0;
        same = same == MAP_NONE ? id : same;
        err = err ? err : reader_append(&r->same, &same, sizeof(same));
        if (err)
            return err;
    }
    return 0;
}

void reader_forget_nodes(struct rec_reader *r)
{
    r->epoch++;
    r->nodes.len = sizeof(struct rec_node);
    r->same.len = 0;
    map_clear(&r->node_of);
}

/* Adds new nodes from the innermost frame outward, so that callers keep the smaller ids. */
static int take_growth(struct rec_reader *r, struct cursor *sections, uint32_t last, uint32_t *node)
{
    uint32_t base;
    int err = take_base(r, &sections[REC_COL_UP], last, &base);
    if (err)
        return err;
    struct cursor *c = &sections[REC_COL_FRAMES];
    uint64_t n = number(&sections[REC_COL_GROWN]);
    uint32_t first = rec_reader_node_count(r);
    if (n > (uint64_t)(c->end - c->at) || n >= REC_MAX_NODES - first)
        return -EBADMSG;
    n++;
    struct rec_node *to = (struct rec_node *)buf_reserve(&r->nodes, n * sizeof(*to));
    if (!to)
        return r->nodes.error;
    for (uint64_t i = n; i-- > 0;) {
        uint64_t frame = number(i + 1 == n ? &sections[REC_COL_LEAVES] : c);
        uint32_t id = (uint32_t)frame;
        if (frame > UINT32_MAX || !reader_frame_id(r, &id))
            return -EBADMSG;
        to[i] = (struct rec_node){.parent = i ? first + (uint32_t)i - 1 : base, .frame = id};
    }
    r->nodes.len += n * sizeof(*to);
    *node = first + (uint32_t)n - 1;
    return find_same(r);
}

static int take_stack(struct rec_reader *r, struct cursor *sections, struct reader_lane *lane)
{
    if (lane->epoch != r->epoch)
        lane->stack = REC_NO_STACK;
    lane->epoch = r->epoch;
    uint64_t how = number(&sections[REC_COL_STACK]);
    if (how == REC_STACK_SAME)
        return 0;
    if (how == REC_STACK_GROWN)
        return take_growth(r, sections, lane->stack, &lane->stack);
    how -= REC_STACK_KNOWN;
    uint64_t node = lane->stack + ((how >> 1) ^ (0 - (how & 1)));
    if (node >= rec_reader_node_count(r))
        return -EBADMSG;
    lane->stack = (uint32_t)node;
    return 0;
}

/* last: the thread of the sample before, as the part counts them. */
static int take_sample(struct rec_reader *r, struct cursor *sections, uint64_t *last, struct rec_sample *s)
{
    uint64_t thread = *last + difference(&sections[REC_COL_THREAD]);
    uint64_t count = number(&sections[REC_COL_COUNT]);
    uint64_t syscall = number(&sections[REC_COL_SYSCALL]);
    struct cursor *state = &sections[REC_COL_STATE];
    s->state = state->at < state->end ? *state->at++ : cursor_u8(state);
    if (thread >= rec_reader_thread_count(r) - r->first_thread || count > UINT32_MAX ||
        syscall > REC_NO_SYSCALL)
        return -EBADMSG;
    *last = thread;
    s->thread = r->first_thread + (uint32_t)thread;
    s->count = (uint32_t)count;
    s->syscall = syscall ? (uint16_t)(syscall - 1) : REC_NO_SYSCALL;
    struct reader_lane *lane =
        &((struct reader_thread *)r->threads.data)[s->thread].lanes[rec_lane_of(s->state)];
    int err = take_times(r, sections, lane, s);
    if (!err)
        err = take_stack(r, sections, lane);
    s->stack = reader_first_node(r, lane->stack);
    return err;
}

static bool any_bad(const struct cursor *sections)
{
    bool bad = false;
    for (size_t i = REC_COL_THREAD; i <= REC_COL_FRAMES; i++)
        bad |= sections[i].bad;
    return bad;
}

static bool all_used(const struct cursor *sections)
{
    bool used = true;
    for (size_t i = REC_COL_THREAD; i <= REC_COL_FRAMES; i++)
        used &= sections[i].at == sections[i].end;
    return used;
}

int reader_take_samples(struct rec_reader *r, struct cursor sections[REC_SECTIONS])
{
    const struct cursor *thread = &sections[REC_COL_THREAD];
    struct rec_sample s = {0};
    uint64_t last = 0;
    while (thread->at < thread->end) {
        int rc = take_sample(r, sections, &last, &s);
        if (!rc && any_bad(sections))
            rc = -EBADMSG;
        if (!rc && r->events->sample)
            rc = reader_answer(r, r->events->sample(r->ctx, &s));
        if (rc)
            return rc;
    }
    return all_used(sections) ? 0 : -EBADMSG;
}
