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

/* A table is a buf of whole items; its maximum is the format's limit, so that a longer one fails to grow.
 * string_ends[i] is where string i ends in string_bytes, before its NUL byte. */
struct rec_reader {
    int fd;
    uint64_t offset; /* of the block at hand */
    struct rec_header header;
    struct buf header_strings;
    uint64_t unit_ns;
    uint64_t period; /* units */
    struct block_unpacker *unpacker;
    struct buf stored;
    struct buf raw;
    struct buf string_bytes;
    struct buf string_ends; /* uint32_t */
    struct buf codes;       /* struct rec_code */
    struct buf frames;      /* struct rec_frame */
    struct buf nodes;       /* struct rec_node */
    struct buf processes;   /* struct rec_process */
    struct buf threads;     /* struct reader_thread */
    uint32_t epoch;
    bool has_end;
    struct rec_end end;
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

/* sections[id] is empty when the chunk has none of that id. */
int reader_take_tables(struct rec_reader *r, struct cursor sections[REC_SECTIONS]);
int reader_take_samples(struct rec_reader *r, struct cursor sections[REC_SECTIONS]);
int reader_take_events(struct rec_reader *r, struct cursor sections[REC_SECTIONS]);

#endif
