/* merge: see merge.h. Knows blocks and headers, not what is in chunks: two recordings that are read as one
 * share tables only in the reader (reader_parts.c). An input that is a merged recording itself gives its
 * parts.
 */
#include "record/merge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record/block.h"
#include "record/format.h"
#include "record/io.h"
#include "record/reader.h"

/* Room for the largest block, and for many of the usual ones at once. */
#define BUFFER_SIZE (BLOCK_HEAD_SIZE + REC_MAX_STORED + (4u << 20))

/* common: the command and host that all inputs have, or empty. */
struct merge {
    struct merge_input *inputs;
    size_t count;
    const char *zond;
    struct rec_header first; /* strings are in first_strings */
    struct buf first_strings;
    bool one_host;
    bool one_command;
    struct rec_merged result;
    struct block_packer *packer;
    struct block_unpacker *unpacker;
    uint8_t *buffer;
    int out;
};

/* One input at work: bytes from `at` to `end` of the buffer are read but not looked at; those before `at`
 * from `from` on are whole blocks, to be written. */
struct intake {
    struct merge *merge;
    struct merge_input *input;
    int fd;
    uint64_t offset; /* of `at` in the file */
    size_t from, at, end;
    bool is_merged;
    bool opened; /* a header of a part was taken, and no end of it yet */
    bool over;
};

/* Headers --------------------------------------------------------------------------------------------- */

static bool same(const char *a, size_t a_len, const char *b, size_t b_len)
{
    return a_len == b_len && (!a_len || memcmp(a, b, a_len) == 0);
}

/* Keeps what all have in common, and the earliest beginning. */
static int join_header(struct merge *m, const struct rec_header *h, bool is_first)
{
    if (is_first) {
        m->first = *h;
        m->one_host = m->one_command = true;
        buf_put(&m->first_strings, h->host, strlen(h->host) + 1);
        buf_put(&m->first_strings, h->command, h->command_len);
        buf_put_u8(&m->first_strings, 0);
        if (m->first_strings.error)
            return m->first_strings.error;
        m->first.host = (const char *)m->first_strings.data;
        m->first.command = m->first.host + strlen(m->first.host) + 1;
        return 0;
    }
    m->one_host &= strcmp(m->first.host, h->host) == 0;
    m->one_command &= same(m->first.command, m->first.command_len, h->command, h->command_len);
    m->first.attached &= h->attached;
    if (h->started_wall_ns < m->first.started_wall_ns) {
        m->first.started_wall_ns = h->started_wall_ns;
        m->first.started_ns = h->started_ns;
    }
    return 0;
}

static int read_header(struct merge *m, struct merge_input *input, bool is_first)
{
    struct rec_reader *r = NULL;
    int fd = open(input->path, O_RDONLY | O_CLOEXEC);
    input->error = fd < 0 ? -errno : rec_reader_new(fd, &r);
    int err = input->error ? 0 : join_header(m, rec_reader_header(r), is_first);
    rec_reader_free(r);
    if (fd >= 0)
        close(fd);
    return err;
}

int merge_new(struct merge_input *inputs, size_t count, const char *zond, struct merge **out)
{
    struct merge *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    *m = (struct merge){.inputs = inputs, .count = count, .zond = zond};
    buf_init(&m->first_strings, 2 * REC_MAX_RAW);
    m->packer = block_packer_new();
    m->unpacker = block_unpacker_new();
    m->buffer = malloc(BUFFER_SIZE);
    int err = m->packer && m->unpacker && m->buffer ? 0 : -ENOMEM;
    size_t good = 0;
    for (size_t i = 0; !err && i < count; i++) {
        err = read_header(m, &inputs[i], good == 0);
        good += !inputs[i].error;
    }
    m->result.left_out = count - good;
    if (!err && !good)
        err = -ENODATA;
    if (err) {
        merge_free(m);
        return err;
    }
    *out = m;
    return 0;
}

void merge_free(struct merge *m)
{
    if (!m)
        return;
    buf_release(&m->first_strings);
    block_packer_free(m->packer);
    block_unpacker_free(m->unpacker);
    free(m->buffer);
    free(m);
}

/* Output ---------------------------------------------------------------------------------------------- */

static int write_block(struct merge *m, enum rec_block_type type, struct payload *payload)
{
    struct buf block;
    buf_init(&block, BLOCK_HEAD_SIZE + REC_MAX_STORED);
    int err = payload->raw.error ? payload->raw.error : block_pack(m->packer, type, payload, &block);
    if (!err)
        err = io_write(m->out, block.data, block.len);
    buf_release(&block);
    buf_release(&payload->raw);
    return err;
}

/* The header of the whole. */
static int write_opening(struct merge *m)
{
    uint8_t preamble[REC_PREAMBLE_SIZE];
    struct payload payload = {0};
    struct rec_header h = m->first;
    h.zond = m->zond;
    h.host = m->one_host ? h.host : "";
    h.command_len = m->one_command ? h.command_len : 0;
    h.rank = REC_NO_RANK;
    preamble_put(preamble, REC_FORMAT_MERGED);
    int err = io_write(m->out, preamble, sizeof(preamble));
    if (err)
        return err;
    buf_init(&payload.raw, REC_MAX_RAW);
    rec_header_put(&payload.raw, &h);
    return write_block(m, REC_BLOCK_HEADER, &payload);
}

static int write_closing(struct merge *m)
{
    struct payload payload = {0};
    buf_init(&payload.raw, REC_MAX_RAW);
    buf_put_varint(&payload.raw, m->result.parts);
    buf_put_varint(&payload.raw, m->result.cut);
    buf_put_varint(&payload.raw, m->result.corrupt);
    buf_put_varint(&payload.raw, m->result.left_out);
    return write_block(m, REC_BLOCK_MERGED, &payload);
}

/* Inputs ---------------------------------------------------------------------------------------------- */

/* Writes the whole blocks that are in the buffer. */
static int drain(struct intake *in)
{
    int err = io_write(in->merge->out, in->merge->buffer + in->from, in->at - in->from);
    in->from = in->at;
    return err;
}

/* At least n bytes behind `at`; -ENODATA when the file has no more. Errors of the input are negative, those
 * of the output positive. */
static int need(struct intake *in, size_t n)
{
    while (in->end - in->at < n) {
        if (in->at + n > BUFFER_SIZE || in->end == BUFFER_SIZE) {
            int err = drain(in);
            if (err)
                return -err;
            memmove(in->merge->buffer, in->merge->buffer + in->at, in->end - in->at);
            in->end -= in->at;
            in->from = in->at = 0;
        }
        ssize_t got = io_read(in->fd, in->merge->buffer + in->end, BUFFER_SIZE - in->end);
        if (got < 0)
            return (int)got;
        if (got == 0)
            return -ENODATA;
        in->end += (size_t)got;
    }
    return 0;
}

/* What a merged recording says at its end of inputs that never became part of it. */
static int take_closing(struct intake *in, const struct block_head *head, const uint8_t *stored)
{
    struct buf raw;
    buf_init(&raw, REC_MAX_RAW + 1);
    int err = block_unpack(in->merge->unpacker, head, stored, &raw);
    struct cursor c = cursor_of(raw.data, raw.len);
    for (int i = 0; !err && i < 3; i++)
        cursor_varint(&c);
    uint64_t left_out = err ? 0 : cursor_varint(&c);
    in->merge->result.left_out += c.bad ? 0 : left_out;
    buf_release(&raw);
    in->over = true;
    return err;
}

/* A part of the input begins. One without an end before it was cut when it was merged first. */
static void begin_part(struct intake *in)
{
    in->merge->result.cut += in->opened;
    in->merge->result.parts++;
    in->opened = true;
}

/* The next block: leaves it to be written, or passes it over. first: the header of the file. */
static int take_block(struct intake *in, bool first)
{
    struct block_head head;
    int err = need(in, BLOCK_HEAD_SIZE);
    if (err)
        return err;
    err = block_head_get(in->merge->buffer + in->at, &head);
    if (!err)
        err = need(in, BLOCK_HEAD_SIZE + (size_t)head.stored);
    if (err)
        return err;
    const uint8_t *stored = in->merge->buffer + in->at + BLOCK_HEAD_SIZE;
    size_t size = BLOCK_HEAD_SIZE + (size_t)head.stored;
    if (!block_fits(&head, stored) || (head.type == REC_BLOCK_HEADER && !first && !in->is_merged))
        return -EBADMSG;
    bool of_whole = in->is_merged && (first || head.type == REC_BLOCK_MERGED);
    if (of_whole && !first)
        err = take_closing(in, &head, stored);
    else if (head.type == REC_BLOCK_HEADER && !of_whole)
        begin_part(in);
    else if (head.type == REC_BLOCK_END)
        in->opened = false;
    in->over |= head.type == REC_BLOCK_END && !in->is_merged;
    if (of_whole) {
        int failed = drain(in);
        if (failed)
            return -failed;
        in->from += size;
    }
    in->at += size;
    in->offset += size;
    return err;
}

static int take_all(struct intake *in)
{
    uint32_t version = 0;
    int err = need(in, REC_PREAMBLE_SIZE);
    if (!err)
        err = preamble_get(in->merge->buffer, &version);
    if (err)
        return err;
    in->is_merged = version == REC_FORMAT_MERGED;
    in->from = in->at = in->offset = REC_PREAMBLE_SIZE;
    err = take_block(in, true);
    while (!err && !in->over)
        err = take_block(in, false);
    return err;
}

/* Takes one input; 0, or the negative errno of the output. */
static int take_input(struct merge *m, struct merge_input *input)
{
    struct intake in = {.merge = m, .input = input, .fd = open(input->path, O_RDONLY | O_CLOEXEC)};
    uint64_t parts = m->result.parts;
    int err = in.fd < 0 ? -errno : take_all(&in);
    if (in.fd >= 0)
        close(in.fd);
    if (err > 0)
        return -err;
    int failed = drain(&in);
    if (m->result.parts == parts) { /* it was there when its header was read */
        input->error = err ? err : -EINVAL;
        m->result.left_out++;
        return failed;
    }
    bool bad = err && err != -ENODATA;
    input->stop = bad ? REC_CORRUPT : err ? REC_CUT : REC_WHOLE;
    input->offset = in.offset;
    m->result.corrupt += bad;
    m->result.cut += !bad && in.opened;
    return failed;
}

int merge_write(struct merge *m, int fd)
{
    m->out = fd;
    int err = write_opening(m);
    for (size_t i = 0; !err && i < m->count; i++) {
        if (!m->inputs[i].error)
            err = take_input(m, &m->inputs[i]);
    }
    return err ? err : write_closing(m);
}

const struct rec_merged *merge_result(const struct merge *m)
{
    return &m->result;
}
