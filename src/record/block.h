/* block: the framing of a recording. A block is a head of fixed size and a zstd payload, each with a checksum
 * of its own, so that a broken length is told from a cut file.
 */
#ifndef ZOND_RECORD_BLOCK_H
#define ZOND_RECORD_BLOCK_H

#include "base/buf.h"
#include "record/model.h"

#define BLOCK_HEAD_SIZE 20

/* stored: bytes of the payload as they are in the file. raw: the same decompressed. crc: of the stored bytes.
 */
struct block_head {
    uint32_t type;
    uint32_t stored;
    uint32_t raw;
    uint32_t crc;
};

/* The first bytes of a file of format `version`; to and from have REC_PREAMBLE_SIZE bytes. */
void preamble_put(uint8_t *to, uint32_t version);
/* -EINVAL when this is no recording, -EBADMSG when it is a damaged one. */
int preamble_get(const uint8_t *from, uint32_t *version);

/* A length, then so many bytes. */
void block_put_bytes(struct buf *to, const void *bytes, size_t len);
/* The payload of a header block. */
void rec_header_put(struct buf *to, const struct rec_header *h);

/* -EBADMSG when the checksum of the head is wrong or a length is beyond the format's limits. */
int block_head_get(const uint8_t from[BLOCK_HEAD_SIZE], struct block_head *head);

/* Whether head->stored bytes at `stored` have the payload's checksum. */
bool block_fits(const struct block_head *head, const uint8_t *stored);

/* A payload before compression, up to REC_MAX_RAW bytes. cuts: offsets in ascending order, neither 0 nor the
 * end, where a part begins that has statistics of its own. Each part becomes a zstd frame: to a reader they
 * are one. */
#define PAYLOAD_MAX_CUTS 32
struct payload {
    struct buf raw;
    uint32_t cuts[PAYLOAD_MAX_CUTS];
    uint32_t cut_count;
};

/* Compressor and decompressor, kept for their memory. Each belongs to one thread. */
struct block_packer;
struct block_packer *block_packer_new(void); /* NULL: out of memory */
void block_packer_free(struct block_packer *p);
/* Replaces the content of out by a whole block: head and payload. */
int block_pack(struct block_packer *p, uint32_t type, const struct payload *payload, struct buf *out);

struct block_unpacker;
struct block_unpacker *block_unpacker_new(void); /* NULL: out of memory */
void block_unpacker_free(struct block_unpacker *u);
/* Replaces the content of raw, which may grow to REC_MAX_RAW + 1, by the payload of head->stored bytes at
 * `stored`, whose checksum fits. -EBADMSG when it does not decompress to head->raw bytes. */
int block_unpack(struct block_unpacker *u, const struct block_head *head, const uint8_t *stored,
                 struct buf *raw);

#endif
