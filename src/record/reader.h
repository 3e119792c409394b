/* The reader: takes every whole block of a recording and says how far a cut or broken one goes.
 *
 * The bytes are not trusted: each id, length and count is checked against what is there before it is
 * used, and memory is bounded by the file's own size, whatever it claims.
 *
 * A merged recording is read as one: its parts share tables, are on one clock (aligned by wall time), and
 * their sampler's stats are summed. A part that is damaged ends there, and the next goes on.
 */
#ifndef ZOND_RECORD_READER_H
#define ZOND_RECORD_READER_H

#include "record/model.h"

struct rec_reader;

/* Called for each event in the order of the file. Any member may be NULL. A return other than 0 ends the
 * reading with it. Tables are filled before an event that refers to them is delivered. */
struct rec_events {
    int (*process)(void *ctx, uint32_t index, const struct rec_process *p);
    int (*thread)(void *ctx, uint32_t index, const struct rec_thread *t);
    int (*exit)(void *ctx, const struct rec_exit *e);
    int (*sample)(void *ctx, const struct rec_sample *s);
    int (*loss)(void *ctx, const struct rec_loss *l);
    int (*stats)(void *ctx, const struct rec_stats *s);
    int (*pause)(void *ctx, const struct rec_pause *p);
    int (*heap)(void *ctx, uint32_t index, const struct rec_heap *h);
    int (*heap_site)(void *ctx, const struct rec_heap_site *s); /* the latest of a heap and stack counts */
    int (*heap_point)(void *ctx, const struct rec_heap_point *p);
    int (*collector)(void *ctx, const struct rec_collector *c); /* the latest of a heap counts */
    int (*collection)(void *ctx, const struct rec_collection *c);
    /* Stack nodes start over from 1: fold what refers to the old ones now. The old are still readable
     * during the call. Also called once at the end of the reading. */
    int (*epoch)(void *ctx);
};

/* fd: open for reading at the recording's start, seekable or a pipe; stays the caller's. Reads the header.
 * -EINVAL: not a recording · -ENODATA: ends before its header does · -EBADMSG: its header is damaged ·
 * -EPROTONOSUPPORT: of a newer version of the format. */
int rec_reader_new(int fd, struct rec_reader **out);
void rec_reader_free(struct rec_reader *r);

/* To be called before the run: frames keep where they stand in modules. Else those that differ by that alone
 * are one. -ENOTSUP for a merged recording. */
int rec_reader_keep_places(struct rec_reader *r);

/* The version of the format that the file at fd is of, also one that is not known here. The errors of
 * rec_reader_new, and -ESPIPE for a pipe. */
int rec_reader_version(int fd, uint32_t *version);

const struct rec_header *rec_reader_header(const struct rec_reader *r);

/* Reads all events. 0 also when the file is cut or corrupt from some point on: see rec_reader_break. */
int rec_reader_run(struct rec_reader *r, const struct rec_events *events, void *ctx);

/* After the run. offset: the byte where the first block starts that could not be taken. */
enum rec_break rec_reader_break(const struct rec_reader *r, uint64_t *offset);
/* After the run: the end block, or NULL if there was none. Of a merged recording: NULL, see its parts. */
const struct rec_end *rec_reader_end(const struct rec_reader *r);

/* A recording has one part, a merged one as many as were merged. Its header's times are on the merged clock.
 * end.ended_ns 0: there was no end block. Strings are valid until the next part begins. */
struct rec_part {
    struct rec_header header;
    enum rec_break stop;
    struct rec_end end;
};
uint32_t rec_reader_part_count(const struct rec_reader *r);
/* The index of the part that a process is of. */
uint32_t rec_reader_part_of(const struct rec_reader *r, uint32_t process);
struct rec_part rec_reader_part(const struct rec_reader *r, uint32_t index);
/* What the merge did; NULL for a recording that is not merged, or whose end is missing. */
const struct rec_merged *rec_reader_merged(const struct rec_reader *r);

/* Tables; valid during and after the run. A string is NUL-terminated; out-of-range ids give "?" and zeros. */
const char *rec_reader_string(const struct rec_reader *r, uint32_t id, size_t *len /* may be NULL */);
struct rec_code rec_reader_code(const struct rec_reader *r, uint32_t id);
struct rec_module rec_reader_module(const struct rec_reader *r, uint32_t id);
struct rec_frame rec_reader_frame(const struct rec_reader *r, uint32_t id);
struct rec_node rec_reader_node(const struct rec_reader *r, uint32_t id);
/* A stack that allocated or collected: a node of the trie of struct rec_heap. Callers before callees. */
struct rec_node rec_reader_heap_node(const struct rec_reader *r, uint32_t id);
uint32_t rec_reader_heap_node_count(const struct rec_reader *r);
/* All nodes; valid until the next sample is read. */
const struct rec_node *rec_reader_nodes(const struct rec_reader *r);
/* How many strings there are, with the empty one. */
uint32_t rec_reader_string_count(const struct rec_reader *r);
uint32_t rec_reader_node_count(const struct rec_reader *r);
uint32_t rec_reader_frame_count(const struct rec_reader *r);
uint32_t rec_reader_code_count(const struct rec_reader *r);
/* Latest known state (a name or version learnt later is in here). */
uint32_t rec_reader_process_count(const struct rec_reader *r);
uint32_t rec_reader_thread_count(const struct rec_reader *r);
uint32_t rec_reader_heap_count(const struct rec_reader *r);
struct rec_heap rec_reader_heap(const struct rec_reader *r, uint32_t index);
/* The index of the part that a heap is of. */
uint32_t rec_reader_part_of_heap(const struct rec_reader *r, uint32_t heap);
struct rec_process rec_reader_process(const struct rec_reader *r, uint32_t index);
struct rec_thread rec_reader_thread(const struct rec_reader *r, uint32_t index);

#endif
