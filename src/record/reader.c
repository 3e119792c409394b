/* reader: see reader.h. This file finds blocks and sections; reader_tables.c and reader_samples.c read them.
 *
 * What a block claims is checked before it is believed, in this order: the checksum of its head, its lengths
 * against the limits of the format, the checksum of its payload, each value where it is used.
 */
#include "record/reader.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record/reader_state.h"

/* Input ----------------------------------------------------------------------------------------------- */

/* Reads len bytes; -ENODATA when the input ends before. */
static int read_exactly(int fd, uint8_t *to, size_t len)
{
    while (len) {
        ssize_t n = read(fd, to, len);
        if (n > 0) {
            to += n;
            len -= (size_t)n;
        } else if (n == 0) {
            return -ENODATA;
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1);
        } else if (errno != EINTR) {
            return -errno;
        }
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

/* Copies a string of the header, NUL-terminated, behind the others. Only for as many bytes as were reserved.
 */
static const char *copy_string(struct buf *to, struct cursor *c, size_t *len)
{
    *len = cursor_varint(c);
    const uint8_t *bytes = cursor_bytes(c, *len);
    const char *at = (const char *)to->data + to->len;
    buf_put(to, bytes, bytes ? *len : 0);
    buf_put_u8(to, 0);
    return at;
}

static int parse_header(struct rec_reader *r)
{
    struct cursor c = cursor_of(r->raw.data, r->raw.len);
    struct rec_header *h = &r->header;
    size_t len;
    if (!buf_reserve(&r->header_strings, r->raw.len + 3))
        return r->header_strings.error;
    h->zond = copy_string(&r->header_strings, &c, &len);
    h->host = copy_string(&r->header_strings, &c, &len);
    h->command = copy_string(&r->header_strings, &c, &h->command_len);
    h->started_wall_ns = cursor_varint(&c);
    h->started_ns = cursor_varint(&c);
    h->period_ns = cursor_varint(&c);
    r->unit_ns = cursor_varint(&c);
    h->attached = cursor_varint(&c) & 1;
    if (c.bad || r->unit_ns == 0 || r->unit_ns > NS_PER_S)
        return -EBADMSG;
    r->period = h->period_ns / r->unit_ns;
    return 0;
}

static int read_header(struct rec_reader *r)
{
    uint8_t preamble[REC_PREAMBLE_SIZE];
    int err = read_exactly(r->fd, preamble, sizeof(preamble));
    if (!err)
        err = preamble_get(preamble, &r->header.version);
    if (err)
        return err;
    if (r->header.version > REC_FORMAT_VERSION)
        return -EPROTONOSUPPORT;
    struct block_head head;
    err = read_block(r, &head);
    if (!err && head.type != REC_BLOCK_HEADER)
        err = -EBADMSG;
    if (!err)
        err = block_unpack(r->unpacker, &head, r->stored.data, &r->raw);
    if (!err)
        err = parse_header(r);
    r->offset = REC_PREAMBLE_SIZE + BLOCK_HEAD_SIZE + head.stored;
    return err;
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

static int init_tables(struct rec_reader *r)
{
    buf_init(&r->header_strings, REC_MAX_RAW + 3);
    buf_init(&r->stored, REC_MAX_STORED + 1);
    buf_init(&r->raw, REC_MAX_RAW + 1);
    buf_init(&r->string_bytes, REC_MAX_STRING_BYTES);
    buf_init(&r->string_ends, REC_MAX_STRINGS * sizeof(uint32_t));
    buf_init(&r->codes, REC_MAX_CODES * sizeof(struct rec_code));
    buf_init(&r->frames, REC_MAX_FRAMES * sizeof(struct rec_frame));
    buf_init(&r->nodes, REC_MAX_NODES * sizeof(struct rec_node));
    buf_init(&r->processes, REC_MAX_PROCESSES * sizeof(struct rec_process));
    buf_init(&r->threads, REC_MAX_THREADS * sizeof(struct reader_thread));
    buf_put_u8(&r->string_bytes, 0);
    uint32_t end = 0;
    int err = reader_append(&r->string_ends, &end, sizeof(end));
    if (!err)
        err = reader_append(&r->nodes, &(struct rec_node){0}, sizeof(struct rec_node));
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
    struct buf *all[] = {&r->header_strings, &r->stored, &r->raw,   &r->string_bytes, &r->string_ends,
                         &r->codes,          &r->frames, &r->nodes, &r->processes,    &r->threads};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_release(all[i]);
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
    r->end.ended_ns = r->header.started_ns + (uint64_t)cursor_svarint(&c);
    r->end.code = cursor_s32(&c);
    r->end.signal = cursor_s32(&c);
    r->has_end = !c.bad;
    return c.bad ? -EBADMSG : 0;
}

static int take_block(struct rec_reader *r, const struct block_head *head)
{
    if (head->type == REC_BLOCK_HEADER)
        return -EBADMSG;
    if (head->type != REC_BLOCK_CHUNK && head->type != REC_BLOCK_END)
        return 0;
    int err = block_unpack(r->unpacker, head, r->stored.data, &r->raw);
    if (err)
        return err;
    return head->type == REC_BLOCK_CHUNK ? take_chunk(r) : take_end(r);
}

int rec_reader_run(struct rec_reader *r, const struct rec_events *events, void *ctx)
{
    r->events = events;
    r->ctx = ctx;
    int rc = 0;
    while (!rc && !r->has_end) {
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
    return events->epoch ? events->epoch(ctx) : 0;
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
    const struct rec_code *codes = (const struct rec_code *)r->codes.data;
    return id < rec_reader_code_count(r) ? codes[id] : (struct rec_code){0};
}

struct rec_frame rec_reader_frame(const struct rec_reader *r, uint32_t id)
{
    const struct rec_frame *frames = (const struct rec_frame *)r->frames.data;
    return id < rec_reader_frame_count(r) ? frames[id] : (struct rec_frame){0};
}

struct rec_node rec_reader_node(const struct rec_reader *r, uint32_t id)
{
    const struct rec_node *nodes = (const struct rec_node *)r->nodes.data;
    return id < rec_reader_node_count(r) ? nodes[id] : (struct rec_node){0};
}

uint32_t rec_reader_node_count(const struct rec_reader *r)
{
    return reader_count(&r->nodes, sizeof(struct rec_node));
}

uint32_t rec_reader_frame_count(const struct rec_reader *r)
{
    return reader_count(&r->frames, sizeof(struct rec_frame));
}

uint32_t rec_reader_code_count(const struct rec_reader *r)
{
    return reader_count(&r->codes, sizeof(struct rec_code));
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
