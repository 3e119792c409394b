/* wire: fields of protobuf messages, appended to a buf.
 *
 * A message within another is made in a buf of its own first, as its length stands before it. What a format
 * of ours holds is small pieces in long rows, so no piece needs more than a buf, and the rows are streamed.
 */
#ifndef ZOND_EXPORT_WIRE_H
#define ZOND_EXPORT_WIRE_H

#include <string.h>

#include "base/buf.h"

/* int64, uint64, uint32, enum and bool; a negative int64 is passed as its two's complement. */
static inline void wire_uint(struct buf *to, uint32_t field, uint64_t value)
{
    buf_put_varint(to, (uint64_t)field << 3);
    buf_put_varint(to, value);
}

/* fixed64. */
static inline void wire_fixed64(struct buf *to, uint32_t field, uint64_t value)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
    buf_put_varint(to, (uint64_t)field << 3 | 1);
    buf_put(to, bytes, sizeof(bytes));
}

/* What stands before a string, a message or a packed row of numbers of `len` bytes. */
static inline void wire_head(struct buf *to, uint32_t field, uint64_t len)
{
    buf_put_varint(to, (uint64_t)field << 3 | 2);
    buf_put_varint(to, len);
}

static inline void wire_bytes(struct buf *to, uint32_t field, const void *bytes, size_t len)
{
    wire_head(to, field, len);
    buf_put(to, bytes, len);
}

static inline void wire_string(struct buf *to, uint32_t field, const char *s)
{
    wire_bytes(to, field, s, strlen(s));
}

/* A finished message, or the numbers of a packed field. An error of `inner` becomes that of `to`. */
static inline void wire_message(struct buf *to, uint32_t field, const struct buf *inner)
{
    wire_bytes(to, field, inner->data, inner->len);
    if (inner->error && !to->error)
        to->error = inner->error;
}

#endif
