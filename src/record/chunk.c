/* chunk: see chunk.h. */
#include "record/chunk.h"

/* Sections that are short or hardly vary are compressed together; those that are noise, each of its own kind,
 * take less room apart. */
static const uint8_t together[] = {
    REC_SEC_EPOCH,       REC_SEC_STRINGS,    REC_SEC_CODES,   REC_SEC_MODULES,      REC_SEC_PLACES,
    REC_SEC_FRAMES,      REC_SEC_PROCESSES,  REC_SEC_THREADS, REC_SEC_THREAD_NAMES, REC_SEC_PYTHONS,
    REC_SEC_EXITS,       REC_SEC_LOSSES,     REC_SEC_STATS,   REC_SEC_PAUSES,       REC_SEC_HEAPS,
    REC_SEC_HEAP_POINTS, REC_SEC_COLLECTORS, REC_COL_THREAD,  REC_COL_START,        REC_COL_COUNT,
};
static const uint8_t apart[] = {
    REC_COL_END,    REC_COL_CPU,        REC_COL_STATE,      REC_COL_SYSCALL,
    REC_COL_STACK,  REC_COL_UP,         REC_COL_GROWN,      REC_COL_LEAVES,
    REC_COL_FRAMES, REC_SEC_HEAP_NODES, REC_SEC_HEAP_SITES, REC_SEC_COLLECTIONS,
};

void chunk_init(struct chunk *c)
{
    for (size_t i = 0; i < REC_SECTIONS; i++)
        buf_init(&c->sections[i], CHUNK_SECTION_MAX);
}

void chunk_release(struct chunk *c)
{
    for (size_t i = 0; i < REC_SECTIONS; i++)
        buf_release(&c->sections[i]);
}

size_t chunk_len(const struct chunk *c)
{
    size_t len = 0;
    for (size_t i = 0; i < REC_SECTIONS; i++)
        len += c->sections[i].len;
    return len;
}

/* Moves a section to the end of the payload. */
static void take(struct payload *to, struct chunk *c, uint8_t id)
{
    struct buf *section = &c->sections[id];
    if (section->len) {
        buf_put_varint(&to->raw, id);
        buf_put_varint(&to->raw, section->len);
        buf_put(&to->raw, section->data, section->len);
    }
    if (section->error)
        to->raw.error = section->error;
    buf_clear(section);
}

void chunk_take(struct chunk *c, struct payload *payload)
{
    *payload = (struct payload){0};
    buf_init(&payload->raw, REC_MAX_RAW);
    /* Once for all: the content, and the longest id and length of each section. */
    buf_reserve(&payload->raw, chunk_len(c) + REC_SECTIONS * 20);
    for (size_t i = 0; i < ARRAY_LEN(together); i++)
        take(payload, c, together[i]);
    for (size_t i = 0; i < ARRAY_LEN(apart); i++) {
        size_t len = payload->raw.len;
        take(payload, c, apart[i]);
        if (len && payload->raw.len > len)
            payload->cuts[payload->cut_count++] = (uint32_t)len;
    }
}
