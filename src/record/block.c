/* block: see block.h. Knows lengths, checksums and zstd; of payloads only that of a header. */
#include "record/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "record/crc32c.h"
#include "record/format.h"

#define LEVEL 3
#define MIN_MATCH 7 /* the largest that zstd knows */

struct block_packer {
    ZSTD_CCtx *zstd;
};

struct block_unpacker {
    ZSTD_DCtx *zstd;
};

static void put_u32(uint8_t *to, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *from)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v |= (uint32_t)from[i] << (8 * i);
    return v;
}

void preamble_put(uint8_t *to, uint32_t version)
{
    memcpy(to, REC_MAGIC, REC_MAGIC_SIZE);
    put_u32(to + 8, version);
    put_u32(to + 12, crc32c(to, 12));
}

int preamble_get(const uint8_t *from, uint32_t *version)
{
    if (memcmp(from, REC_MAGIC, REC_MAGIC_SIZE) != 0)
        return -EINVAL;
    *version = get_u32(from + 8);
    return get_u32(from + 12) == crc32c(from, 12) && *version > 0 ? 0 : -EBADMSG;
}

void block_put_bytes(struct buf *to, const void *bytes, size_t len)
{
    buf_put_varint(to, len);
    buf_put(to, bytes, len);
}

void rec_header_put(struct buf *to, const struct rec_header *h)
{
    block_put_bytes(to, h->zond, strlen(h->zond));
    block_put_bytes(to, h->host, strlen(h->host));
    block_put_bytes(to, h->command, h->command_len);
    buf_put_varint(to, h->started_wall_ns);
    buf_put_varint(to, h->started_ns);
    buf_put_varint(to, h->period_ns);
    buf_put_varint(to, REC_TIME_UNIT_NS);
    buf_put_varint(to, h->attached ? 1 : 0);
    buf_put_varint(to, h->rank == REC_NO_RANK ? 0 : (uint64_t)h->rank + 1);
}

static void head_put(uint8_t *to, const struct block_head *head)
{
    put_u32(to, head->type);
    put_u32(to + 4, head->stored);
    put_u32(to + 8, head->raw);
    put_u32(to + 12, head->crc);
    put_u32(to + 16, crc32c(to, 16));
}

int block_head_get(const uint8_t from[BLOCK_HEAD_SIZE], struct block_head *head)
{
    if (get_u32(from + 16) != crc32c(from, 16))
        return -EBADMSG;
    *head = (struct block_head){.type = get_u32(from),
                                .stored = get_u32(from + 4),
                                .raw = get_u32(from + 8),
                                .crc = get_u32(from + 12)};
    return head->stored <= REC_MAX_STORED && head->raw <= REC_MAX_RAW ? 0 : -EBADMSG;
}

bool block_fits(const struct block_head *head, const uint8_t *stored)
{
    return crc32c(stored, head->stored) == head->crc;
}

struct block_packer *block_packer_new(void)
{
    struct block_packer *p = calloc(1, sizeof(*p));
    if (p && !(p->zstd = ZSTD_createCCtx())) {
        free(p);
        p = NULL;
    }
    return p;
}

void block_packer_free(struct block_packer *p)
{
    if (p)
        ZSTD_freeCCtx(p->zstd);
    free(p);
}

/* Parts after the first are columns of numbers: in such noise a short match costs more than it saves. */
static size_t pack_part(ZSTD_CCtx *zstd, bool first, const uint8_t *part, size_t len, struct buf *out)
{
    size_t bound = ZSTD_compressBound(len);
    uint8_t *at = buf_reserve(out, bound);
    if (!at)
        return 0;
    ZSTD_CCtx_reset(zstd, ZSTD_reset_session_and_parameters);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, LEVEL);
    if (!first)
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_minMatch, MIN_MATCH);
    return ZSTD_compress2(zstd, at, bound, part, len);
}

int block_pack(struct block_packer *p, uint32_t type, const struct payload *payload, struct buf *out)
{
    const struct buf *raw = &payload->raw;
    buf_clear(out);
    uint8_t head_bytes[BLOCK_HEAD_SIZE] = {0};
    buf_put(out, head_bytes, sizeof(head_bytes));
    uint32_t from = 0;
    for (uint32_t i = 0; i <= payload->cut_count; i++) {
        uint32_t to = i < payload->cut_count ? payload->cuts[i] : (uint32_t)raw->len;
        size_t n = pack_part(p->zstd, i == 0, raw->data ? raw->data + from : NULL, to - from, out);
        if (out->error || ZSTD_isError(n))
            return out->error ? out->error : -ENOMEM;
        out->len += n;
        from = to;
    }
    struct block_head head = {
        .type = type, .stored = (uint32_t)(out->len - BLOCK_HEAD_SIZE), .raw = (uint32_t)raw->len};
    head.crc = crc32c(out->data + BLOCK_HEAD_SIZE, head.stored);
    head_put(out->data, &head);
    return 0;
}

struct block_unpacker *block_unpacker_new(void)
{
    struct block_unpacker *u = calloc(1, sizeof(*u));
    if (u && !(u->zstd = ZSTD_createDCtx())) {
        free(u);
        u = NULL;
    }
    return u;
}

void block_unpacker_free(struct block_unpacker *u)
{
    if (u)
        ZSTD_freeDCtx(u->zstd);
    free(u);
}

int block_unpack(struct block_unpacker *u, const struct block_head *head, const uint8_t *stored,
                 struct buf *raw)
{
    buf_clear(raw);
    uint8_t *to = buf_reserve(raw, (size_t)head->raw + 1);
    if (!to)
        return raw->error;
    size_t got = ZSTD_decompressDCtx(u->zstd, to, head->raw, stored, head->stored);
    if (ZSTD_isError(got) || got != head->raw)
        return -EBADMSG;
    raw->len = got;
    return 0;
}
