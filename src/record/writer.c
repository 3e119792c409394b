/* writer: see writer.h.
 *
 * The open chunk is one growing buffer for each section of the format; an event appends to its section, a
 * sample to each column. Closing the chunk joins the sections and hands them to the output's thread. Only
 * samples are dropped when the output is too slow: everything else is small, bounded by the tables' limits,
 * and needed to understand what follows.
 *
 * A recording may go on in another file. Ids that were given hold there, too: strings, codes and frames are
 * repeated as they are. Processes and threads may be many and long gone, so each file numbers those that it
 * needs anew: `wire` is the number in the present one.
 */
#include "record/writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/strtab.h"
#include "record/chunk.h"
#include "record/format.h"
#include "record/intern.h"
#include "record/output.h"
#include "record/stacks.h"

/* An open chunk is closed beyond this many bytes, looked at once in CHECK_EVERY appends. What these add in
 * between stays below CHUNK_SECTION_MAX: 64 strings of 64 KiB, or all nodes of an epoch in one sample. */
#define CHUNK_SIZE (256u << 10)
#define CHECK_EVERY 64

/* Payload that may wait for the output before samples are dropped; its memory is at most twice that. */
#define QUEUE_MAX (32u << 20)

/* A new epoch begins at the flush after this many nodes. */
#define NODES_WANT_FLUSH (REC_MAX_NODES / 2)

static const char unknown_name[] = "(unknown)";
static const char full_detail[] =
    "a table of the recording was full: some names, places or callers are missing";

/* What the next sample of a lane is coded against. Times are in units since the start; cpu_rest_ns is the CPU
 * time not yet written, less than a unit. stack is valid in `epoch` only, and the empty stack later. */
struct lane {
    uint64_t end;
    uint32_t cpu_rest_ns;
    uint32_t stack;
    uint32_t epoch;
};

#define NOT_SENT UINT32_MAX

struct thread_state {
    struct rec_thread info;
    uint32_t wire; /* or NOT_SENT */
    struct lane lanes[REC_LANES];
};

/* carried: began in an earlier file, so that its CPU time is not this one's alone. */
struct process_state {
    struct rec_process info;
    uint32_t wire; /* or NOT_SENT */
    bool ended;
    bool carried;
};

struct rec_writer {
    struct output *output;
    uint64_t started_ns;
    uint64_t period; /* units */
    struct strtab strings;
    struct intern codes;
    struct intern modules;
    struct intern frames;
    struct intern heap_nodes; /* struct rec_node */
    uint32_t heap_count;
    struct stacks stacks;
    struct thread_state *threads;
    size_t thread_cap;
    uint32_t thread_count;
    struct process_state *processes;
    size_t process_cap;
    uint32_t process_count;
    uint32_t threads_sent, processes_sent; /* in the present file */
    struct rec_stats stats, stats_before;  /* the last; the last of the file before */
    uint32_t last_thread;                  /* wire number, of the last sample in the open chunk */
    uint32_t epoch;
    uint32_t unchecked; /* appends since the size of the chunk was looked at */
    uint64_t dropped;   /* looks lost to a slow output, not yet reported */
    uint64_t overflow;  /* things lost to a full table, not yet reported */
    uint32_t full_detail;
    struct chunk chunk;
};

static uint64_t units_of(const struct rec_writer *w, uint64_t ns)
{
    return rec_units(ns - w->started_ns, REC_TIME_UNIT_NS);
}

static void put_time(const struct rec_writer *w, struct buf *to, uint64_t ns)
{
    buf_put_svarint(to, (int64_t)(ns - w->started_ns));
}

/* Hands a payload to the output. One that is lost takes with it what later ones refer to, so that ends it. */
static void push(struct rec_writer *w, enum rec_block_type type, struct payload *payload)
{
    int err = payload->raw.error;
    if (err || output_error(w->output))
        buf_release(&payload->raw);
    else
        err = output_push(w->output, type, payload);
    if (err)
        output_fail(w->output, err);
}

/* Chunks ---------------------------------------------------------------------------------------------- */

static void put_loss(struct rec_writer *w, const struct rec_loss *loss)
{
    struct buf *to = &w->chunk.sections[REC_SEC_LOSSES];
    buf_put_u8(to, loss->kind);
    put_time(w, to, loss->time_ns);
    buf_put_varint(to, loss->count);
    buf_put_varint(to, loss->detail);
}

static void put_lost(struct rec_writer *w, enum rec_loss_kind kind, uint64_t *count, uint32_t detail)
{
    if (*count) {
        put_loss(w, &(struct rec_loss){
                        .kind = (uint8_t)kind, .time_ns = clock_ns(), .count = *count, .detail = detail});
    }
    *count = 0;
}

static void close_chunk(struct rec_writer *w)
{
    put_lost(w, REC_LOSS_WRITE, &w->dropped, 0);
    put_lost(w, REC_LOSS_TRUNCATED, &w->overflow, w->full_detail);
    w->unchecked = 0;
    w->last_thread = 0;
    if (chunk_len(&w->chunk) == 0)
        return;
    struct payload payload;
    chunk_take(&w->chunk, &payload);
    push(w, REC_BLOCK_CHUNK, &payload);
}

/* To be called after each append. */
static void appended(struct rec_writer *w)
{
    if (++w->unchecked < CHECK_EVERY)
        return;
    w->unchecked = 0;
    if (chunk_len(&w->chunk) > CHUNK_SIZE)
        close_chunk(w);
}

/* Life ------------------------------------------------------------------------------------------------ */

static void push_header(struct rec_writer *w, const struct rec_header *h)
{
    w->started_ns = h->started_ns;
    struct payload payload = {0};
    buf_init(&payload.raw, REC_MAX_RAW);
    rec_header_put(&payload.raw, h);
    push(w, REC_BLOCK_HEADER, &payload);
}

/* Entry 0 of codes and frames is what a full table answers; that of modules stands for none. */
static int init_tables(struct rec_writer *w)
{
    intern_init(&w->codes, sizeof(struct rec_code), REC_MAX_CODES);
    intern_init(&w->modules, sizeof(struct rec_module), REC_MAX_MODULES);
    intern_init(&w->frames, sizeof(struct rec_frame), REC_MAX_FRAMES);
    intern_init(&w->heap_nodes, sizeof(struct rec_node), REC_MAX_HEAP_NODES);
    chunk_init(&w->chunk);
    int err = strtab_init(&w->strings);
    if (!err)
        err = stacks_init(&w->stacks);
    if (err)
        return err;
    w->strings.bytes.max = REC_MAX_STRING_BYTES;
    w->full_detail = rec_string(w, full_detail, strlen(full_detail));
    rec_code(w, &(struct rec_code){.name = rec_string(w, unknown_name, strlen(unknown_name))});
    uint32_t none;
    bool added;
    rec_frame(w, &(struct rec_frame){0});
    err = intern_id(&w->modules, &(struct rec_module){0}, &none, &added);
    if (!err)
        err = intern_id(&w->heap_nodes, &(struct rec_node){0}, &none, &added);
    return w->frames.count == 1 ? err : -ENOMEM;
}

static void destroy(struct rec_writer *w)
{
    chunk_release(&w->chunk);
    strtab_release(&w->strings);
    intern_release(&w->codes);
    intern_release(&w->modules);
    intern_release(&w->frames);
    intern_release(&w->heap_nodes);
    stacks_release(&w->stacks);
    free(w->threads);
    free(w->processes);
    free(w);
}

int rec_writer_new(int fd, const struct rec_header *header, struct rec_writer **out)
{
    struct rec_writer *w = calloc(1, sizeof(*w));
    if (!w) {
        close(fd);
        return -ENOMEM;
    }
    w->period = header->period_ns / REC_TIME_UNIT_NS;
    w->epoch = 1;
    int err = output_new(fd, &w->output);
    if (!err) {
        push_header(w, header);
        err = init_tables(w);
        if (err)
            output_free(w->output);
    }
    if (err) {
        destroy(w);
        return err;
    }
    *out = w;
    return 0;
}

static void push_end(struct rec_writer *w, const struct rec_end *end)
{
    struct payload payload = {0};
    buf_init(&payload.raw, REC_MAX_RAW);
    put_time(w, &payload.raw, end->ended_ns);
    buf_put_svarint(&payload.raw, end->code);
    buf_put_svarint(&payload.raw, end->signal);
    push(w, REC_BLOCK_END, &payload);
}

void rec_writer_finish(struct rec_writer *w, const struct rec_end *end)
{
    rec_flush(w);
    if (end)
        push_end(w, end);
    output_finish(w->output);
}

int rec_writer_free(struct rec_writer *w, const struct rec_end *end)
{
    if (!w)
        return 0;
    rec_writer_finish(w, end);
    int err = output_free(w->output);
    destroy(w);
    return err;
}

int rec_writer_error(const struct rec_writer *w)
{
    return output_error(w->output);
}

size_t rec_writer_written(const struct rec_writer *w)
{
    return output_written(w->output);
}

/* Tables ---------------------------------------------------------------------------------------------- */

static void send_string(struct rec_writer *w, uint32_t id)
{
    block_put_bytes(&w->chunk.sections[REC_SEC_STRINGS], strtab_get(&w->strings, id),
                    strtab_len(&w->strings, id));
    appended(w);
}

static void send_code(struct rec_writer *w, const struct rec_code *code)
{
    struct buf *to = &w->chunk.sections[REC_SEC_CODES];
    buf_put_varint(to, code->name);
    buf_put_varint(to, code->file);
    buf_put_varint(to, code->first_line);
    buf_put_u8(to, code->kind);
    appended(w);
}

static void send_module(struct rec_writer *w, const struct rec_module *module)
{
    struct buf *to = &w->chunk.sections[REC_SEC_MODULES];
    buf_put_varint(to, module->path);
    buf_put_varint(to, module->build_id);
    appended(w);
}

static void send_place(struct rec_writer *w, uint32_t id, const struct rec_frame *frame)
{
    struct buf *to = &w->chunk.sections[REC_SEC_PLACES];
    buf_put_varint(to, id);
    buf_put_varint(to, frame->module);
    buf_put_varint(to, frame->address);
}

static void send_frame(struct rec_writer *w, uint32_t id)
{
    const struct rec_frame *frame = (const struct rec_frame *)w->frames.items.data + id;
    struct buf *to = &w->chunk.sections[REC_SEC_FRAMES];
    buf_put_varint(to, frame->code);
    buf_put_varint(to, frame->line);
    buf_put_varint(to, frame->end_line);
    buf_put_varint(to, frame->column);
    buf_put_varint(to, frame->end_column);
    if (frame->module != REC_NO_MODULE)
        send_place(w, id, frame);
    appended(w);
}

uint32_t rec_string(struct rec_writer *w, const void *bytes, size_t len)
{
    struct strtab *t = &w->strings;
    size_t before = t->count;
    if (before >= REC_MAX_STRINGS)
        t->bytes.max = t->bytes.len;
    uint32_t id;
    if (strtab_intern(t, bytes, len, &id) != 0) {
        w->overflow++;
        return 0;
    }
    if (t->count != before)
        send_string(w, id);
    return id;
}

uint32_t rec_code(struct rec_writer *w, const struct rec_code *code)
{
    struct rec_code key;
    memset(&key, 0, sizeof(key));
    key.name = code->name;
    key.file = code->file;
    key.first_line = code->first_line;
    key.kind = code->kind;
    uint32_t id;
    bool added;
    if (intern_id(&w->codes, &key, &id, &added) != 0) {
        w->overflow++;
        return 0;
    }
    if (added)
        send_code(w, &key);
    return id;
}

uint32_t rec_module(struct rec_writer *w, const struct rec_module *module)
{
    uint32_t id;
    bool added;
    if (intern_id(&w->modules, module, &id, &added) != 0) {
        w->overflow++;
        return REC_NO_MODULE;
    }
    if (added)
        send_module(w, module);
    return id;
}

uint32_t rec_frame(struct rec_writer *w, const struct rec_frame *frame)
{
    uint32_t id;
    bool added;
    if (intern_id(&w->frames, frame, &id, &added) != 0) {
        w->overflow++;
        return 0;
    }
    if (added)
        send_frame(w, id);
    return id;
}

uint32_t rec_push(struct rec_writer *w, uint32_t parent, uint32_t frame)
{
    uint32_t node;
    if (stacks_push(&w->stacks, parent, frame, &node) != 0) {
        w->overflow++;
        return parent;
    }
    return node;
}

struct rec_node rec_pushed(const struct rec_writer *w, uint32_t node)
{
    return (struct rec_node){.parent = w->stacks.nodes[node].parent, .frame = w->stacks.nodes[node].frame};
}

uint32_t rec_epoch(const struct rec_writer *w)
{
    return w->epoch;
}

bool rec_wants_flush(const struct rec_writer *w)
{
    return w->stacks.count >= NODES_WANT_FLUSH;
}

/* The process's number in the file, which gets it now unless it has it. */
static uint32_t send_process(struct rec_writer *w, uint32_t index)
{
    struct process_state *p = &w->processes[index];
    if (p->wire != NOT_SENT)
        return p->wire;
    struct buf *to = &w->chunk.sections[REC_SEC_PROCESSES];
    buf_put_varint(to, p->info.pid);
    buf_put_varint(to, p->info.ppid);
    put_time(w, to, p->info.start_ns);
    buf_put_varint(to, p->info.python);
    buf_put_varint(to, p->info.command);
    p->wire = w->processes_sent++;
    appended(w);
    return p->wire;
}

static uint32_t send_thread(struct rec_writer *w, uint32_t index)
{
    struct thread_state *t = &w->threads[index];
    if (t->wire != NOT_SENT)
        return t->wire;
    uint32_t process = send_process(w, t->info.process);
    uint64_t start_ns = max_u64(t->info.start_ns, w->started_ns);
    struct buf *to = &w->chunk.sections[REC_SEC_THREADS];
    buf_put_varint(to, process);
    buf_put_varint(to, t->info.tid);
    put_time(w, to, start_ns);
    buf_put_varint(to, t->info.name);
    for (size_t i = 0; i < REC_LANES; i++)
        t->lanes[i].end = units_of(w, start_ns);
    t->wire = w->threads_sent++;
    appended(w);
    return t->wire;
}

uint32_t rec_process(struct rec_writer *w, const struct rec_process *process)
{
    bool fits = w->process_count < REC_MAX_PROCESSES;
    struct process_state *list =
        fits ? list_room(w->processes, &w->process_cap, w->process_count, sizeof(*list)) : NULL;
    if (!list) {
        w->overflow++;
        return UINT32_MAX;
    }
    w->processes = list;
    list[w->process_count] = (struct process_state){.info = *process, .wire = NOT_SENT};
    send_process(w, w->process_count);
    return w->process_count++;
}

uint32_t rec_thread(struct rec_writer *w, const struct rec_thread *thread)
{
    bool fits = thread->process < w->process_count && w->thread_count < REC_MAX_THREADS;
    struct thread_state *list =
        fits ? list_room(w->threads, &w->thread_cap, w->thread_count, sizeof(*list)) : NULL;
    if (!list) {
        w->overflow++;
        return UINT32_MAX;
    }
    w->threads = list;
    list[w->thread_count] = (struct thread_state){.info = *thread, .wire = NOT_SENT};
    send_thread(w, w->thread_count);
    return w->thread_count++;
}

void rec_thread_name(struct rec_writer *w, uint32_t thread, uint32_t name)
{
    if (thread >= w->thread_count)
        return;
    uint32_t wire = send_thread(w, thread);
    w->threads[thread].info.name = name;
    buf_put_varint(&w->chunk.sections[REC_SEC_THREAD_NAMES], wire);
    buf_put_varint(&w->chunk.sections[REC_SEC_THREAD_NAMES], name);
    appended(w);
}

void rec_process_python(struct rec_writer *w, uint32_t process, uint32_t python)
{
    if (process >= w->process_count)
        return;
    uint32_t wire = send_process(w, process);
    w->processes[process].info.python = python;
    buf_put_varint(&w->chunk.sections[REC_SEC_PYTHONS], wire);
    buf_put_varint(&w->chunk.sections[REC_SEC_PYTHONS], python);
    appended(w);
}

/* Events ---------------------------------------------------------------------------------------------- */

void rec_exit(struct rec_writer *w, const struct rec_exit *exit)
{
    if (exit->process >= w->process_count)
        return;
    struct process_state *p = &w->processes[exit->process];
    uint32_t wire = send_process(w, exit->process);
    struct buf *to = &w->chunk.sections[REC_SEC_EXITS];
    buf_put_varint(to, wire);
    put_time(w, to, exit->end_ns);
    buf_put_svarint(to, exit->code);
    buf_put_svarint(to, exit->signal);
    buf_put_varint(to, p->carried ? 0 : exit->cpu_ns);
    p->ended = true;
    appended(w);
}

void rec_loss(struct rec_writer *w, const struct rec_loss *loss)
{
    put_loss(w, loss);
    appended(w);
}

void rec_stats(struct rec_writer *w, const struct rec_stats *stats)
{
    struct buf *to = &w->chunk.sections[REC_SEC_STATS];
    const struct rec_stats *before = &w->stats_before;
    put_time(w, to, stats->time_ns);
    buf_put_varint(to, stats->ticks - before->ticks);
    buf_put_varint(to, stats->samples - before->samples);
    buf_put_varint(to, stats->cpu_ns - before->cpu_ns);
    buf_put_varint(to, stats->reads - before->reads);
    buf_put_varint(to, stats->read_bytes - before->read_bytes);
    buf_put_varint(to, stats->stops - before->stops);
    w->stats = *stats;
    appended(w);
}

void rec_pause(struct rec_writer *w, const struct rec_pause *pause)
{
    struct buf *to = &w->chunk.sections[REC_SEC_PAUSES];
    buf_put_varint(to, pause->ns);
    buf_put_varint(to, pause->count);
    appended(w);
}

/* Memory ---------------------------------------------------------------------------------------------- */

uint32_t rec_heap(struct rec_writer *w, const struct rec_heap *heap)
{
    if (w->heap_count == REC_MAX_HEAPS) {
        w->overflow++;
        return UINT32_MAX;
    }
    struct buf *to = &w->chunk.sections[REC_SEC_HEAPS];
    buf_put_varint(to, heap->pid);
    put_time(w, to, heap->start_ns);
    appended(w);
    return w->heap_count++;
}

uint32_t rec_heap_push(struct rec_writer *w, uint32_t parent, uint32_t frame)
{
    const struct rec_node node = {.parent = parent, .frame = frame};
    uint32_t id;
    bool added;
    if (intern_id(&w->heap_nodes, &node, &id, &added) != 0) {
        w->overflow++;
        return parent;
    }
    if (added) {
        buf_put_varint(&w->chunk.sections[REC_SEC_HEAP_NODES], parent);
        buf_put_varint(&w->chunk.sections[REC_SEC_HEAP_NODES], frame);
        appended(w);
    }
    return id;
}

void rec_heap_site(struct rec_writer *w, const struct rec_heap_site *site)
{
    if (site->heap >= w->heap_count || site->stack >= w->heap_nodes.count)
        return;
    struct buf *to = &w->chunk.sections[REC_SEC_HEAP_SITES];
    buf_put_varint(to, site->heap);
    buf_put_varint(to, site->stack);
    buf_put_varint(to, site->allocated);
    buf_put_varint(to, site->allocations);
    buf_put_varint(to, site->freed);
    buf_put_varint(to, site->frees);
    buf_put_varint(to, site->peak);
    appended(w);
}

void rec_heap_point(struct rec_writer *w, const struct rec_heap_point *point)
{
    if (point->heap >= w->heap_count)
        return;
    struct buf *to = &w->chunk.sections[REC_SEC_HEAP_POINTS];
    buf_put_varint(to, point->heap);
    put_time(w, to, point->time_ns);
    buf_put_varint(to, point->live);
    buf_put_varint(to, point->rss);
    buf_put_varint(to, point->rss_peak);
    buf_put_varint(to, point->peak);
    put_time(w, to, point->peak_ns);
    appended(w);
}

void rec_collector(struct rec_writer *w, const struct rec_collector *collector)
{
    if (collector->heap >= w->heap_count)
        return;
    struct buf *to = &w->chunk.sections[REC_SEC_COLLECTORS];
    buf_put_varint(to, collector->heap);
    put_time(w, to, collector->since_ns);
    put_time(w, to, collector->until_ns);
    appended(w);
}

void rec_collection(struct rec_writer *w, const struct rec_collection *collection)
{
    if (collection->heap >= w->heap_count || collection->stack >= w->heap_nodes.count ||
        collection->generation >= REC_GENERATIONS)
        return;
    struct buf *to = &w->chunk.sections[REC_SEC_COLLECTIONS];
    buf_put_varint(to, collection->heap);
    buf_put_varint(to, collection->stack);
    put_time(w, to, collection->start_ns);
    buf_put_varint(to, collection->length_ns);
    buf_put_varint(to, collection->generation);
    buf_put_varint(to, collection->collected);
    buf_put_varint(to, collection->uncollectable);
    appended(w);
}

/* Samples --------------------------------------------------------------------------------------------- */

static void put_difference(struct buf *to, uint64_t a, uint64_t b)
{
    buf_put_svarint(to, (int64_t)(a - b));
}

static void put_times(struct rec_writer *w, struct lane *lane, const struct rec_sample *s)
{
    uint64_t end = units_of(w, s->end_ns);
    uint64_t start = units_of(w, s->end_ns - s->wall_ns);
    uint64_t cpu_ns = lane->cpu_rest_ns + s->cpu_ns;
    uint64_t cpu = cpu_ns / REC_TIME_UNIT_NS;
    put_difference(&w->chunk.sections[REC_COL_END], end, lane->end + w->period * s->count);
    put_difference(&w->chunk.sections[REC_COL_START], start, lane->end);
    if (s->state & REC_ON_CPU)
        put_difference(&w->chunk.sections[REC_COL_CPU], end - start, cpu);
    else
        put_difference(&w->chunk.sections[REC_COL_CPU], cpu, 0);
    lane->end = end;
    lane->cpu_rest_ns = (uint32_t)(cpu_ns % REC_TIME_UNIT_NS);
}

static void put_stack(struct rec_writer *w, struct lane *lane, uint32_t node)
{
    if (lane->epoch != w->epoch)
        lane->stack = REC_NO_STACK;
    lane->epoch = w->epoch;
    if (node >= w->stacks.count)
        node = REC_NO_STACK;
    stacks_write(&w->stacks, lane->stack, node,
                 &(struct stack_columns){.stack = &w->chunk.sections[REC_COL_STACK],
                                         .up = &w->chunk.sections[REC_COL_UP],
                                         .grown = &w->chunk.sections[REC_COL_GROWN],
                                         .leaves = &w->chunk.sections[REC_COL_LEAVES],
                                         .frames = &w->chunk.sections[REC_COL_FRAMES]});
    lane->stack = node;
}

static void put_sample(struct rec_writer *w, const struct rec_sample *s)
{
    uint32_t thread = send_thread(w, s->thread);
    struct lane *lane = &w->threads[s->thread].lanes[rec_lane_of(s->state)];
    buf_put_svarint(&w->chunk.sections[REC_COL_THREAD], (int64_t)thread - w->last_thread);
    put_times(w, lane, s);
    put_stack(w, lane, s->stack);
    buf_put_u8(&w->chunk.sections[REC_COL_STATE], s->state);
    buf_put_varint(&w->chunk.sections[REC_COL_SYSCALL], s->syscall == REC_NO_SYSCALL ? 0 : s->syscall + 1u);
    buf_put_varint(&w->chunk.sections[REC_COL_COUNT], s->count);
    w->last_thread = thread;
}

void rec_sample(struct rec_writer *w, const struct rec_sample *s)
{
    if (s->thread >= w->thread_count) {
        w->overflow += s->count;
        return;
    }
    if (output_queued(w->output) > QUEUE_MAX) {
        w->dropped += s->count;
        return;
    }
    put_sample(w, s);
    appended(w);
}

void rec_wait(struct rec_writer *w)
{
    output_wait(w->output, QUEUE_MAX / 2);
}

static void forget_nodes(struct rec_writer *w)
{
    w->epoch++;
    stacks_clear(&w->stacks);
}

void rec_flush(struct rec_writer *w)
{
    close_chunk(w);
    if (!rec_wants_flush(w))
        return;
    forget_nodes(w);
    buf_put_u8(&w->chunk.sections[REC_SEC_EPOCH], 1);
}

/* Another file --------------------------------------------------------------------------------------------
 */

static void repeat_tables(struct rec_writer *w)
{
    for (uint32_t i = 1; i < w->strings.count; i++)
        send_string(w, i);
    const struct rec_code *codes = (const struct rec_code *)w->codes.items.data;
    for (uint32_t i = 0; i < w->codes.count; i++)
        send_code(w, &codes[i]);
    const struct rec_module *modules = (const struct rec_module *)w->modules.items.data;
    for (uint32_t i = 1; i < w->modules.count; i++)
        send_module(w, &modules[i]);
    for (uint32_t i = 0; i < w->frames.count; i++)
        send_frame(w, i);
    w->threads_sent = w->processes_sent = 0;
    for (uint32_t i = 0; i < w->thread_count; i++)
        w->threads[i].wire = NOT_SENT;
    for (uint32_t i = 0; i < w->process_count; i++) {
        w->processes[i].wire = NOT_SENT;
        w->processes[i].carried = true;
        if (!w->processes[i].ended)
            send_process(w, i);
    }
}

int rec_writer_rotate(struct rec_writer *w, int fd, const struct rec_header *header)
{
    close_chunk(w);
    push_end(w, &(struct rec_end){.ended_ns = header->started_ns, .code = REC_NO_CODE});
    int err = output_switch(w->output, fd);
    if (err) {
        output_fail(w->output, err);
        return err;
    }
    push_header(w, header);
    w->stats_before = w->stats;
    forget_nodes(w);
    repeat_tables(w);
    return 0;
}
