/* lines: see lines.h. The three encodings are described in CPython's Objects/lnotab_notes.txt (up to 3.10)
 * and InternalDocs/code_objects.md (3.11 and later). */
#include "python/lines.h"

#include "base/buf.h"

/* 3.8-3.9: pairs of (bytes forward, signed lines forward). */
static struct py_place by_lnotab(struct cursor c, uint32_t first_line, uint32_t at)
{
    int64_t line = first_line;
    uint64_t address = 0;
    while (c.end - c.at >= 2) {
        address += cursor_u8(&c);
        if (address > at)
            break;
        line += (int8_t)cursor_u8(&c);
    }
    return (struct py_place){.line = line > 0 ? (uint32_t)line : 0};
}

/* 3.10: pairs of (length in bytes, signed lines forward); -128 marks instructions without a line. */
static struct py_place by_linetable(struct cursor c, uint32_t first_line, uint32_t at)
{
    int64_t line = first_line;
    uint64_t end = 0;
    while (c.end - c.at >= 2) {
        end += cursor_u8(&c);
        int8_t delta = (int8_t)cursor_u8(&c);
        if (delta != -128)
            line += delta;
        if (end > at)
            return (struct py_place){.line = delta == -128 || line < 0 ? 0 : (uint32_t)line};
    }
    return (struct py_place){.line = first_line};
}

/* 6 bits a byte, low first; 0x40 means that more follow. */
static uint32_t read_varint6(struct cursor *c)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 32; shift += 6) {
        uint8_t byte = cursor_u8(c);
        value |= (uint32_t)(byte & 63) << shift;
        if (!(byte & 64))
            return value;
    }
    c->bad = true;
    return 0;
}

static int32_t read_svarint6(struct cursor *c)
{
    uint32_t value = read_varint6(c);
    return value & 1 ? -(int32_t)(value >> 1) : (int32_t)(value >> 1);
}

/* Codes of an entry of the location table. */
enum {
    CODE_SHORT_LAST = 9,
    CODE_ONE_LINE = 10, /* to 12 */
    CODE_NO_COLUMNS = 13,
    CODE_LONG = 14,
    CODE_NONE = 15,
};

/* One entry's contents; *line is carried from entry to entry. */
static struct py_place read_location(struct cursor *c, unsigned code, int64_t *line)
{
    uint32_t end_delta = 0, column = 0, end_column = 0;
    if (code <= CODE_SHORT_LAST) {
        uint8_t byte = cursor_u8(c);
        column = (code << 3 | (byte >> 4 & 7)) + 1;
        end_column = column + (byte & 15);
    } else if (code < CODE_NO_COLUMNS) {
        *line += code - CODE_ONE_LINE;
        column = cursor_u8(c) + 1u;
        end_column = cursor_u8(c) + 1u;
    } else if (code == CODE_NO_COLUMNS) {
        *line += read_svarint6(c);
    } else if (code == CODE_LONG) {
        *line += read_svarint6(c);
        end_delta = read_varint6(c);
        column = read_varint6(c);
        end_column = read_varint6(c);
    } else {
        return (struct py_place){0};
    }
    uint32_t start = *line > 0 && *line < INT32_MAX ? (uint32_t)*line : 0;
    return (struct py_place){
        .line = start, .end_line = start + end_delta, .column = column, .end_column = end_column};
}

static struct py_place by_locations(struct cursor c, uint32_t first_line, uint32_t at)
{
    int64_t line = first_line;
    uint64_t end = 0;
    while (!c.bad && c.at < c.end) {
        uint8_t first = cursor_u8(&c);
        end += ((first & 7) + 1u) * 2u;
        struct py_place place = read_location(&c, first >> 3 & 15, &line);
        if (end > at && !c.bad)
            return place;
    }
    return (struct py_place){.line = first_line};
}

struct py_place py_place_of(enum lines_kind kind, const uint8_t *table, size_t len, uint32_t first_line,
                            uint32_t at)
{
    struct cursor c = cursor_of(table, len);
    switch (kind) {
    case LINES_LNOTAB:
        return by_lnotab(c, first_line, at);
    case LINES_LINETABLE:
        return by_linetable(c, first_line, at);
    case LINES_LOCATIONS:
        return by_locations(c, first_line, at);
    }
    return (struct py_place){.line = first_line};
}
