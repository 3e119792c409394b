/* flat: FlatBuffers written front to back into a buf, as far as Arrow's metadata needs them: a few hundred
 * bytes a message, so nothing is packed. Each member of a table takes 8 bytes, and no table shares its
 * vtable.
 *
 * A reference leads forward: what a member refers to is written after its table, then flat_refer. The first
 * table of a buffer, after flat_root, is its root. Positions are offsets in the buf, whose first byte is that
 * of the buffer.
 */
#ifndef ZOND_EXPORT_FLAT_H
#define ZOND_EXPORT_FLAT_H

#include "base/buf.h"

/* Begins a buffer. */
void flat_root(struct buf *b);

/* A table of so many members, all absent; returns its position. */
uint32_t flat_table(struct buf *b, uint32_t members);
/* Sets a scalar of `size` bytes: 1, 2, 4 or 8. */
void flat_scalar(struct buf *b, uint32_t table, uint32_t member, uint64_t value, size_t size);
/* Lets a member refer to a table, string or vector. */
void flat_refer(struct buf *b, uint32_t table, uint32_t member, uint32_t child);

/* Each returns its position. The bytes of the structs, which are aligned to 8, follow by buf_put. */
uint32_t flat_structs(struct buf *b, uint32_t count);
uint32_t flat_string(struct buf *b, const char *s);
/* A vector of tables, and an entry of it. */
uint32_t flat_tables(struct buf *b, uint32_t count);
void flat_refer_entry(struct buf *b, uint32_t vector, uint32_t entry, uint32_t child);

/* Zeros up to a multiple of `to`, a power of two. */
void flat_pad(struct buf *b, size_t to);

#endif
