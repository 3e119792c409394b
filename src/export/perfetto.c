/* perfetto: a trace of StackSample packets for https://ui.perfetto.dev and trace_processor: tracks for
 * processes and threads, interned strings, frames and callstacks, then each thread's samples in the order of
 * time, each with the nanoseconds of the metric that it stands for.
 *
 * Interning ids are a spot, a node, a thread, each + 1, and a string's of strtab, which has no 0 here either.
 * A callstack has the frames of its path written out, the outermost first. The clock is CLOCK_MONOTONIC,
 * which the recording's is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/formats.h"
#include "export/label.h"
#include "export/wire.h"

#define PIECE (1u << 16)        /* what is gathered before it is written */
#define INTERNED_MAX (1u << 15) /* of the interned data of one packet */
#define SEQUENCE 1
#define CLOCK_OF_REALTIME 1
#define CLOCK_OF_MONOTONIC 3
#define UNIT_OF_NANOSECONDS 1
#define KIND_INTERPRETED 3
#define MAPPING 1 /* all frames have the same one: importers want one */

enum { STATE_CLEARED = 1, NEEDS_STATE = 2 };

/* Numbers of fields. */
enum { TRACE_PACKET = 1 };
enum {
    PACKET_CLOCKS = 6,
    PACKET_TIMESTAMP = 8,
    PACKET_SEQUENCE = 10,
    PACKET_INTERNED = 12,
    PACKET_FLAGS = 13
};
enum { PACKET_DEFAULTS = 59, PACKET_TRACK = 60, PACKET_FIRST = 87, PACKET_STACK_SAMPLE = 135 };
enum { CLOCKS_CLOCK = 1, CLOCKS_PRIMARY = 2, CLOCK_ID = 1, CLOCK_TIMESTAMP = 2 };
enum { DEFAULTS_CLOCK = 58, DEFAULTS_SAMPLE = 100, SAMPLE_SOURCE = 1, SAMPLE_COUNTER = 2 };
enum { COUNTER_NAME = 2, COUNTER_UNIT = 3 };
enum { TRACK_UUID = 1, TRACK_PROCESS = 3, TRACK_THREAD = 4 };
enum { PROCESS_PID = 1, PROCESS_ARGUMENT = 2, PROCESS_NAME = 6 };
enum { THREAD_PID = 1, THREAD_TID = 2, THREAD_NAME = 5 };
enum { INTERNED_FUNCTION_NAME = 5, INTERNED_FRAME = 6, INTERNED_STACK = 7, INTERNED_PATH = 17 };
enum { INTERNED_SOURCE = 18, INTERNED_MAPPING = 19, INTERNED_TASK = 48 };
enum { INTERNED_IID = 1, STRING_BYTES = 2, MAPPING_PATH = 7 };
enum { FRAME_NAME = 2, FRAME_MAPPING = 3, FRAME_SOURCE = 5, FRAME_LINE = 6, FRAME_KIND = 7 };
enum { STACK_FRAME = 2, TASK_PID = 2, TASK_TID = 3 };
enum { SAMPLE_TASK = 2, SAMPLE_STACK = 6, SAMPLE_WEIGHT = 11 };

/* rows: of Trace. interned: of the packet to come. packet, message and inner are scratch. by_name and
 * by_source: which strings have been written as such. */
struct perfetto {
    FILE *to;
    struct paths paths;
    struct strtab strings;
    struct map by_name, by_source;
    struct buf rows, interned, packet, message, inner, text;
    uint32_t *stack;
    uint32_t stack_cap;
    int error;
};

static void note(struct perfetto *g, int error)
{
    if (error && !g->error)
        g->error = error;
}

/* Ends the packet that `packet` holds. */
static void put_packet(struct perfetto *g, uint32_t flags)
{
    wire_uint(&g->packet, PACKET_SEQUENCE, SEQUENCE);
    wire_uint(&g->packet, PACKET_FLAGS, flags);
    wire_message(&g->rows, TRACE_PACKET, &g->packet);
    buf_clear(&g->packet);
    note(g, g->rows.error);
    if (g->rows.len < PIECE)
        return;
    fwrite(g->rows.data, 1, g->rows.len, g->to);
    buf_clear(&g->rows);
}

static void put_clock(struct perfetto *g, uint32_t id, uint64_t ns)
{
    buf_clear(&g->inner);
    wire_uint(&g->inner, CLOCK_ID, id);
    wire_uint(&g->inner, CLOCK_TIMESTAMP, ns);
    wire_message(&g->message, CLOCKS_CLOCK, &g->inner);
}

static void put_clocks(struct perfetto *g)
{
    const struct rec_header *h = rec_reader_header(g->paths.reader);
    buf_clear(&g->message);
    put_clock(g, CLOCK_OF_MONOTONIC, h->started_ns);
    put_clock(g, CLOCK_OF_REALTIME, h->started_wall_ns);
    wire_uint(&g->message, CLOCKS_PRIMARY, CLOCK_OF_MONOTONIC);
    wire_message(&g->packet, PACKET_CLOCKS, &g->message);
    put_packet(g, 0);
}

static void put_defaults(struct perfetto *g)
{
    buf_clear(&g->inner);
    wire_string(&g->inner, COUNTER_NAME, label_of_metric(g->paths.options->metric));
    wire_uint(&g->inner, COUNTER_UNIT, UNIT_OF_NANOSECONDS);
    buf_clear(&g->message);
    wire_string(&g->message, SAMPLE_SOURCE, "zond");
    wire_message(&g->message, SAMPLE_COUNTER, &g->inner);
    buf_clear(&g->inner);
    wire_uint(&g->inner, DEFAULTS_CLOCK, CLOCK_OF_MONOTONIC);
    wire_message(&g->inner, DEFAULTS_SAMPLE, &g->message);
    wire_message(&g->packet, PACKET_DEFAULTS, &g->inner);
    wire_uint(&g->packet, PACKET_FIRST, 1);
    put_packet(g, STATE_CLEARED);
}

static void put_text(struct perfetto *g, struct buf *to, uint32_t field, const char *s, size_t len)
{
    buf_clear(&g->text);
    label_clean(&g->text, s, len);
    wire_message(to, field, &g->text);
}

static void put_track(struct perfetto *g, uint64_t uuid, uint32_t field)
{
    buf_clear(&g->message);
    wire_uint(&g->message, TRACK_UUID, uuid);
    wire_message(&g->message, field, &g->inner);
    wire_message(&g->packet, PACKET_TRACK, &g->message);
    put_packet(g, 0);
}

static void put_process(struct perfetto *g, uint32_t index)
{
    struct rec_process p = rec_reader_process(g->paths.reader, index);
    size_t len;
    const char *command = rec_reader_string(g->paths.reader, p.command, &len);
    buf_clear(&g->inner);
    wire_uint(&g->inner, PROCESS_PID, p.pid);
    for (size_t at = 0; at < len; at += strnlen(command + at, len - at) + 1)
        put_text(g, &g->inner, PROCESS_ARGUMENT, command + at, strnlen(command + at, len - at));
    put_text(g, &g->inner, PROCESS_NAME, command, strnlen(command, len));
    put_track(g, (uint64_t)index + 1, TRACK_PROCESS);
}

static void put_thread(struct perfetto *g, uint32_t thread)
{
    struct thread_label t = label_of_thread(&g->paths, thread);
    buf_clear(&g->inner);
    wire_uint(&g->inner, THREAD_PID, t.pid);
    wire_uint(&g->inner, THREAD_TID, t.tid);
    put_text(g, &g->inner, THREAD_NAME, t.name, t.name_len);
    put_track(g, (uint64_t)1 << 32 | thread, TRACK_THREAD);
    buf_clear(&g->inner);
    wire_uint(&g->inner, INTERNED_IID, (uint64_t)thread + 1);
    wire_uint(&g->inner, TASK_PID, t.pid);
    wire_uint(&g->inner, TASK_TID, t.tid);
    wire_message(&g->interned, INTERNED_TASK, &g->inner);
}

/* What is interned stands in packets of its own, before the samples that use it. */
static void flush_interned(struct perfetto *g, size_t beyond)
{
    if (g->interned.len <= beyond)
        return;
    wire_message(&g->packet, PACKET_INTERNED, &g->interned);
    buf_clear(&g->interned);
    put_packet(g, NEEDS_STATE);
}

static void put_string(struct perfetto *g, uint32_t field, uint64_t iid, const void *bytes, size_t len)
{
    buf_clear(&g->inner);
    wire_uint(&g->inner, INTERNED_IID, iid);
    wire_bytes(&g->inner, STRING_BYTES, bytes, len);
    wire_message(&g->interned, field, &g->inner);
}

/* The id of a string in one of the two indices; each writes it when it is new there. */
static uint64_t intern(struct perfetto *g, struct map *index, uint32_t field, const char *s, size_t len)
{
    uint32_t id = 0;
    note(g, label_intern(&g->strings, &g->text, s, len, &id));
    if (map_get(index, id) == MAP_NONE) {
        put_string(g, field, (uint64_t)id + 1, strtab_get(&g->strings, id), strtab_len(&g->strings, id));
        note(g, map_put(index, id, 0));
    }
    return (uint64_t)id + 1;
}

static void put_mapping(struct perfetto *g)
{
    static const char python[] = "Python";
    put_string(g, INTERNED_PATH, MAPPING, python, sizeof(python) - 1);
    buf_clear(&g->inner);
    wire_uint(&g->inner, INTERNED_IID, MAPPING);
    wire_uint(&g->inner, MAPPING_PATH, MAPPING);
    wire_message(&g->interned, INTERNED_MAPPING, &g->inner);
}

static void put_frame(struct perfetto *g, uint32_t spot)
{
    struct label l;
    label_of_spot(&g->paths, spot, &l);
    uint64_t name = intern(g, &g->by_name, INTERNED_FUNCTION_NAME, l.name, l.name_len);
    uint64_t source = l.file_len ? intern(g, &g->by_source, INTERNED_SOURCE, l.file, l.file_len) : 0;
    buf_clear(&g->inner);
    wire_uint(&g->inner, INTERNED_IID, (uint64_t)spot + 1);
    wire_uint(&g->inner, FRAME_NAME, name);
    wire_uint(&g->inner, FRAME_MAPPING, MAPPING);
    if (source)
        wire_uint(&g->inner, FRAME_SOURCE, source);
    if (l.line)
        wire_uint(&g->inner, FRAME_LINE, l.line);
    wire_uint(&g->inner, FRAME_KIND, KIND_INTERPRETED);
    wire_message(&g->interned, INTERNED_FRAME, &g->inner);
    flush_interned(g, INTERNED_MAX);
}

static int put_stack(struct perfetto *g, uint32_t node)
{
    uint32_t depth;
    int rc = paths_unwind(&g->paths, node, &g->stack, &g->stack_cap, &depth);
    if (rc)
        return rc;
    buf_clear(&g->inner);
    wire_uint(&g->inner, INTERNED_IID, node);
    for (uint32_t i = 0; i < depth; i++)
        wire_uint(&g->inner, STACK_FRAME, (uint64_t)g->paths.nodes[g->stack[i]].spot + 1);
    wire_message(&g->interned, INTERNED_STACK, &g->inner);
    flush_interned(g, INTERNED_MAX);
    return g->error;
}

static int put_samples(struct perfetto *g, uint32_t thread)
{
    struct cursor c = paths_start(&g->paths, thread);
    struct path_sample s = {0};
    while (!g->error && paths_next(&c, &s)) {
        buf_clear(&g->message);
        wire_uint(&g->message, SAMPLE_TASK, (uint64_t)thread + 1);
        wire_uint(&g->message, SAMPLE_STACK, s.path);
        wire_uint(&g->message, SAMPLE_WEIGHT, s.weight);
        wire_uint(&g->packet, PACKET_TIMESTAMP, s.start_ns);
        wire_message(&g->packet, PACKET_STACK_SAMPLE, &g->message);
        put_packet(g, NEEDS_STATE);
    }
    return g->error;
}

static void put_tracks(struct perfetto *g)
{
    const struct paths *p = &g->paths;
    uint32_t last = UINT32_MAX;
    for (uint32_t i = 0; i < p->thread_count; i++) {
        uint32_t process = rec_reader_thread(p->reader, i).process;
        if (!p->threads[i].weight)
            continue;
        if (process != last)
            put_process(g, process);
        last = process;
        put_thread(g, i);
        flush_interned(g, INTERNED_MAX);
    }
}

static int put_all(struct perfetto *g)
{
    const struct paths *p = &g->paths;
    int rc = strtab_init(&g->strings);
    if (rc)
        return rc;
    put_clocks(g);
    put_defaults(g);
    put_tracks(g);
    put_mapping(g);
    for (uint32_t i = 0; i < p->spot_count; i++)
        put_frame(g, i);
    for (uint32_t i = 1; rc == 0 && i < p->count; i++)
        rc = p->nodes[i].weight ? put_stack(g, i) : 0;
    flush_interned(g, 0);
    for (uint32_t i = 0; rc == 0 && i < p->thread_count; i++)
        rc = put_samples(g, i);
    fwrite(g->rows.data, 1, g->rows.len, g->to);
    return rc ? rc : g->error;
}

int export_perfetto(FILE *to, struct rec_reader *r, const struct export_options *o)
{
    struct perfetto g = {.to = to};
    struct buf *const bufs[] = {&g.rows, &g.interned, &g.packet, &g.message, &g.inner, &g.text};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_init(bufs[i], UINT32_MAX);
    map_init(&g.by_name);
    map_init(&g.by_source);
    int rc = paths_read(&g.paths, r, o, true);
    if (rc == 0)
        rc = put_all(&g);
    strtab_release(&g.strings);
    map_release(&g.by_name);
    map_release(&g.by_source);
    free(g.stack);
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_release(bufs[i]);
    paths_release(&g.paths);
    if (rc == 0 && (fflush(to) || ferror(to)))
        rc = -EIO;
    return rc;
}
