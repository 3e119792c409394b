/* The reader's parts: a recording is one part; a merged one has many, whose ids start over with each. What
 * they have in common is kept once: strings, codes and frames are interned across parts, so that the memory
 * for ten thousand workers of one program is that for one of them. The parts' clocks are aligned by the wall
 * time at which each began.
 */
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "record/reader_state.h"

static const char full_detail[] =
    "the recordings merged have more names and places together than a recording can hold: some are missing";

static struct reader_part *part_at(const struct rec_reader *r, uint32_t index)
{
    return (struct reader_part *)r->parts.data + index;
}

/* Tables ---------------------------------------------------------------------------------------------- */

static int append_string(struct rec_reader *r, const uint8_t *bytes, uint32_t len)
{
    uint8_t *to = buf_reserve(&r->string_bytes, (size_t)len + 1);
    if (!to)
        return r->string_bytes.error == -EFBIG ? -EBADMSG : r->string_bytes.error;
    memcpy(to, bytes, len);
    to[len] = 0;
    uint32_t end = (uint32_t)r->string_bytes.len + len;
    r->string_bytes.len = (size_t)end + 1;
    return reader_append(&r->string_ends, &end, sizeof(end));
}

/* What no longer fits stands for the empty string, the first code, the first frame. */
static int keep_overflow(struct rec_reader *r, struct buf *table, int err, uint32_t *id)
{
    if (err != -EBADMSG && err != -ENOSPC)
        return err;
    table->error = 0;
    r->overflow++;
    *id = 0;
    return 0;
}

static int intern_string(struct rec_reader *r, const uint8_t *bytes, uint32_t len, uint32_t *id)
{
    uint64_t hash = XXH3_64bits(bytes, len);
    for (;; hash++) {
        *id = map_get(&r->strings_by_hash, hash);
        if (*id == MAP_NONE)
            break;
        size_t known;
        const char *s = rec_reader_string(r, *id, &known);
        if (known == len && memcmp(s, bytes, len) == 0)
            return 0;
    }
    *id = rec_reader_string_count(r);
    if (*id == REC_MAX_STRINGS)
        return -ENOSPC;
    int err = append_string(r, bytes, len);
    return err ? err : map_put(&r->strings_by_hash, hash, *id);
}

int reader_add_string(struct rec_reader *r, const uint8_t *bytes, uint32_t len)
{
    uint32_t id;
    if (!r->merged)
        return append_string(r, bytes, len);
    int err = keep_overflow(r, &r->string_bytes, intern_string(r, bytes, len, &id), &id);
    return err ? err : reader_append(&r->local_strings, &id, sizeof(id));
}

static int add_item(struct rec_reader *r, bool interned, struct intern *table, struct buf *local,
                    const void *item)
{
    uint32_t id;
    bool added;
    if (!interned)
        return reader_append(&table->items, item, table->size);
    int err = keep_overflow(r, &table->items, intern_id(table, item, &id, &added), &id);
    return err ? err : reader_append(local, &id, sizeof(id));
}

int reader_add_code(struct rec_reader *r, const struct rec_code *code)
{
    return add_item(r, r->merged, &r->codes, &r->local_codes, code);
}

int reader_add_frame(struct rec_reader *r, const struct rec_frame *frame)
{
    return add_item(r, reader_interns_frames(r), &r->frames, &r->local_frames, frame);
}

int reader_add_heap_node(struct rec_reader *r, const struct rec_node *node)
{
    return add_item(r, reader_interns_frames(r), &r->heap_nodes, &r->local_heap_nodes, node);
}

/* Parts ----------------------------------------------------------------------------------------------- */

/* Copies a string of the header, NUL-terminated, behind the others; returns where. */
static size_t copy_string(struct rec_reader *r, struct cursor *c, size_t *len)
{
    *len = cursor_varint(c);
    const uint8_t *bytes = cursor_bytes(c, *len);
    size_t at = r->header_strings.len;
    buf_put(&r->header_strings, bytes, bytes ? *len : 0);
    buf_put_u8(&r->header_strings, 0);
    return at;
}

static int parse_header(struct rec_reader *r, struct reader_part *part)
{
    struct cursor c = cursor_of(r->raw.data, r->raw.len);
    struct rec_header *h = &part->info.header;
    size_t len;
    h->version = r->header.version;
    part->zond = copy_string(r, &c, &len);
    part->host = copy_string(r, &c, &len);
    part->command = copy_string(r, &c, &h->command_len);
    h->started_wall_ns = cursor_varint(&c);
    h->started_ns = cursor_varint(&c);
    h->period_ns = cursor_varint(&c);
    r->unit_ns = cursor_varint(&c);
    h->attached = cursor_varint(&c) & 1;
    uint64_t rank = c.at < c.end ? cursor_varint(&c) : 0;
    h->rank = rank && rank <= REC_NO_RANK ? (uint32_t)(rank - 1) : REC_NO_RANK;
    if (c.bad || r->unit_ns == 0 || r->unit_ns > NS_PER_S)
        return -EBADMSG;
    r->period = h->period_ns / r->unit_ns;
    return r->header_strings.error == -EFBIG ? -EBADMSG : r->header_strings.error;
}

static struct rec_header header_of(const struct rec_reader *r, const struct reader_part *part)
{
    const char *strings = (const char *)r->header_strings.data;
    struct rec_header h = part->info.header;
    h.zond = strings + part->zond;
    h.host = strings + part->host;
    h.command = strings + part->command;
    return h;
}

/* What referred to the part before is over. */
static int start_over(struct rec_reader *r)
{
    int rc = r->events->epoch ? reader_answer(r, r->events->epoch(r->ctx)) : 0;
    reader_forget_nodes(r);
    r->first_process = rec_reader_process_count(r);
    r->first_thread = rec_reader_thread_count(r);
    r->first_heap = rec_reader_heap_count(r);
    r->local_strings.len = r->local_codes.len = r->local_frames.len = r->local_heap_nodes.len = 0;
    r->earlier.ticks += r->latest.ticks;
    r->earlier.samples += r->latest.samples;
    r->earlier.cpu_ns += r->latest.cpu_ns;
    r->earlier.reads += r->latest.reads;
    r->earlier.read_bytes += r->latest.read_bytes;
    r->earlier.stops += r->latest.stops;
    r->latest = (struct rec_stats){0};
    uint32_t empty = 0;
    int err = reader_append(&r->local_strings, &empty, sizeof(empty));
    if (!err)
        err = reader_append(&r->local_heap_nodes, &empty, sizeof(empty));
    return rc ? rc : err;
}

/* Of a merged recording the first header is that of the whole, and no part. */
static int begin_whole(struct rec_reader *r)
{
    struct reader_part part = {0};
    int err = parse_header(r, &part);
    if (err)
        return err;
    r->whole = part;
    r->header = header_of(r, &part);
    r->start_ns = r->header.started_ns;
    r->skips = r->merged; /* until a part begins */
    if (r->merged)
        return 0;
    part.info.stop = REC_CUT;
    return reader_append(&r->parts, &part, sizeof(part));
}

int reader_begin_part(struct rec_reader *r)
{
    struct reader_part part = {.info.stop = REC_CUT};
    if (!r->header.zond)
        return begin_whole(r);
    r->skips = true; /* until the part has a header */
    int rc = start_over(r);
    if (!rc)
        rc = parse_header(r, &part);
    if (rc)
        return rc;
    struct rec_header *h = &part.info.header;
    h->started_ns = r->header.started_ns + (h->started_wall_ns - r->header.started_wall_ns);
    r->start_ns = h->started_ns;
    rc = reader_append(&r->parts, &part, sizeof(part));
    r->skips = rc != 0;
    r->header = header_of(r, &r->whole); /* the strings may have moved */
    return rc;
}

void reader_end_part(struct rec_reader *r, enum rec_break stop)
{
    /* A part that did not begin, for its header, leaves the one before it as that ended. */
    if (!r->skips)
        part_at(r, rec_reader_part_count(r) - 1)->info.stop = stop;
    r->skips = true;
}

int reader_take_merged(struct rec_reader *r)
{
    struct cursor c = cursor_of(r->raw.data, r->raw.len);
    r->result.parts = cursor_varint(&c);
    r->result.cut = cursor_varint(&c);
    r->result.corrupt = cursor_varint(&c);
    r->result.left_out = cursor_varint(&c);
    r->has_merged = !c.bad;
    return c.bad ? -EBADMSG : 0;
}

int reader_finish(struct rec_reader *r)
{
    if (!r->merged && r->parts.len)
        part_at(r, 0)->info.stop = r->stop;
    if (r->overflow && r->events->loss) {
        uint32_t detail;
        int err = intern_string(r, (const uint8_t *)full_detail, sizeof(full_detail) - 1, &detail);
        if (err)
            detail = 0;
        int rc = r->events->loss(r->ctx, &(struct rec_loss){.kind = REC_LOSS_TRUNCATED,
                                                            .time_ns = r->header.started_ns,
                                                            .count = r->overflow,
                                                            .detail = detail});
        if (rc)
            return rc;
    }
    return r->events->epoch ? r->events->epoch(r->ctx) : 0;
}

uint32_t rec_reader_part_count(const struct rec_reader *r)
{
    return reader_count(&r->parts, sizeof(struct reader_part));
}

uint32_t rec_reader_part_of(const struct rec_reader *r, uint32_t process)
{
    const uint32_t *parts = (const uint32_t *)r->part_of.data;
    return process < reader_count(&r->part_of, sizeof(*parts)) ? parts[process] : UINT32_MAX;
}

struct rec_part rec_reader_part(const struct rec_reader *r, uint32_t index)
{
    if (index >= rec_reader_part_count(r))
        return (struct rec_part){.header = {.zond = "?", .host = "?", .command = "", .rank = REC_NO_RANK}};
    struct reader_part *part = part_at(r, index);
    struct rec_part info = part->info;
    info.header = header_of(r, part);
    return info;
}

const struct rec_merged *rec_reader_merged(const struct rec_reader *r)
{
    return r->has_merged ? &r->result : NULL;
}
