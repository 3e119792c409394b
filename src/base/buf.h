/* buf: a growable byte buffer with a stated maximum.
 *
 * Writers append without checking each call: the first failure (out of memory, or the maximum reached)
 * sticks in `error`, later appends do nothing, and the caller looks once at the end.
 */
#ifndef ZOND_BASE_BUF_H
#define ZOND_BASE_BUF_H

#include "base/base.h"

/* Invariants: data is NULL or holds cap bytes; len <= cap <= max; error is 0, -ENOMEM or -EFBIG.
 * Owned by whoever called buf_init; not shared between threads. */
struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max;
    int error;
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b);
/* Empties the buffer and clears its error; keeps the memory. */
void buf_clear(struct buf *b);

/* Makes room for n more bytes where buf_reserve finds none. */
uint8_t *buf_make_room(struct buf *b, size_t n);

/* Room for n more bytes: the place to write them, or NULL (error is set). The length is not changed. */
static inline uint8_t *buf_reserve(struct buf *b, size_t n)
{
    return !b->error && n <= b->cap - b->len && b->data ? b->data + b->len : buf_make_room(b, n);
}

void buf_put(struct buf *b, const void *bytes, size_t n);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_str(struct buf *b, const char *s);
__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *b, const char *fmt, ...);

/* LEB128: 7 bits a byte, low first; at most 10 bytes. Signed values zig-zag first. */
void buf_put_varint(struct buf *b, uint64_t v);
void buf_put_svarint(struct buf *b, int64_t v);

/* A cursor over bytes that are not trusted. Reading past the end sets `bad` and yields 0. */
struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

static inline struct cursor cursor_of(const void *data, size_t len)
{
    return (struct cursor){.at = data, .end = (const uint8_t *)data + len, .bad = false};
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    if (c->at < c->end)
        return *c->at++;
    c->bad = true;
    return 0;
}

/* A varint of more than one byte, or none that is well-formed. */
uint64_t cursor_long_varint(struct cursor *c);

/* Most varints of a recording are of one byte: they are read in place. */
static inline uint64_t cursor_varint(struct cursor *c)
{
    return c->at < c->end && *c->at < 0x80 && !c->bad ? *c->at++ : cursor_long_varint(c);
}

static inline int64_t cursor_svarint(struct cursor *c)
{
    uint64_t v = cursor_varint(c);
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* n bytes in place, or NULL with `bad` set when fewer are left. */
const uint8_t *cursor_bytes(struct cursor *c, size_t n);

#endif
