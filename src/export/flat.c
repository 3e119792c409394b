/* flat: see flat.h. */
#include "export/flat.h"

#include <string.h>

#define SLOT 8 /* bytes a member; a table starts with one for where its vtable is */

static void put_u16(struct buf *b, size_t v)
{
    uint16_t bytes = (uint16_t)v;
    buf_put(b, &bytes, sizeof(bytes));
}

static void put_u32(struct buf *b, size_t v)
{
    uint32_t bytes = (uint32_t)v;
    buf_put(b, &bytes, sizeof(bytes));
}

static void set(struct buf *b, size_t at, uint64_t value, size_t size)
{
    if (!b->error)
        memcpy(b->data + at, &value, size);
}

void flat_pad(struct buf *b, size_t to)
{
    while (!b->error && b->len % to)
        buf_put_u8(b, 0);
}

void flat_root(struct buf *b)
{
    put_u32(b, 0);
}

/* The vtable ends where the table starts: its own size, the table's, and where each member is, 0 when absent.
 * The first table of a buffer is its root. */
uint32_t flat_table(struct buf *b, uint32_t members)
{
    size_t vtable_size = 4 + 2 * (size_t)members, table_size = SLOT * (1 + (size_t)members);
    bool root = b->len == 4;
    while (!b->error && (b->len + vtable_size) % SLOT)
        buf_put_u8(b, 0);
    put_u16(b, vtable_size);
    put_u16(b, table_size);
    for (uint32_t i = 0; i < members; i++)
        put_u16(b, 0);
    uint32_t table = (uint32_t)b->len;
    put_u32(b, vtable_size);
    for (size_t i = 4; i < table_size; i += 4)
        put_u32(b, 0);
    if (root)
        set(b, 0, table, 4);
    return table;
}

/* Marks the member as there; returns where it is. */
static size_t member_at(struct buf *b, uint32_t table, uint32_t member)
{
    uint32_t vtable_size = 0;
    if (b->error)
        return 0;
    memcpy(&vtable_size, b->data + table, sizeof(vtable_size));
    size_t offset = SLOT * (1 + (size_t)member);
    set(b, table - vtable_size + 4 + 2 * (size_t)member, offset, 2);
    return table + offset;
}

void flat_scalar(struct buf *b, uint32_t table, uint32_t member, uint64_t value, size_t size)
{
    set(b, member_at(b, table, member), value, size);
}

/* A reference is the distance from itself. */
static void refer(struct buf *b, size_t at, uint32_t child)
{
    set(b, at, child - at, 4);
}

void flat_refer(struct buf *b, uint32_t table, uint32_t member, uint32_t child)
{
    refer(b, member_at(b, table, member), child);
}

/* The count of a vector stands right before its first element. */
uint32_t flat_structs(struct buf *b, uint32_t count)
{
    while (!b->error && b->len % SLOT != SLOT - 4)
        buf_put_u8(b, 0);
    uint32_t vector = (uint32_t)b->len;
    put_u32(b, count);
    return vector;
}

uint32_t flat_string(struct buf *b, const char *s)
{
    flat_pad(b, 4);
    uint32_t string = (uint32_t)b->len;
    put_u32(b, strlen(s));
    buf_put(b, s, strlen(s) + 1);
    return string;
}

uint32_t flat_tables(struct buf *b, uint32_t count)
{
    flat_pad(b, 4);
    uint32_t vector = (uint32_t)b->len;
    put_u32(b, count);
    for (uint32_t i = 0; i < count; i++)
        put_u32(b, 0);
    return vector;
}

void flat_refer_entry(struct buf *b, uint32_t vector, uint32_t entry, uint32_t child)
{
    refer(b, vector + 4 + 4 * (size_t)entry, child);
}
