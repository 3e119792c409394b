/* What the parts of the reader share: the tables, and the sections of the chunk at hand. Private to
 * src/record.
 *
 * Functions here return 0, a negative errno (-EBADMSG: the content cannot be), or READER_STOP when a callback
 * ended the reading; its answer is then in `answer`.
 */
#ifndef ZOND_RECORD_READER_STATE_H
#define ZOND_RECORD_READER_STATE_H

#include "base/buf.h"
#include "record/block.h"
#include "record/format.h"
#include "record/intern.h"
#include "record/reader.h"

#define READER_STOP 1

/* See struct lane in writer.c. */
struct reader_lane {
    uint64_t end;
    uint32_t stack;
    uint32_t epoch;
};

struct reader_thread {
    struct rec_thread info;
    struct reader_lane lanes[REC_LANES];
};

struct reader_heap {
    struct rec_heap info;
    uint32_t part;
};

/* A part: its header's strings are at these offsets of header_strings. */
struct reader_part {
    struct rec_part info;
    size_t zond, host, command;
};

/* frame: as the file counts. */
struct reader_place {
    bool known;
    uint32_t frame, module;
    uint64_t address;
};

/* The tables hold what all parts have in common: codes and frames in their `items`, whose maximum is the
 * format's limit. string_ends[i] is where string i ends in string_bytes, before its NUL byte.
 *
 * A recording that is not merged fills the tables in the order of the file, so that ids are those of the
 * file; but frames only if their places are kept. Else, and merged, the tables are interned: local_* map the
 * ids of the part at hand, which start over with each part, to theirs; processes and threads of the part
 * begin at first_process and first_thread. */
struct rec_reader {
    int fd;
    uint64_t offset;          /* of the block at hand */
    struct rec_header header; /* of the recording, or of the merged whole */
    struct reader_part whole; /* where the strings of that are */
    struct buf header_strings;
    struct buf parts;  /* struct reader_part */
    uint64_t start_ns; /* time 0 of the part at hand on the common clock */
    uint64_t unit_ns;
    uint64_t period; /* units */
    struct block_unpacker *unpacker;
    struct buf stored;
    struct buf raw;
    struct buf string_bytes;
    struct buf string_ends;      /* uint32_t */
    struct map strings_by_hash;  /* XXH3, probed forward by +1 on a collision; only when merged */
    struct intern codes;         /* struct rec_code */
    struct buf modules;          /* struct rec_module; filled when places are kept */
    struct intern frames;        /* struct rec_frame */
    struct buf nodes;            /* struct rec_node */
    struct buf same;             /* uint32_t: of each node the first one that says the same */
    struct map node_of;          /* the first node, by its caller's first node and its frame */
    struct buf part_of;          /* uint32_t: of each process */
    struct buf processes;        /* struct rec_process */
    struct buf threads;          /* struct reader_thread */
    struct intern heap_nodes;    /* struct rec_node */
    struct buf heaps;            /* struct reader_heap */
    struct buf local_strings;    /* uint32_t */
    struct buf local_codes;      /* uint32_t */
    struct buf local_frames;     /* uint32_t */
    struct buf local_heap_nodes; /* uint32_t */
    uint32_t first_process;
    uint32_t first_heap;
    uint32_t first_thread;
    bool merged;
    bool places_kept;
    bool has_places;
    struct cursor places;     /* of the chunk at hand: what is left of that section */
    struct reader_place next; /* was read of it already, of a frame that comes */
    bool skips;               /* the part at hand is broken: its blocks are passed over */
    uint64_t overflow;        /* strings, codes and frames that found no room in the tables */
    struct rec_stats earlier; /* of all parts before the one at hand, summed */
    struct rec_stats latest;  /* of the part at hand */
    uint32_t epoch;
    bool has_end;
    struct rec_end end;
    bool has_merged;
    struct rec_merged result;
    enum rec_break stop;
    const struct rec_events *events;
    void *ctx;
    int answer;
};

static inline uint32_t reader_count(const struct buf *table, size_t item_size)
{
    return (uint32_t)(table->len / item_size);
}

/* Appends an item; -EBADMSG beyond the table's limit. */
int reader_append(struct buf *table, const void *item, size_t size);

/* A number that must fit 32 bits, or `bad`. */
static inline uint32_t cursor_u32(struct cursor *c)
{
    uint64_t v = cursor_varint(c);
    c->bad |= v > UINT32_MAX;
    return (uint32_t)v;
}

/* The same with a sign. */
static inline int32_t cursor_s32(struct cursor *c)
{
    int64_t v = cursor_svarint(c);
    c->bad |= v < INT32_MIN || v > INT32_MAX;
    return (int32_t)v;
}

static inline int reader_answer(struct rec_reader *r, int answer)
{
    r->answer = answer;
    return answer ? READER_STOP : 0;
}

static inline bool reader_interns_frames(const struct rec_reader *r)
{
    return r->merged || !r->places_kept;
}

/* Replace an id of the part at hand by that of the table; false: there is no such id. */
static inline bool reader_mapped(bool interned, const struct buf *local, uint32_t count, uint32_t *id)
{
    if (!interned)
        return *id < count;
    if (*id >= reader_count(local, sizeof(uint32_t)))
        return false;
    *id = ((const uint32_t *)local->data)[*id];
    return true;
}

static inline bool reader_string_id(const struct rec_reader *r, uint32_t *id)
{
    return reader_mapped(r->merged, &r->local_strings, reader_count(&r->string_ends, sizeof(uint32_t)), id);
}

static inline bool reader_code_id(const struct rec_reader *r, uint32_t *id)
{
    return reader_mapped(r->merged, &r->local_codes, reader_count(&r->codes.items, sizeof(struct rec_code)),
                         id);
}

static inline bool reader_frame_id(const struct rec_reader *r, uint32_t *id)
{
    return reader_mapped(reader_interns_frames(r), &r->local_frames,
                         reader_count(&r->frames.items, sizeof(struct rec_frame)), id);
}

static inline bool reader_process_id(const struct rec_reader *r, uint32_t *id)
{
    uint32_t count = reader_count(&r->processes, sizeof(struct rec_process)) - r->first_process;
    bool known = *id < count;
    *id += known ? r->first_process : 0;
    return known;
}

static inline bool reader_heap_node_id(const struct rec_reader *r, uint32_t *id)
{
    return reader_mapped(reader_interns_frames(r), &r->local_heap_nodes,
                         reader_count(&r->heap_nodes.items, sizeof(struct rec_node)), id);
}

static inline bool reader_heap_id(const struct rec_reader *r, uint32_t *id)
{
    uint32_t count = reader_count(&r->heaps, sizeof(struct reader_heap)) - r->first_heap;
    bool known = *id < count;
    *id += known ? r->first_heap : 0;
    return known;
}

static inline bool reader_thread_id(const struct rec_reader *r, uint32_t *id)
{
    uint32_t count = reader_count(&r->threads, sizeof(struct reader_thread)) - r->first_thread;
    bool known = *id < count;
    *id += known ? r->first_thread : 0;
    return known;
}

/* The first node that stands for the same stack: nodes differ by places alone, where these are not kept. */
static inline uint32_t reader_first_node(const struct rec_reader *r, uint32_t node)
{
    return r->same.len ? ((const uint32_t *)r->same.data)[node] : node;
}

/* Put something that the file has next into its table, and the id there behind the local ones. */
int reader_add_string(struct rec_reader *r, const uint8_t *bytes, uint32_t len);
int reader_add_code(struct rec_reader *r, const struct rec_code *code);
int reader_add_frame(struct rec_reader *r, const struct rec_frame *frame);
int reader_add_heap_node(struct rec_reader *r, const struct rec_node *node);

/* Ends the epoch: stack nodes start over. */
void reader_forget_nodes(struct rec_reader *r);

/* Parses a header block, the payload at hand, and begins a part with it. -EBADMSG. */
int reader_begin_part(struct rec_reader *r);
/* What stopped the part at hand. */
void reader_end_part(struct rec_reader *r, enum rec_break stop);
/* The block that ends a merged recording. */
int reader_take_merged(struct rec_reader *r);
/* Tells of what the tables had no room for, and ends the last epoch. */
int reader_finish(struct rec_reader *r);

/* sections[id] is empty when the chunk has none of that id. */
int reader_take_tables(struct rec_reader *r, struct cursor sections[REC_SECTIONS]);
int reader_take_samples(struct rec_reader *r, struct cursor sections[REC_SECTIONS]);
int reader_take_events(struct rec_reader *r, struct cursor sections[REC_SECTIONS]);

#endif
