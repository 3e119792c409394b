/* arrow_ipc: see arrow_ipc.h. The tables and their members are those of Schema.fbs, Message.fbs and File.fbs.
 */
#include "export/arrow_ipc.h"

#include <errno.h>

#include "export/flat.h"

#define ALIGNMENT 64 /* of what is in a body: what Arrow recommends */
#define MAGIC "ARROW1"
#define VERSION 4 /* MetadataVersion.V5 */
#define CONTINUED 0xffffffffu

enum { HEADER_SCHEMA = 1, HEADER_DICTIONARY = 2, HEADER_BATCH = 3 };
enum { MESSAGE_VERSION, MESSAGE_HEADER_TYPE, MESSAGE_HEADER, MESSAGE_BODY, MESSAGE_MEMBERS };
enum { SCHEMA_FIELDS = 1, SCHEMA_METADATA = 2, SCHEMA_MEMBERS };
enum {
    FIELD_NAME,
    FIELD_NULLABLE,
    FIELD_TYPE_TYPE,
    FIELD_TYPE,
    FIELD_DICTIONARY,
    FIELD_CHILDREN,
    FIELD_MEMBERS
};
enum { TYPE_INT = 2, TYPE_TEXT = 5, TYPE_TIMESTAMP = 10, TYPE_LARGE_TEXT = 20 };
enum { INT_BITS, INT_SIGNED, INT_MEMBERS };
enum { TIMESTAMP_UNIT, TIMESTAMP_ZONE, TIMESTAMP_MEMBERS, UNIT_MICROSECOND = 2 };
enum { ENCODING_ID, ENCODING_INDEX, ENCODING_MEMBERS };
enum { PAIR_KEY, PAIR_VALUE, PAIR_MEMBERS };
enum { BATCH_ROWS, BATCH_NODES, BATCH_BUFFERS, BATCH_MEMBERS };
enum { DICTIONARY_ID, DICTIONARY_DATA, DICTIONARY_MEMBERS };
enum { FOOTER_VERSION, FOOTER_SCHEMA, FOOTER_DICTIONARIES, FOOTER_BATCHES, FOOTER_MEMBERS };

/* The struct Block. */
struct block {
    int64_t offset;
    int32_t head_len;
    int32_t pad;
    int64_t body_len;
};

/* The struct Buffer: where in the body. */
struct place {
    int64_t offset;
    int64_t len;
};

static uint64_t aligned(uint64_t n)
{
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void put(struct arrow_file *f, const void *bytes, size_t len)
{
    fwrite(bytes, 1, len, f->to);
    f->written += len;
}

static void put_u32(struct arrow_file *f, uint32_t v)
{
    put(f, &v, sizeof(v));
}

static void pad(struct arrow_file *f, size_t to)
{
    static const char zeros[ALIGNMENT];
    put(f, zeros, (to - f->written % to) % to);
}

static uint32_t put_int(struct buf *b, uint32_t bits, bool is_signed)
{
    uint32_t t = flat_table(b, INT_MEMBERS);
    flat_scalar(b, t, INT_BITS, bits, 4);
    flat_scalar(b, t, INT_SIGNED, is_signed, 1);
    return t;
}

static uint32_t put_type(struct buf *b, uint32_t field, enum arrow_type type)
{
    static const uint8_t kinds[] = {[ARROW_UINT32] = TYPE_INT,
                                    [ARROW_INT64] = TYPE_INT,
                                    [ARROW_TIME] = TYPE_TIMESTAMP,
                                    [ARROW_TEXT] = TYPE_TEXT,
                                    [ARROW_LARGE_TEXT] = TYPE_LARGE_TEXT};
    flat_scalar(b, field, FIELD_TYPE_TYPE, kinds[type], 1);
    if (kinds[type] == TYPE_INT)
        return put_int(b, type == ARROW_INT64 ? 64 : 32, type == ARROW_INT64);
    if (type != ARROW_TIME)
        return flat_table(b, 0);
    uint32_t t = flat_table(b, TIMESTAMP_MEMBERS);
    flat_scalar(b, t, TIMESTAMP_UNIT, UNIT_MICROSECOND, 2);
    flat_refer(b, t, TIMESTAMP_ZONE, flat_string(b, "UTC"));
    return t;
}

static uint32_t put_field(struct buf *b, const struct arrow_column *c, uint32_t index)
{
    uint32_t field = flat_table(b, FIELD_MEMBERS);
    flat_refer(b, field, FIELD_NAME, flat_string(b, c->name));
    flat_scalar(b, field, FIELD_NULLABLE, c->nullable, 1);
    flat_refer(b, field, FIELD_TYPE, put_type(b, field, c->type));
    flat_refer(b, field, FIELD_CHILDREN, flat_tables(b, 0));
    if (c->type < ARROW_TEXT)
        return field;
    uint32_t encoding = flat_table(b, ENCODING_MEMBERS);
    flat_scalar(b, encoding, ENCODING_ID, index, 8);
    flat_refer(b, encoding, ENCODING_INDEX, put_int(b, 32, true));
    flat_refer(b, field, FIELD_DICTIONARY, encoding);
    return field;
}

static uint32_t put_schema(struct buf *b, const struct arrow_file *f)
{
    uint32_t schema = flat_table(b, SCHEMA_MEMBERS);
    uint32_t fields = flat_tables(b, f->column_count);
    flat_refer(b, schema, SCHEMA_FIELDS, fields);
    for (uint32_t i = 0; i < f->column_count; i++)
        flat_refer_entry(b, fields, i, put_field(b, &f->columns[i], i));
    uint32_t pairs = flat_tables(b, f->about_count);
    flat_refer(b, schema, SCHEMA_METADATA, pairs);
    for (uint32_t i = 0; i < f->about_count; i++) {
        uint32_t pair = flat_table(b, PAIR_MEMBERS);
        flat_refer(b, pair, PAIR_KEY, flat_string(b, f->about[i].key));
        flat_refer(b, pair, PAIR_VALUE, flat_string(b, f->about[i].value));
        flat_refer_entry(b, pairs, i, pair);
    }
    return schema;
}

/* Begins a message; what its header is follows, and is referred to by the table that is returned. */
static uint32_t begin_message(struct arrow_file *f, uint8_t kind, uint64_t body_len)
{
    struct buf *b = &f->message;
    buf_clear(b);
    flat_root(b);
    uint32_t message = flat_table(b, MESSAGE_MEMBERS);
    flat_scalar(b, message, MESSAGE_VERSION, VERSION, 2);
    flat_scalar(b, message, MESSAGE_HEADER_TYPE, kind, 1);
    flat_scalar(b, message, MESSAGE_BODY, body_len, 8);
    return message;
}

/* Writes the message, so that its body comes to lie at a multiple of ALIGNMENT, and notes where it is. */
static void end_message(struct arrow_file *f, struct buf *blocks, uint64_t body_len)
{
    struct block block = {.offset = (int64_t)f->written, .body_len = (int64_t)body_len};
    while (!f->message.error && (f->written + 8 + f->message.len) % ALIGNMENT)
        buf_put_u8(&f->message, 0);
    block.head_len = (int32_t)(8 + f->message.len);
    put_u32(f, CONTINUED);
    put_u32(f, (uint32_t)f->message.len);
    put(f, f->message.data, f->message.len);
    if (blocks)
        buf_put(blocks, &block, sizeof(block));
}

/* A table RecordBatch of so many columns of `rows` rows, with `per_column` buffers each. */
static uint32_t put_batch(struct buf *b, uint64_t rows, const int64_t *nulls, uint32_t columns,
                          const struct place *places, uint32_t per_column)
{
    uint32_t batch = flat_table(b, BATCH_MEMBERS);
    flat_scalar(b, batch, BATCH_ROWS, rows, 8);
    flat_refer(b, batch, BATCH_NODES, flat_structs(b, columns));
    for (uint32_t i = 0; i < columns; i++) {
        int64_t node[2] = {(int64_t)rows, nulls[i]};
        buf_put(b, node, sizeof(node));
    }
    flat_refer(b, batch, BATCH_BUFFERS, flat_structs(b, columns * per_column));
    buf_put(b, places, (size_t)columns * per_column * sizeof(*places));
    return batch;
}

int arrow_begin(struct arrow_file *f, FILE *to, struct arrow_column *columns, uint32_t count,
                const struct arrow_pair *about, uint32_t about_count)
{
    *f = (struct arrow_file){.to = to, .columns = columns, .column_count = count};
    f->about = about;
    f->about_count = about_count;
    buf_init(&f->message, UINT32_MAX);
    buf_init(&f->dictionaries, UINT32_MAX);
    buf_init(&f->batches, UINT32_MAX);
    int rc = 0;
    for (uint32_t i = 0; i < count; i++) {
        buf_init(&columns[i].data, UINT32_MAX);
        buf_init(&columns[i].valid, UINT32_MAX);
        buf_reserve(&columns[i].data, (size_t)ARROW_BATCH_ROWS * sizeof(uint64_t));
        buf_reserve(&columns[i].valid, ARROW_BATCH_ROWS);
        if (columns[i].data.error || columns[i].valid.error)
            rc = -ENOMEM;
    }
    put(f, MAGIC, sizeof(MAGIC) - 1);
    pad(f, 8);
    uint32_t message = begin_message(f, HEADER_SCHEMA, 0);
    flat_refer(&f->message, message, MESSAGE_HEADER, put_schema(&f->message, f));
    end_message(f, NULL, 0);
    return rc;
}

static void put_offsets(struct arrow_file *f, const uint64_t *offsets, uint32_t count, bool large)
{
    if (large)
        put(f, offsets, sizeof(*offsets) * ((size_t)count + 1));
    for (uint32_t i = 0; !large && i <= count; i++)
        put_u32(f, (uint32_t)offsets[i]);
    pad(f, ALIGNMENT);
}

void arrow_dictionary(struct arrow_file *f, uint32_t column, uint32_t count, const uint64_t *offsets,
                      uint64_t text_len)
{
    bool large = f->columns[column].type == ARROW_LARGE_TEXT;
    uint64_t offsets_len = (large ? 8 : 4) * ((uint64_t)count + 1);
    struct place places[] = {
        {0, 0}, {0, (int64_t)offsets_len}, {(int64_t)aligned(offsets_len), (int64_t)text_len}};
    uint64_t body_len = aligned(offsets_len) + aligned(text_len);
    uint32_t message = begin_message(f, HEADER_DICTIONARY, body_len);
    int64_t no_nulls = 0;
    struct buf *b = &f->message;
    uint32_t dictionary = flat_table(b, DICTIONARY_MEMBERS);
    flat_refer(b, message, MESSAGE_HEADER, dictionary);
    flat_scalar(b, dictionary, DICTIONARY_ID, column, 8);
    flat_refer(b, dictionary, DICTIONARY_DATA, put_batch(b, count, &no_nulls, 1, places, ARRAY_LEN(places)));
    end_message(f, &f->dictionaries, body_len);
    put_offsets(f, offsets, count, large);
}

void arrow_text(struct arrow_file *f, const void *bytes, size_t len)
{
    put(f, bytes, len);
}

void arrow_text_end(struct arrow_file *f)
{
    pad(f, ALIGNMENT);
}

/* One bit a value instead of one byte, in place; returns how many are null. */
static int64_t pack_bits(struct buf *valid)
{
    size_t rows = valid->len;
    int64_t nulls = 0;
    for (size_t i = 0; i < rows; i++) {
        uint8_t bit = valid->data[i];
        nulls += !bit;
        if (i % 8 == 0)
            valid->data[i / 8] = 0;
        valid->data[i / 8] |= (uint8_t)(bit << i % 8);
    }
    valid->len = (rows + 7) / 8;
    return nulls;
}

void arrow_batch(struct arrow_file *f, uint32_t rows)
{
    struct place places[2 * ARROW_COLUMNS_MAX];
    int64_t nulls[ARROW_COLUMNS_MAX];
    uint64_t body_len = 0;
    for (uint32_t i = 0; i < f->column_count; i++) {
        struct arrow_column *c = &f->columns[i];
        nulls[i] = pack_bits(&c->valid);
        places[2 * i] = (struct place){(int64_t)body_len, (int64_t)c->valid.len};
        body_len += aligned(c->valid.len);
        places[2 * i + 1] = (struct place){(int64_t)body_len, (int64_t)c->data.len};
        body_len += aligned(c->data.len);
    }
    uint32_t message = begin_message(f, HEADER_BATCH, body_len);
    flat_refer(&f->message, message, MESSAGE_HEADER,
               put_batch(&f->message, rows, nulls, f->column_count, places, 2));
    end_message(f, &f->batches, body_len);
    for (uint32_t i = 0; i < 2 * f->column_count; i++) {
        struct buf *b = i % 2 ? &f->columns[i / 2].data : &f->columns[i / 2].valid;
        put(f, b->data, b->len);
        pad(f, ALIGNMENT);
        buf_clear(b);
    }
}

int arrow_end(struct arrow_file *f)
{
    struct buf *b = &f->message;
    const struct buf *const lists[] = {&f->dictionaries, &f->batches};
    put_u32(f, CONTINUED);
    put_u32(f, 0);
    buf_clear(b);
    flat_root(b);
    uint32_t footer = flat_table(b, FOOTER_MEMBERS);
    flat_scalar(b, footer, FOOTER_VERSION, VERSION, 2);
    flat_refer(b, footer, FOOTER_SCHEMA, put_schema(b, f));
    for (uint32_t i = 0; i < ARRAY_LEN(lists); i++) {
        flat_refer(b, footer, FOOTER_DICTIONARIES + i,
                   flat_structs(b, (uint32_t)(lists[i]->len / sizeof(struct block))));
        buf_put(b, lists[i]->data, lists[i]->len);
    }
    put(f, b->data, b->len);
    put_u32(f, (uint32_t)b->len);
    put(f, MAGIC, sizeof(MAGIC) - 1);
    for (uint32_t i = 0; i < ARRAY_LEN(lists); i++) {
        if (lists[i]->error)
            return lists[i]->error;
    }
    return b->error;
}

void arrow_release(struct arrow_file *f)
{
    for (uint32_t i = 0; i < f->column_count; i++) {
        buf_release(&f->columns[i].data);
        buf_release(&f->columns[i].valid);
    }
    buf_release(&f->message);
    buf_release(&f->dictionaries);
    buf_release(&f->batches);
}
