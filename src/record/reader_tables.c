/* The reader's tables and the events that are not samples: one function for each section of a chunk. */
#include <errno.h>
#include <string.h>

#include "record/reader_state.h"

typedef int take_fn(struct rec_reader *r, struct cursor *c);

struct taker {
    enum rec_section section;
    take_fn *take; /* one record of the section */
};

int reader_append(struct buf *table, const void *item, size_t size)
{
    uint8_t *to = buf_reserve(table, size);
    if (!to)
        return table->error == -EFBIG ? -EBADMSG : table->error;
    memcpy(to, item, size);
    table->len += size;
    return 0;
}

static uint64_t cursor_time(const struct rec_reader *r, struct cursor *c)
{
    return r->start_ns + (uint64_t)cursor_svarint(c);
}

/* The old nodes are readable during the callback. */
static int take_epoch(struct rec_reader *r, struct cursor *c)
{
    if (cursor_u8(c) != 1 || c->at < c->end)
        return -EBADMSG;
    int rc = r->events->epoch ? reader_answer(r, r->events->epoch(r->ctx)) : 0;
    if (rc)
        return rc;
    reader_forget_nodes(r);
    return 0;
}

static int take_string(struct rec_reader *r, struct cursor *c)
{
    uint32_t len = cursor_u32(c);
    const uint8_t *bytes = cursor_bytes(c, len);
    if (!bytes)
        return -EBADMSG;
    return reader_add_string(r, bytes, len);
}

static int take_code(struct rec_reader *r, struct cursor *c)
{
    struct rec_code code;
    memset(&code, 0, sizeof(code)); /* compared as bytes */
    code.name = cursor_u32(c);
    code.file = cursor_u32(c);
    code.first_line = cursor_u32(c);
    code.kind = cursor_u8(c);
    if (c->bad || !reader_string_id(r, &code.name) || !reader_string_id(r, &code.file))
        return -EBADMSG;
    return reader_add_code(r, &code);
}

static int take_module(struct rec_reader *r, struct cursor *c)
{
    struct rec_module m;
    m.path = cursor_u32(c);
    m.build_id = cursor_u32(c);
    if (c->bad || !reader_string_id(r, &m.path) || !reader_string_id(r, &m.build_id))
        return -EBADMSG;
    return r->places_kept ? reader_append(&r->modules, &m, sizeof(m)) : 0;
}

/* Gives the frame that comes next its place, if it has one: places are in the order of frames. */
static int take_place(struct rec_reader *r, struct rec_frame *frame)
{
    struct reader_place *next = &r->next;
    if (!next->known && r->places.at < r->places.end) {
        next->frame = cursor_u32(&r->places);
        next->module = cursor_u32(&r->places);
        next->address = cursor_varint(&r->places);
        if (r->places.bad || next->module >= reader_count(&r->modules, sizeof(struct rec_module)))
            return -EBADMSG;
        next->known = true;
    }
    if (!next->known || next->frame != rec_reader_frame_count(r))
        return 0;
    frame->module = next->module;
    frame->address = next->address;
    next->known = false;
    return 0;
}

static int take_frame(struct rec_reader *r, struct cursor *c)
{
    struct rec_frame frame = {0};
    frame.code = cursor_u32(c);
    frame.line = cursor_u32(c);
    frame.end_line = cursor_u32(c);
    frame.column = cursor_u32(c);
    frame.end_column = cursor_u32(c);
    if (c->bad || !reader_code_id(r, &frame.code) || (r->places_kept && take_place(r, &frame) != 0))
        return -EBADMSG;
    return reader_add_frame(r, &frame);
}

static int take_process(struct rec_reader *r, struct cursor *c)
{
    struct rec_process p;
    p.pid = cursor_u32(c);
    p.ppid = cursor_u32(c);
    p.start_ns = cursor_time(r, c);
    p.python = cursor_u32(c);
    p.command = cursor_u32(c);
    uint32_t part = rec_reader_part_count(r) - 1;
    if (c->bad || !reader_string_id(r, &p.python) || !reader_string_id(r, &p.command))
        return -EBADMSG;
    uint32_t index = rec_reader_process_count(r);
    int err = reader_append(&r->processes, &p, sizeof(p));
    if (!err)
        err = reader_append(&r->part_of, &part, sizeof(part));
    if (err)
        return err;
    return r->events->process ? reader_answer(r, r->events->process(r->ctx, index, &p)) : 0;
}

static int take_thread(struct rec_reader *r, struct cursor *c)
{
    struct reader_thread t = {0};
    t.info.process = cursor_u32(c);
    t.info.tid = cursor_u32(c);
    t.info.start_ns = cursor_time(r, c);
    t.info.name = cursor_u32(c);
    if (c->bad || !reader_process_id(r, &t.info.process) || !reader_string_id(r, &t.info.name))
        return -EBADMSG;
    for (size_t i = 0; i < REC_LANES; i++)
        t.lanes[i].end = rec_units(t.info.start_ns - r->start_ns, r->unit_ns);
    uint32_t index = rec_reader_thread_count(r);
    int err = reader_append(&r->threads, &t, sizeof(t));
    if (err)
        return err;
    return r->events->thread ? reader_answer(r, r->events->thread(r->ctx, index, &t.info)) : 0;
}

static int take_thread_name(struct rec_reader *r, struct cursor *c)
{
    uint32_t thread = cursor_u32(c);
    uint32_t name = cursor_u32(c);
    if (c->bad || !reader_thread_id(r, &thread) || !reader_string_id(r, &name))
        return -EBADMSG;
    ((struct reader_thread *)r->threads.data)[thread].info.name = name;
    return 0;
}

static int take_python(struct rec_reader *r, struct cursor *c)
{
    uint32_t process = cursor_u32(c);
    uint32_t python = cursor_u32(c);
    if (c->bad || !reader_process_id(r, &process) || !reader_string_id(r, &python))
        return -EBADMSG;
    ((struct rec_process *)r->processes.data)[process].python = python;
    return 0;
}

static int take_exit(struct rec_reader *r, struct cursor *c)
{
    struct rec_exit e;
    e.process = cursor_u32(c);
    e.end_ns = cursor_time(r, c);
    e.code = cursor_s32(c);
    e.signal = cursor_s32(c);
    e.cpu_ns = cursor_varint(c);
    if (c->bad || !reader_process_id(r, &e.process))
        return -EBADMSG;
    return r->events->exit ? reader_answer(r, r->events->exit(r->ctx, &e)) : 0;
}

/* A kind that this version does not know is passed over. */
static int take_loss(struct rec_reader *r, struct cursor *c)
{
    struct rec_loss l;
    l.kind = cursor_u8(c);
    l.time_ns = cursor_time(r, c);
    l.count = cursor_varint(c);
    l.detail = cursor_u32(c);
    if (c->bad || !reader_string_id(r, &l.detail))
        return -EBADMSG;
    bool wanted = r->events->loss && l.kind < REC_LOSS_KINDS;
    return wanted ? reader_answer(r, r->events->loss(r->ctx, &l)) : 0;
}

static int take_stats(struct rec_reader *r, struct cursor *c)
{
    struct rec_stats s;
    s.time_ns = cursor_time(r, c);
    s.ticks = cursor_varint(c);
    s.samples = cursor_varint(c);
    s.cpu_ns = cursor_varint(c);
    s.reads = cursor_varint(c);
    s.read_bytes = cursor_varint(c);
    s.stops = cursor_varint(c);
    if (c->bad)
        return -EBADMSG;
    r->latest = s;
    s.ticks += r->earlier.ticks;
    s.samples += r->earlier.samples;
    s.cpu_ns += r->earlier.cpu_ns;
    s.reads += r->earlier.reads;
    s.read_bytes += r->earlier.read_bytes;
    s.stops += r->earlier.stops;
    return r->events->stats ? reader_answer(r, r->events->stats(r->ctx, &s)) : 0;
}

static int take_pause(struct rec_reader *r, struct cursor *c)
{
    struct rec_pause p;
    p.ns = cursor_varint(c);
    p.count = cursor_varint(c);
    if (c->bad)
        return -EBADMSG;
    return r->events->pause ? reader_answer(r, r->events->pause(r->ctx, &p)) : 0;
}

static int take_heap(struct rec_reader *r, struct cursor *c)
{
    struct reader_heap heap = {.part = rec_reader_part_count(r) - 1};
    heap.info.pid = cursor_u32(c);
    heap.info.start_ns = cursor_time(r, c);
    uint32_t index = rec_reader_heap_count(r);
    int err = c->bad ? -EBADMSG : reader_append(&r->heaps, &heap, sizeof(heap));
    if (err)
        return err;
    return r->events->heap ? reader_answer(r, r->events->heap(r->ctx, index, &heap.info)) : 0;
}

static int take_heap_node(struct rec_reader *r, struct cursor *c)
{
    struct rec_node node;
    node.parent = cursor_u32(c);
    node.frame = cursor_u32(c);
    if (c->bad || !reader_heap_node_id(r, &node.parent) || !reader_frame_id(r, &node.frame))
        return -EBADMSG;
    return reader_add_heap_node(r, &node);
}

static int take_heap_site(struct rec_reader *r, struct cursor *c)
{
    struct rec_heap_site s;
    s.heap = cursor_u32(c);
    s.stack = cursor_u32(c);
    s.allocated = cursor_varint(c);
    s.allocations = cursor_varint(c);
    s.freed = cursor_varint(c);
    s.frees = cursor_varint(c);
    s.peak = cursor_varint(c);
    if (c->bad || !reader_heap_id(r, &s.heap) || !reader_heap_node_id(r, &s.stack))
        return -EBADMSG;
    return r->events->heap_site ? reader_answer(r, r->events->heap_site(r->ctx, &s)) : 0;
}

static int take_heap_point(struct rec_reader *r, struct cursor *c)
{
    struct rec_heap_point p;
    p.heap = cursor_u32(c);
    p.time_ns = cursor_time(r, c);
    p.live = cursor_varint(c);
    p.rss = cursor_varint(c);
    p.rss_peak = cursor_varint(c);
    p.peak = cursor_varint(c);
    p.peak_ns = cursor_time(r, c);
    if (c->bad || !reader_heap_id(r, &p.heap))
        return -EBADMSG;
    return r->events->heap_point ? reader_answer(r, r->events->heap_point(r->ctx, &p)) : 0;
}

static int take_collector(struct rec_reader *r, struct cursor *c)
{
    struct rec_collector collector;
    collector.heap = cursor_u32(c);
    collector.since_ns = cursor_time(r, c);
    collector.until_ns = cursor_time(r, c);
    if (c->bad || !reader_heap_id(r, &collector.heap))
        return -EBADMSG;
    return r->events->collector ? reader_answer(r, r->events->collector(r->ctx, &collector)) : 0;
}

static int take_collection(struct rec_reader *r, struct cursor *c)
{
    struct rec_collection collection;
    collection.heap = cursor_u32(c);
    collection.stack = cursor_u32(c);
    collection.start_ns = cursor_time(r, c);
    collection.length_ns = cursor_varint(c);
    collection.generation = cursor_u32(c);
    collection.collected = cursor_varint(c);
    collection.uncollectable = cursor_varint(c);
    if (c->bad || collection.generation >= REC_GENERATIONS || !reader_heap_id(r, &collection.heap) ||
        !reader_heap_node_id(r, &collection.stack))
        return -EBADMSG;
    return r->events->collection ? reader_answer(r, r->events->collection(r->ctx, &collection)) : 0;
}

static int take_all(struct rec_reader *r, struct cursor *sections, const struct taker *takers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct cursor *c = &sections[takers[i].section];
        while (c->at < c->end) {
            int rc = takers[i].take(r, c);
            if (rc)
                return rc;
        }
    }
    return 0;
}

int reader_take_tables(struct rec_reader *r, struct cursor sections[REC_SECTIONS])
{
    static const struct taker takers[] = {
        {REC_SEC_EPOCH, take_epoch},          {REC_SEC_STRINGS, take_string},
        {REC_SEC_CODES, take_code},           {REC_SEC_MODULES, take_module},
        {REC_SEC_FRAMES, take_frame},         {REC_SEC_PROCESSES, take_process},
        {REC_SEC_THREADS, take_thread},       {REC_SEC_THREAD_NAMES, take_thread_name},
        {REC_SEC_PYTHONS, take_python},       {REC_SEC_HEAPS, take_heap},
        {REC_SEC_HEAP_NODES, take_heap_node},
    };
    r->places = sections[REC_SEC_PLACES];
    r->has_places |= r->places.at < r->places.end;
    r->next.known = false;
    int rc = take_all(r, sections, takers, ARRAY_LEN(takers));
    bool left = r->places_kept && (r->next.known || r->places.at < r->places.end);
    return !rc && left ? -EBADMSG : rc;
}

int reader_take_events(struct rec_reader *r, struct cursor sections[REC_SECTIONS])
{
    static const struct taker takers[] = {
        {REC_SEC_EXITS, take_exit},           {REC_SEC_LOSSES, take_loss},
        {REC_SEC_STATS, take_stats},          {REC_SEC_PAUSES, take_pause},
        {REC_SEC_HEAP_SITES, take_heap_site}, {REC_SEC_HEAP_POINTS, take_heap_point},
        {REC_SEC_COLLECTORS, take_collector}, {REC_SEC_COLLECTIONS, take_collection},
    };
    return take_all(r, sections, takers, ARRAY_LEN(takers));
}
