/* chunk: the open chunk of a writer, a growing buffer for each section of the format. */
#ifndef ZOND_RECORD_CHUNK_H
#define ZOND_RECORD_CHUNK_H

#include "record/block.h"
#include "record/format.h"

/* A section may grow to this. Whoever appends takes the chunk before a second one could, so that it stays
 * below REC_MAX_RAW. */
#define CHUNK_SECTION_MAX (8u << 20)

struct chunk {
    struct buf sections[REC_SECTIONS];
};

void chunk_init(struct chunk *c);
void chunk_release(struct chunk *c);

/* Bytes in all sections. */
size_t chunk_len(const struct chunk *c);

/* Joins the sections to a payload and empties them. payload->raw.error tells when that failed, or an append
 * before; the caller owns payload->raw in either case. */
void chunk_take(struct chunk *c, struct payload *payload);

#endif
