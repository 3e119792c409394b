/* arrow_ipc: the file format of Apache Arrow (https://arrow.apache.org/docs/format/Columnar.html), written
 * front to back: schema, dictionaries, record batches, and a footer that says where these are. Knows the
 * format, not what is in it.
 *
 * Numbers are little-endian, as on the machines that zond runs on. Nothing is compressed, so that readers can
 * map it.
 */
#ifndef ZOND_EXPORT_ARROW_IPC_H
#define ZOND_EXPORT_ARROW_IPC_H

#include <stdio.h>
#include <string.h>

#include "base/buf.h"

enum arrow_type {
    ARROW_UINT32,
    ARROW_INT64,
    ARROW_TIME,       /* int64, us since 1970, UTC */
    ARROW_TEXT,       /* int32, index into a dictionary of UTF-8 */
    ARROW_LARGE_TEXT, /* the same; the dictionary may be larger than 2 GiB */
};

#define ARROW_BATCH_ROWS 65536u /* at most, of one record batch */
#define ARROW_COLUMNS_MAX 32u

/* A column, and its values for the record batch that is being made: `data` are those, `valid` one byte a
 * value, 0 for null, of nullable columns only. There is room for ARROW_BATCH_ROWS: an hour of samples has
 * tens of millions of values, so they are put without a call. */
struct arrow_column {
    const char *name;
    enum arrow_type type;
    bool nullable;
    struct buf data, valid;
};

struct arrow_pair {
    const char *key, *value;
};

/* blocks: where the messages are. The FILE and the columns are the caller's. A dictionary's id is the index
 * of its column. */
struct arrow_file {
    FILE *to;
    struct arrow_column *columns;
    uint32_t column_count;
    const struct arrow_pair *about;
    uint32_t about_count;
    uint64_t written;
    struct buf message, dictionaries, batches;
};

static inline void arrow_put_u32(struct arrow_column *c, uint32_t v)
{
    memcpy(c->data.data + c->data.len, &v, sizeof(v));
    c->data.len += sizeof(v);
}

static inline void arrow_put_u64(struct arrow_column *c, uint64_t v)
{
    memcpy(c->data.data + c->data.len, &v, sizeof(v));
    c->data.len += sizeof(v);
}

static inline void arrow_put_valid(struct arrow_column *c, bool valid)
{
    c->valid.data[c->valid.len++] = valid;
}

/* Writes the schema; at most ARROW_COLUMNS_MAX columns. `about` is what is kept beside it. 0 or -ENOMEM. */
int arrow_begin(struct arrow_file *f, FILE *to, struct arrow_column *columns, uint32_t count,
                const struct arrow_pair *about, uint32_t about_count);
/* Writes a dictionary of `count` texts up to its texts: `offsets` are their count + 1 ends in the text, which
 * the caller hands over by arrow_text, all text_len bytes of it, and closes with arrow_text_end. */
void arrow_dictionary(struct arrow_file *f, uint32_t column, uint32_t count, const uint64_t *offsets,
                      uint64_t text_len);
void arrow_text(struct arrow_file *f, const void *bytes, size_t len);
void arrow_text_end(struct arrow_file *f);
/* Writes a record batch of what the columns hold, at most ARROW_BATCH_ROWS, and empties them. */
void arrow_batch(struct arrow_file *f, uint32_t rows);
/* Writes the footer. 0 or -ENOMEM. */
int arrow_end(struct arrow_file *f);
/* Also after an error. */
void arrow_release(struct arrow_file *f);

#endif
