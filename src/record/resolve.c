/* resolve: see resolve.h.
 *
 * The reader's ids of processes and threads are the writer's, since both count alike; frames and stack nodes
 * are mapped.
 */
#include "record/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "record/writer.h"

/* What a frame became: count ids of frames, outermost first, in `frames` of the copy. */
struct became {
    uint32_t first, count;
};

/* nodes: by the reader's node, the writer's, or NO_NODE; of the writer's epoch. became: by the reader's
 * frame, as far as frames were needed. path: while a stack is copied. */
struct copy {
    struct rec_reader *reader;
    struct rec_writer *writer;
    rec_resolve_fn *resolve;
    void *ctx;
    uint32_t *nodes;
    size_t node_count, node_cap;
    uint32_t epoch;
    struct became *became;
    size_t became_count, became_cap;
    uint32_t *frames;
    size_t frame_count, frame_cap;
    uint32_t *path;
    size_t path_cap;
    uint32_t *heap_nodes; /* by the reader's, the writer's */
    size_t heap_node_count, heap_node_cap;
};

#define NO_NODE UINT32_MAX

static uint32_t copy_string(struct copy *c, uint32_t id)
{
    size_t len;
    const char *text = rec_reader_string(c->reader, id, &len);
    return rec_string(c->writer, text, len);
}

/* Frames ------------------------------------------------------------------------------------------------ */

static int add_frame(struct copy *c, const struct rec_frame *frame)
{
    uint32_t *frames = list_room(c->frames, &c->frame_cap, c->frame_count, sizeof(*frames));
    if (!frames)
        return -ENOMEM;
    c->frames = frames;
    frames[c->frame_count++] = rec_frame(c->writer, frame);
    return 0;
}

static int add_resolved(struct copy *c, const struct rec_resolved *found, uint8_t kind, const char *path,
                        struct rec_frame *place)
{
    const char *file = found->file[0] ? found->file : path;
    struct rec_code code = {.name = rec_string(c->writer, found->function, strlen(found->function)),
                            .file = rec_string(c->writer, file, strlen(file)),
                            .kind = kind};
    place->code = rec_code(c->writer, &code);
    place->line = found->line;
    return add_frame(c, place);
}

static int copy_frame(struct copy *c, const struct rec_frame *frame, const struct rec_code *from)
{
    struct rec_frame copied = *frame;
    struct rec_code code = *from;
    code.name = copy_string(c, from->name);
    code.file = copy_string(c, from->file);
    copied.code = rec_code(c->writer, &code);
    return add_frame(c, &copied);
}

static int make_frames(struct copy *c, uint32_t id)
{
    struct rec_resolved found[REC_RESOLVED_MAX];
    struct rec_frame frame = rec_reader_frame(c->reader, id);
    struct rec_code code = rec_reader_code(c->reader, frame.code);
    struct rec_module module = rec_reader_module(c->reader, frame.module);
    const char *path = rec_reader_string(c->reader, module.path, NULL);
    const char *build_id = rec_reader_string(c->reader, module.build_id, NULL);
    size_t count = frame.module ? c->resolve(c->ctx, path, build_id, frame.address, found) : 0;
    frame.module = count ? REC_NO_MODULE : frame.module;
    if (frame.module)
        frame.module = rec_module(
            c->writer, &(struct rec_module){copy_string(c, module.path), copy_string(c, module.build_id)});
    frame.address = frame.module ? frame.address : 0;
    if (!count)
        return copy_frame(c, &frame, &code);
    int err = 0;
    for (size_t i = count; !err && i-- > 0;)
        err = add_resolved(c, &found[i], code.kind, path, &frame);
    return err;
}

/* What a frame became, made if need be. */
static int became_of(struct copy *c, uint32_t id, struct became *out)
{
    int err = 0;
    while (!err && c->became_count <= id) {
        struct became *list = list_room(c->became, &c->became_cap, c->became_count, sizeof(*list));
        if (!list)
            return -ENOMEM;
        c->became = list;
        size_t first = c->frame_count;
        err = make_frames(c, (uint32_t)c->became_count);
        list[c->became_count++] = (struct became){(uint32_t)first, (uint32_t)(c->frame_count - first)};
    }
    if (!err)
        *out = c->became[id];
    return err;
}

/* Stacks ------------------------------------------------------------------------------------------------ */

static int reserve_nodes(struct copy *c, uint32_t node)
{
    while (c->node_count <= node) {
        uint32_t *nodes = list_room(c->nodes, &c->node_cap, c->node_count, sizeof(*nodes));
        if (!nodes)
            return -ENOMEM;
        c->nodes = nodes;
        nodes[c->node_count] = c->node_count ? NO_NODE : REC_NO_STACK;
        c->node_count++;
    }
    return 0;
}

static int push(struct copy *c, uint32_t node, struct rec_node from)
{
    struct became became;
    int err = became_of(c, from.frame, &became);
    uint32_t made = c->nodes[from.parent];
    for (uint32_t i = 0; !err && i < became.count; i++)
        made = rec_push(c->writer, made, c->frames[became.first + i]);
    c->nodes[node] = made;
    return err;
}

/* The writer's node for one of the reader's. Its callers first: a stack can be deep. */
static int copy_stack(struct copy *c, uint32_t node, uint32_t *out)
{
    size_t depth = 0;
    int err = reserve_nodes(c, node);
    for (uint32_t at = node; !err && c->nodes[at] == NO_NODE; at = rec_reader_node(c->reader, at).parent) {
        uint32_t *path = list_room(c->path, &c->path_cap, depth, sizeof(*path));
        if (!path)
            return -ENOMEM;
        c->path = path;
        path[depth++] = at;
    }
    while (!err && depth) {
        uint32_t at = c->path[--depth];
        err = push(c, at, rec_reader_node(c->reader, at));
    }
    *out = err ? REC_NO_STACK : c->nodes[node];
    return err;
}

static void forget_nodes(struct copy *c)
{
    c->node_count = 0;
    c->epoch = rec_epoch(c->writer);
}

/* Events ------------------------------------------------------------------------------------------------ */

static int on_process(void *ctx, uint32_t index, const struct rec_process *p)
{
    struct copy *c = ctx;
    struct rec_process copied = *p;
    (void)index;
    copied.python = copy_string(c, p->python);
    copied.command = copy_string(c, p->command);
    rec_process(c->writer, &copied);
    return 0;
}

static int on_thread(void *ctx, uint32_t index, const struct rec_thread *t)
{
    struct copy *c = ctx;
    struct rec_thread copied = *t;
    (void)index;
    copied.name = copy_string(c, t->name);
    rec_thread(c->writer, &copied);
    return 0;
}

static int on_exit_of_process(void *ctx, const struct rec_exit *e)
{
    struct copy *c = ctx;
    rec_exit(c->writer, e);
    return 0;
}

static int on_loss(void *ctx, const struct rec_loss *l)
{
    struct copy *c = ctx;
    struct rec_loss copied = *l;
    copied.detail = copy_string(c, l->detail);
    rec_loss(c->writer, &copied);
    return 0;
}

static int on_stats(void *ctx, const struct rec_stats *s)
{
    struct copy *c = ctx;
    rec_stats(c->writer, s);
    return 0;
}

static int on_pause(void *ctx, const struct rec_pause *p)
{
    struct copy *c = ctx;
    rec_pause(c->writer, p);
    return 0;
}

static int on_sample(void *ctx, const struct rec_sample *s)
{
    struct copy *c = ctx;
    struct rec_sample copied = *s;
    if (rec_wants_flush(c->writer))
        rec_flush(c->writer);
    rec_wait(c->writer);
    if (c->epoch != rec_epoch(c->writer))
        forget_nodes(c);
    int err = copy_stack(c, s->stack, &copied.stack);
    if (!err)
        rec_sample(c->writer, &copied);
    return err ? err : rec_writer_error(c->writer);
}

static int on_heap(void *ctx, uint32_t index, const struct rec_heap *h)
{
    struct copy *c = ctx;
    (void)index;
    rec_heap(c->writer, h);
    return 0;
}

/* The writer's node for one of the reader's, which follow their callers. */
static int copy_heap_stack(struct copy *c, uint32_t node, uint32_t *out)
{
    int err = 0;
    *out = REC_NO_STACK;
    while (!err && c->heap_node_count <= node) {
        uint32_t *nodes = list_room(c->heap_nodes, &c->heap_node_cap, c->heap_node_count, sizeof(*nodes));
        if (!nodes)
            return -ENOMEM;
        c->heap_nodes = nodes;
        struct rec_node from = rec_reader_heap_node(c->reader, (uint32_t)c->heap_node_count);
        struct became became = {0};
        uint32_t made = c->heap_node_count ? nodes[from.parent] : REC_NO_STACK;
        if (c->heap_node_count)
            err = became_of(c, from.frame, &became);
        for (uint32_t i = 0; !err && i < became.count; i++)
            made = rec_heap_push(c->writer, made, c->frames[became.first + i]);
        nodes[c->heap_node_count++] = made;
    }
    if (!err)
        *out = c->heap_nodes[node];
    return err;
}

static int on_heap_site(void *ctx, const struct rec_heap_site *s)
{
    struct copy *c = ctx;
    struct rec_heap_site copied = *s;
    int err = copy_heap_stack(c, s->stack, &copied.stack);
    if (!err)
        rec_heap_site(c->writer, &copied);
    return err;
}

static int on_heap_point(void *ctx, const struct rec_heap_point *p)
{
    struct copy *c = ctx;
    rec_heap_point(c->writer, p);
    return 0;
}

static int on_collector(void *ctx, const struct rec_collector *collector)
{
    struct copy *c = ctx;
    rec_collector(c->writer, collector);
    return 0;
}

static int on_collection(void *ctx, const struct rec_collection *collection)
{
    struct copy *c = ctx;
    struct rec_collection copied = *collection;
    int err = copy_heap_stack(c, collection->stack, &copied.stack);
    if (!err)
        rec_collection(c->writer, &copied);
    return err;
}

static int on_epoch(void *ctx)
{
    forget_nodes(ctx);
    return 0;
}

/* What was learnt later than it was announced. */
static void copy_latest(struct copy *c)
{
    for (uint32_t i = 0; i < rec_reader_thread_count(c->reader); i++)
        rec_thread_name(c->writer, i, copy_string(c, rec_reader_thread(c->reader, i).name));
    for (uint32_t i = 0; i < rec_reader_process_count(c->reader); i++)
        rec_process_python(c->writer, i, copy_string(c, rec_reader_process(c->reader, i).python));
}

static int run(struct copy *c)
{
    static const struct rec_events events = {.process = on_process,
                                             .thread = on_thread,
                                             .exit = on_exit_of_process,
                                             .sample = on_sample,
                                             .loss = on_loss,
                                             .stats = on_stats,
                                             .pause = on_pause,
                                             .heap = on_heap,
                                             .heap_site = on_heap_site,
                                             .heap_point = on_heap_point,
                                             .collector = on_collector,
                                             .collection = on_collection,
                                             .epoch = on_epoch};
    int err = rec_reader_keep_places(c->reader);
    if (!err)
        err = rec_reader_run(c->reader, &events, c);
    if (!err)
        copy_latest(c);
    return err;
}

int rec_resolve(struct rec_reader *r, int to, rec_resolve_fn *resolve, void *ctx)
{
    struct copy c = {.reader = r, .resolve = resolve, .ctx = ctx};
    int fd = fcntl(to, F_DUPFD_CLOEXEC, 0);
    int err = fd < 0 ? -errno : rec_writer_new(fd, rec_reader_header(r), &c.writer);
    if (err)
        return err;
    forget_nodes(&c);
    err = run(&c);
    int written = rec_writer_free(c.writer, err ? NULL : rec_reader_end(r));
    free(c.nodes);
    free(c.became);
    free(c.frames);
    free(c.path);
    free(c.heap_nodes);
    return err ? err : written;
}
