/* reader: see reader.h. This file finds blocks and sections; reader_tables.c and reader_samples.c read them,
 * and reader_parts.c knows what is common to the parts of a merged recording.
 *
 * What a block claims is checked before it is believed, in this order: the checksum of its head, its lengths
 * against the limits of the format, the checksum of its payload, each value where it is used.
 */
#include "record/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record/io.h"
#include "record/reader_state.h"

/* Input ----------------------------------------------------------------------------------------------- */

/* Reads len bytes; -ENODATA when the input ends before. */
static int read_exactly(int fd, uint8_t *to, size_t len)
{
    while (len) {
        ssize_t n = io_read(fd, to, len);
        if (n <= 0)
            return n ? (int)n : -ENODATA;
        to += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The next block's head, and its bytes as stored. */
static int read_block(struct rec_reader *r, struct block_head *head)
{
    uint8_t bytes[BLOCK_HEAD_SIZE];
    int err = read_exactly(r->fd, bytes, sizeof(bytes));
    if (!err)
        err = block_head_get(bytes, head);
    if (err)
        return err;
    buf_clear(&r->stored);
    uint8_t *to = buf_reserve(&r->stored, (size_t)head->stored + 1);
    if (!to)
        return r->stored.error;
    err = read_exactly(r->fd, to, head->stored);
    if (err)
        return err;
    return block_fits(head, to) ? 0 : -EBADMSG;
}

/* Header ---------------------------------------------------------------------------------------------- */

static int read_header(struct rec_reader *r)
{
    uint8_t preamble[REC_PREAMBLE_SIZE];
    int err = read_exactly(r->fd, preamble, sizeof(preamble));
    if (!err)
        err = preamble_get(preamble, &r->header.version);
    if (err)
        return err;
    if (r->header.version > REC_FORMAT_MERGED)
        return -EPROTONOSUPPORT;
    r->merged = r->header.version == REC_FORMAT_MERGED;
    struct block_head head;
    err = read_block(r, &head);
    if (!err && head.type != REC_BLOCK_HEADER)
        err = -EBADMSG;
    if (!err)
        err = block_unpack(r->unpacker, &head, r->stored.data, &r->raw);
    if (!err)
        err = reader_begin_part(r);
    r->offset = REC_PREAMBLE_SIZE + BLOCK_HEAD_SIZE + head.stored;
    return err;
}

int rec_reader_keep_places(struct rec_reader *r)
{
    if (r->merged)
        return -ENOTSUP;
    r->places_kept = true;
    return reader_append(&r->modules, &(struct rec_module){0}, sizeof(struct rec_module));
}

int rec_reader_version(int fd, uint32_t *version)
{
    uint8_t preamble[REC_PREAMBLE_SIZE];
    ssize_t n = pread(fd, preamble, sizeof(preamble), 0);
    if (n < 0)
        return -errno;
    return n == sizeof(preamble) ? preamble_get(preamble, version) : -ENODATA;
}

/* Life ------------------------------------------------------------------------------------------------ */

/* Also of the first part; later parts begin with theirs (reader_parts.c). */
static int add_empty_heap_node(struct rec_reader *r)
{
    uint32_t id;
    bool added;
    int err = intern_id(&r->heap_nodes, &(struct rec_node){0}, &id, &added);
    return err ? err : reader_append(&r->local_heap_nodes, &id, sizeof(id));
}

static int init_tables(struct rec_reader *r)
{
    buf_init(&r->header_strings, REC_MAX_HEADER_STRINGS);
    buf_init(&r->parts, REC_MAX_PROCESSES * sizeof(struct reader_part));
    buf_init(&r->local_strings, REC_MAX_STRINGS * sizeof(uint32_t));
    buf_init(&r->local_codes, REC_MAX_CODES * sizeof(uint32_t));
    buf_init(&r->local_frames, REC_MAX_FRAMES * sizeof(uint32_t));
    buf_init(&r->local_heap_nodes, REC_MAX_HEAP_NODES * sizeof(uint32_t));
    intern_init(&r->heap_nodes, sizeof(struct rec_node), REC_MAX_HEAP_NODES);
    buf_init(&r->heaps, REC_MAX_HEAPS * sizeof(struct reader_heap));
    map_init(&r->strings_by_hash);
    buf_init(&r->stored, REC_MAX_STORED + 1);
    buf_init(&r->raw, REC_MAX_RAW + 1);
    buf_init(&r->string_bytes, REC_MAX_STRING_BYTES);
    buf_init(&r->string_ends, REC_MAX_STRINGS * sizeof(uint32_t));
    intern_init(&r->codes, sizeof(struct rec_code), REC_MAX_CODES);
    buf_init(&r->modules, REC_MAX_MODULES * sizeof(struct rec_module));
    intern_init(&r->frames, sizeof(struct rec_frame), REC_MAX_FRAMES);
    buf_init(&r->nodes, REC_MAX_NODES * sizeof(struct rec_node));
    buf_init(&r->same, REC_MAX_NODES * sizeof(uint32_t));
    map_init(&r->node_of);
    buf_init(&r->part_of, REC_MAX_PROCESSES * sizeof(uint32_t));
    buf_init(&r->processes, REC_MAX_PROCESSES * sizeof(struct rec_process));
    buf_init(&r->threads, REC_MAX_THREADS * sizeof(struct reader_thread));
    buf_put_u8(&r->string_bytes, 0);
    uint32_t end = 0;
    int err = reader_append(&r->string_ends, &end, sizeof(end));
    if (!err)
        err = reader_append(&r->nodes, &(struct rec_node){0}, sizeof(struct rec_node));
    if (!err)
        err = add_empty_heap_node(r);
    r->unpacker = block_unpacker_new();
    return r->unpacker ? err : -ENOMEM;
}

int rec_reader_new(int fd, struct rec_reader **out)
{
    struct rec_reader *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->fd = fd;
    int err = init_tables(r);
    if (!err)
        err = read_header(r);
    if (err) {
        rec_reader_free(r);
        return err;
    }
    *out = r;
    return 0;
}

void rec_reader_free(struct rec_reader *r)
{
    if (!r)
        return;
    struct buf *all[] = {
        &r->part_of,      &r->header_strings, &r->stored,  &r->raw,   &r->string_bytes,    &r->string_ends,
        &r->nodes,        &r->processes,      &r->threads, &r->parts, &r->local_strings,   &r->local_codes,
        &r->local_frames, &r->modules,        &r->same,    &r->heaps, &r->local_heap_nodes};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_release(all[i]);
    map_release(&r->strings_by_hash);
    map_release(&r->node_of);
    intern_release(&r->codes);
    intern_release(&r->frames);
    intern_release(&r->heap_nodes);
    block_unpacker_free(r->unpacker);
    free(r);
}

/* Chunks ---------------------------------------------------------------------------------------------- */

/* Finds the sections of the payload; those of unknown ids are passed over, one that comes twice is an error.
 */
static int find_sections(const struct rec_reader *r, struct cursor sections[REC_SECTIONS])
{
    memset(sections, 0, REC_SECTIONS * sizeof(*sections));
    struct cursor c = cursor_of(r->raw.data, r->raw.len);
    while (c.at < c.end) {
        uint64_t id = cursor_varint(&c);
        uint64_t len = cursor_varint(&c);
        const uint8_t *bytes = cursor_bytes(&c, len);
        if (!bytes || (id < REC_SECTIONS && sections[id].at))
            return -EBADMSG;
        if (id < REC_SECTIONS)
            sections[id] = cursor_of(bytes, len);
    }
    return 0;
}

static int take_chunk(struct rec_reader *r)
{
    struct cursor sections[REC_SECTIONS];
    int rc = find_sections(r, sections);
    if (!rc)
        rc = reader_take_tables(r, sections);
    if (!rc)
        rc = reader_take_samples(r, sections);
    if (!rc)
        rc = reader_take_events(r, sections);
    return rc;
}

static int take_end(struct rec_reader *r)
{
    struct cursor c = cursor_of(r->raw.data, r->raw.len);
    r->end.ended_ns = r->start_ns + (uint64_t)cursor_svarint(&c);
    r->end.code = cursor_s32(&c);
    r->end.signal = cursor_s32(&c);
    if (c.bad)
        return -EBADMSG;
    r->has_end = !r->merged;
    ((struct reader_part *)r->parts.data)[rec_reader_part_count(r) - 1].info.end = r->end;
    reader_end_part(r, REC_WHOLE);
    return 0;
}

static int take_payload(struct rec_reader *r, const struct block_head *head)
{
    int err = block_unpack(r->unpacker, head, r->stored.data, &r->raw);
    if (err)
        return err;
    switch (head->type) {
    case REC_BLOCK_HEADER:
        return r->merged ? reader_begin_part(r) : -EBADMSG;
    case REC_BLOCK_CHUNK:
        return take_chunk(r);
    case REC_BLOCK_END:
        return take_end(r);
    default:
        return reader_take_merged(r);
    }
}

static bool is_known(const struct rec_reader *r, uint32_t type)
{
    return type == REC_BLOCK_HEADER || type == REC_BLOCK_CHUNK || type == REC_BLOCK_END ||
           (type == REC_BLOCK_MERGED && r->merged);
}

/* What cannot be ends a recording, but only one part of a merged one. */
static int take_block(struct rec_reader *r, const struct block_head *head)
{
    bool of_part = head->type == REC_BLOCK_CHUNK || head->type == REC_BLOCK_END;
    if (!is_known(r, head->type) || (of_part && r->skips))
        return 0;
    int rc = take_payload(r, head);
    if (rc != -EBADMSG || !r->merged || head->type == REC_BLOCK_MERGED)
        return rc;
    reader_end_part(r, REC_CORRUPT);
    return 0;
}

int rec_reader_run(struct rec_reader *r, const struct rec_events *events, void *ctx)
{
    r->events = events;
    r->ctx = ctx;
    int rc = 0;
    while (!rc && !r->has_end && !r->has_merged) {
        struct block_head head;
        rc = read_block(r, &head);
        if (!rc)
            rc = take_block(r, &head);
        if (!rc)
            r->offset += BLOCK_HEAD_SIZE + head.stored;
    }
    if (rc == READER_STOP)
        return r->answer;
    if (rc && rc != -ENODATA && rc != -EBADMSG)
        return rc;
    r->stop = rc == -ENODATA ? REC_CUT : rc == -EBADMSG ? REC_CORRUPT : REC_WHOLE;
    return reader_finish(r);
}

enum rec_break rec_reader_break(const struct rec_reader *r, uint64_t *offset)
{
    if (offset)
        *offset = r->offset;
    return r->stop;
}

const struct rec_end *rec_reader_end(const struct rec_reader *r)
{
    return r->has_end ? &r->end : NULL;
}

/* Tables ---------------------------------------------------------------------------------------------- */

const struct rec_header *rec_reader_header(const struct rec_reader *r)
{
    return &r->header;
}

const char *rec_reader_string(const struct rec_reader *r, uint32_t id, size_t *len)
{
    const uint32_t *ends = (const uint32_t *)r->string_ends.data;
    bool known = id < reader_count(&r->string_ends, sizeof(*ends));
    uint32_t start = known && id ? ends[id - 1] + 1 : 0;
    if (len)
        *len = known ? ends[id] - start : 1;
    return known ? (const char *)r->string_bytes.data + start : "?";
}

struct rec_code rec_reader_code(const struct rec_reader *r, uint32_t id)
{
    const struct rec_code *codes = (const struct rec_code *)r->codes.items.data;
    return id < rec_reader_code_count(r) ? codes[id] : (struct rec_code){0};
}

struct rec_module rec_reader_module(const struct rec_reader *r, uint32_t id)
{
    const struct rec_module *modules = (const struct rec_module *)r->modules.data;
    return id < reader_count(&r->modules, sizeof(*modules)) ? modules[id] : (struct rec_module){0};
}

struct rec_frame rec_reader_frame(const struct rec_reader *r, uint32_t id)
{
    const struct rec_frame *frames = (const struct rec_frame *)r->frames.items.data;
    return id < rec_reader_frame_count(r) ? frames[id] : (struct rec_frame){0};
}

struct rec_node rec_reader_heap_node(const struct rec_reader *r, uint32_t id)
{
    const struct rec_node *nodes = (const struct rec_node *)r->heap_nodes.items.data;
    return id < rec_reader_heap_node_count(r) ? nodes[id] : (struct rec_node){0};
}

uint32_t rec_reader_heap_node_count(const struct rec_reader *r)
{
    return reader_count(&r->heap_nodes.items, sizeof(struct rec_node));
}

uint32_t rec_reader_heap_count(const struct rec_reader *r)
{
    return reader_count(&r->heaps, sizeof(struct reader_heap));
}

struct rec_heap rec_reader_heap(const struct rec_reader *r, uint32_t index)
{
    const struct reader_heap *heaps = (const struct reader_heap *)r->heaps.data;
    return index < rec_reader_heap_count(r) ? heaps[index].info : (struct rec_heap){0};
}

uint32_t rec_reader_part_of_heap(const struct rec_reader *r, uint32_t heap)
{
    const struct reader_heap *heaps = (const struct reader_heap *)r->heaps.data;
    return heap < rec_reader_heap_count(r) ? heaps[heap].part : UINT32_MAX;
}

struct rec_node rec_reader_node(const struct rec_reader *r, uint32_t id)
{
    const struct rec_node *nodes = (const struct rec_node *)r->nodes.data;
    return id < rec_reader_node_count(r) ? nodes[id] : (struct rec_node){0};
}

const struct rec_node *rec_reader_nodes(const struct rec_reader *r)
{
    return (const struct rec_node *)r->nodes.data;
}

uint32_t rec_reader_string_count(const struct rec_reader *r)
{
    return reader_count(&r->string_ends, sizeof(uint32_t));
}

uint32_t rec_reader_node_count(const struct rec_reader *r)
{
    return reader_count(&r->nodes, sizeof(struct rec_node));
}

uint32_t rec_reader_frame_count(const struct rec_reader *r)
{
    return reader_count(&r->frames.items, sizeof(struct rec_frame));
}

uint32_t rec_reader_code_count(const struct rec_reader *r)
{
    return reader_count(&r->codes.items, sizeof(struct rec_code));
}

uint32_t rec_reader_process_count(const struct rec_reader *r)
{
    return reader_count(&r->processes, sizeof(struct rec_process));
}

uint32_t rec_reader_thread_count(const struct rec_reader *r)
{
    return reader_count(&r->threads, sizeof(struct reader_thread));
}

struct rec_process rec_reader_process(const struct rec_reader *r, uint32_t index)
{
    const struct rec_process *processes = (const struct rec_process *)r->processes.data;
    return index < rec_reader_process_count(r) ? processes[index] : (struct rec_process){0};
}

struct rec_thread rec_reader_thread(const struct rec_reader *r, uint32_t index)
{
    const struct reader_thread *threads = (const struct reader_thread *)r->threads.data;
    return index < rec_reader_thread_count(r) ? threads[index].info : (struct rec_thread){0};
}
