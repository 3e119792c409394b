/* paths: see paths.h. */
#include "export/paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

static int spot_of(struct paths *p, uint32_t code, uint32_t line, uint32_t *out)
{
    uint64_t key = (uint64_t)code << 32 | line;
    *out = map_get(&p->by_spot, key);
    if (*out != MAP_NONE)
        return 0;
    struct path_spot *spots = list_room(p->spots, &p->spot_cap, p->spot_count, sizeof(*spots));
    if (!spots)
        return -ENOMEM;
    p->spots = spots;
    p->spots[p->spot_count] = (struct path_spot){.code = code, .line = line};
    *out = p->spot_count++;
    return map_put(&p->by_spot, key, *out);
}

static int add_node(struct paths *p, uint32_t parent, uint32_t spot, uint32_t *out)
{
    if (p->count == p->cap) {
        uint32_t cap = p->cap ? p->cap * 2 : 1024;
        struct path_node *nodes = cap > p->cap ? reallocarray(p->nodes, cap, sizeof(*nodes)) : NULL;
        if (!nodes)
            return -ENOMEM;
        p->nodes = nodes;
        p->cap = cap;
    }
    /* The first is the root. */
    uint32_t depth = p->count ? p->nodes[parent].depth + 1 : 0;
    p->nodes[p->count] = (struct path_node){.parent = parent, .spot = spot, .depth = depth};
    *out = p->count++;
    return 0;
}

static int child_of(struct paths *p, uint32_t parent, uint32_t code, uint32_t line, uint32_t *out)
{
    uint32_t spot;
    int rc = spot_of(p, code, line, &spot);
    if (rc)
        return rc;
    uint64_t key = (uint64_t)parent << 32 | spot;
    *out = map_get(&p->by_child, key);
    if (*out != MAP_NONE)
        return 0;
    rc = add_node(p, parent, spot, out);
    return rc ? rc : map_put(&p->by_child, key, *out);
}

static int child_of_frame(struct paths *p, uint32_t parent, uint32_t id, uint32_t *out)
{
    struct rec_frame frame = rec_reader_frame(p->reader, id);
    uint32_t code = frame.code & ~PATHS_PROCESS;
    uint32_t line = p->options->lines ? frame.line : rec_reader_code(p->reader, code).first_line;
    return child_of(p, parent, code, line, out);
}

/* The stack nodes of the recording that have no path yet, from `stack` towards the root; *base is the path
 * of the first that has one. The caller frees *list. */
static int unknown_nodes(struct paths *p, uint64_t root, uint32_t stack, uint32_t **list, size_t *count,
                         uint32_t *base)
{
    size_t cap = 0;
    *list = NULL;
    *count = 0;
    for (; stack != REC_NO_STACK; stack = rec_reader_node(p->reader, stack).parent) {
        *base = map_get(&p->of_node, root | stack);
        if (*base != MAP_NONE)
            return 0;
        uint32_t *longer = list_room(*list, &cap, *count, sizeof(*longer));
        if (!longer)
            return -ENOMEM;
        *list = longer;
        longer[(*count)++] = stack;
    }
    *base = 0;
    return 0;
}

/* The path of a stack node, under a process's node when these are kept apart. */
static int path_of(struct paths *p, uint32_t process, uint32_t stack, uint32_t *out)
{
    bool apart = p->options->per_process;
    uint64_t root = apart ? (uint64_t)(process + 1) << 32 : 0;
    uint32_t *list;
    size_t count;
    int rc = unknown_nodes(p, root, stack, &list, &count, out);
    if (rc == 0 && *out == 0 && apart)
        rc = child_of(p, 0, PATHS_PROCESS | process, 0, out);
    if (rc == 0 && stack == REC_NO_STACK)
        rc = child_of(p, *out, PATHS_NO_PYTHON, 0, out);
    while (rc == 0 && count--) {
        struct rec_node node = rec_reader_node(p->reader, list[count]);
        rc = child_of_frame(p, *out, node.frame, out);
        if (rc == 0)
            rc = map_put(&p->of_node, root | list[count], *out);
    }
    free(list);
    return rc;
}

static bool wanted(const struct paths *p, const struct rec_sample *s)
{
    const struct profile_filter *f = &p->options->filter;
    return f->tasks == !!(s->state & REC_TASK) && profile_takes(f, p->reader, s->thread);
}

static uint64_t weight_of(const struct rec_sample *s, enum metric metric)
{
    switch (metric) {
    case METRIC_CPU:
        return s->cpu_ns;
    case METRIC_GIL:
        return s->state & REC_GIL_HELD ? s->wall_ns : 0;
    case METRIC_GC:
        return s->state & REC_IN_GC ? s->wall_ns : 0;
    case METRIC_WALL:
    case METRIC_COUNT:
        break;
    }
    return s->wall_ns;
}

static int sequence_at(struct paths *p, uint32_t thread, struct path_sequence **out)
{
    if (thread >= p->thread_count) {
        uint32_t count = thread + 1;
        struct path_sequence *grown = reallocarray(p->threads, count, sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        for (uint32_t i = p->thread_count; i < count; i++) {
            grown[i] = (struct path_sequence){0};
            buf_init(&grown[i].bytes, SIZE_MAX / 2);
        }
        p->threads = grown;
        p->thread_count = count;
    }
    *out = &p->threads[thread];
    return 0;
}

/* Codes the sample that was kept apart. */
static void close_last(struct path_sequence *q)
{
    const struct path_sample *s = &q->last, *before = &q->coded;
    if (!s->weight)
        return;
    buf_put_svarint(&q->bytes, (int64_t)s->path - (int64_t)before->path);
    buf_put_svarint(&q->bytes, (int64_t)(s->start_ns - (before->start_ns + before->span_ns)));
    buf_put_varint(&q->bytes, s->span_ns);
    buf_put_svarint(&q->bytes, (int64_t)(s->span_ns - s->weight));
    buf_put_varint(&q->bytes, s->looks);
    q->coded = *s;
    q->last.weight = 0;
}

static int append(struct paths *p, const struct rec_sample *s, uint32_t path, uint64_t weight)
{
    struct path_sequence *q;
    int rc = sequence_at(p, s->thread, &q);
    if (rc)
        return rc;
    uint64_t start = s->end_ns - min_u64(s->wall_ns, s->end_ns);
    if (!q->weight)
        q->start_ns = start;
    q->weight += weight;
    if (q->last.weight && q->last.path == path && q->last.start_ns + q->last.span_ns == start) {
        q->last.span_ns += s->wall_ns;
        q->last.weight += weight;
        q->last.looks += s->count;
        return 0;
    }
    close_last(q);
    q->last = (struct path_sample){path, start, s->wall_ns, weight, s->count};
    return q->bytes.error;
}

static int on_sample(void *ctx, const struct rec_sample *s)
{
    struct paths *p = ctx;
    struct rec_thread thread = rec_reader_thread(p->reader, s->thread);
    uint64_t weight = weight_of(s, p->options->metric);
    uint32_t path;
    if (!weight || !wanted(p, s))
        return 0;
    int rc = path_of(p, thread.process, s->stack, &path);
    if (rc)
        return rc;
    p->nodes[path].weight += weight;
    p->nodes[path].looks += s->count;
    return p->sequences ? append(p, s, path, weight) : 0;
}

static int on_epoch(void *ctx)
{
    struct paths *p = ctx;
    map_clear(&p->of_node);
    return 0;
}

int paths_read(struct paths *p, struct rec_reader *r, const struct export_options *o, bool sequences)
{
    static const struct rec_events events = {.sample = on_sample, .epoch = on_epoch};
    uint32_t root;
    *p = (struct paths){.reader = r, .options = o, .sequences = sequences};
    map_init(&p->by_child);
    map_init(&p->by_spot);
    map_init(&p->of_node);
    int rc = add_node(p, 0, 0, &root);
    if (rc == 0)
        rc = rec_reader_run(r, &events, p);
    for (uint32_t i = 0; rc == 0 && i < p->thread_count; i++) {
        close_last(&p->threads[i]);
        rc = p->threads[i].bytes.error;
    }
    return rc;
}

void paths_release(struct paths *p)
{
    for (uint32_t i = 0; i < p->thread_count; i++)
        buf_release(&p->threads[i].bytes);
    free(p->threads);
    free(p->nodes);
    map_release(&p->by_child);
    map_release(&p->by_spot);
    free(p->spots);
    map_release(&p->of_node);
    *p = (struct paths){0};
}

struct cursor paths_start(const struct paths *p, uint32_t thread)
{
    return cursor_of(p->threads[thread].bytes.data, p->threads[thread].bytes.len);
}

bool paths_next(struct cursor *c, struct path_sample *s)
{
    if (c->at >= c->end)
        return false;
    s->path = (uint32_t)((int64_t)s->path + cursor_svarint(c));
    s->start_ns += s->span_ns + (uint64_t)cursor_svarint(c);
    s->span_ns = cursor_varint(c);
    s->weight = s->span_ns - (uint64_t)cursor_svarint(c);
    s->looks = cursor_varint(c);
    return !c->bad;
}

int paths_unwind(const struct paths *p, uint32_t node, uint32_t **stack, uint32_t *cap, uint32_t *depth)
{
    uint32_t n = p->nodes[node].depth;
    if (n > *cap) {
        uint32_t *grown = reallocarray(*stack, n, sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        *stack = grown;
        *cap = n;
    }
    *depth = n;
    for (uint32_t i = node; i; i = p->nodes[i].parent)
        (*stack)[--n] = i;
    return 0;
}
