/* pstats: what cProfile saves and Python's pstats and snakeviz load: a dict in the marshal format, from
 * (file, line, function) to (calls, calls, own time, total time, {caller: the same}). zond samples, so where
 * that has calls, this has the looks at stacks that the function, or the call, is on.
 *
 * A key must not occur twice, but two functions can have one name, file and line, at the latest where text
 * that is not UTF-8 has become U+FFFD: those are one row. A function without a file has "~" for it, as
 * cProfile has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/calls.h"
#include "export/formats.h"
#include "export/label.h"

#define PIECE (1u << 16) /* what is gathered before it is written */
#define DIGIT_BITS 15    /* of marshal's long integers */

struct key {
    uint32_t file; /* of strings */
    uint32_t line;
    uint32_t name; /* of strings */
};

/* keys: by row. by_names maps (file, name) to a number, by_key (that, line) to a row. */
struct pstats {
    struct strtab strings;
    struct map by_names, by_key;
    struct key *keys;
    uint32_t key_count;
    struct calls calls;
    struct buf out, scratch;
    FILE *to;
};

static void put_i32(struct buf *b, uint32_t v)
{
    uint8_t bytes[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    buf_put(b, bytes, sizeof(bytes));
}

static void put_int(struct buf *b, uint64_t v)
{
    uint32_t digits = 0;
    if (v <= INT32_MAX) {
        buf_put_u8(b, 'i');
        put_i32(b, (uint32_t)v);
        return;
    }
    for (uint64_t rest = v; rest; rest >>= DIGIT_BITS)
        digits++;
    buf_put_u8(b, 'l');
    put_i32(b, digits);
    for (; v; v >>= DIGIT_BITS) {
        buf_put_u8(b, (uint8_t)v);
        buf_put_u8(b, v >> 8 & 0x7f);
    }
}

static void put_seconds(struct buf *b, uint64_t ns)
{
    double s = (double)ns / NS_PER_S;
    buf_put_u8(b, 'g');
    buf_put(b, &s, sizeof(s)); /* little-endian, as this machine is */
}

static void put_tuple(struct buf *b, uint8_t count)
{
    buf_put_u8(b, ')');
    buf_put_u8(b, count);
}

static void put_string(struct pstats *g, uint32_t string)
{
    size_t len = strtab_len(&g->strings, string);
    buf_put_u8(&g->out, 'u');
    put_i32(&g->out, (uint32_t)len);
    buf_put(&g->out, strtab_get(&g->strings, string), len);
}

/* The number of a key of a map: the one it has, or the next. */
static int number_of(struct map *m, uint32_t high, uint32_t low, uint32_t *out)
{
    uint64_t key = (uint64_t)high << 32 | low;
    *out = map_get(m, key);
    if (*out != MAP_NONE)
        return 0;
    *out = (uint32_t)m->count;
    return map_put(m, key, *out);
}

static int find_row(struct pstats *g, const struct label *l, uint32_t *row)
{
    struct key key = {.line = l->line};
    const char *file = l->file_len ? l->file : "~";
    uint32_t names;
    int rc = label_intern(&g->strings, &g->scratch, file, l->file_len ? l->file_len : 1, &key.file);
    if (rc == 0)
        rc = label_intern(&g->strings, &g->scratch, l->name, l->name_len, &key.name);
    if (rc == 0)
        rc = number_of(&g->by_names, key.file, key.name, &names);
    if (rc == 0)
        rc = number_of(&g->by_key, names, key.line, row);
    if (rc == 0 && *row == g->key_count)
        g->keys[g->key_count++] = key;
    return rc;
}

/* Gives each spot the row of its key. */
static int find_rows(struct pstats *g, const struct paths *p, uint32_t *row_of)
{
    struct label l;
    int rc = strtab_init(&g->strings);
    g->keys = calloc((size_t)p->spot_count + 1, sizeof(*g->keys));
    if (!g->keys)
        return -ENOMEM;
    for (uint32_t i = 0; rc == 0 && i < p->spot_count; i++) {
        label_of_spot(p, i, &l);
        rc = find_row(g, &l, &row_of[i]);
    }
    return rc;
}

static int write_piece(struct pstats *g, size_t beyond)
{
    if (g->out.error || g->out.len < beyond)
        return g->out.error;
    fwrite(g->out.data, 1, g->out.len, g->to);
    buf_clear(&g->out);
    return 0;
}

static void put_key(struct pstats *g, uint32_t row)
{
    put_tuple(&g->out, 3);
    put_string(g, g->keys[row].file);
    put_int(&g->out, g->keys[row].line);
    put_string(g, g->keys[row].name);
}

static void put_cost(struct pstats *g, const struct cost *c)
{
    put_int(&g->out, c->total.looks);
    put_int(&g->out, c->total.looks);
    put_seconds(&g->out, c->self.weight);
    put_seconds(&g->out, c->total.weight);
}

static int put_row(struct pstats *g, uint32_t row)
{
    const struct calls *c = &g->calls;
    put_key(g, row);
    put_tuple(&g->out, 5);
    put_cost(g, &c->rows[row]);
    buf_put_u8(&g->out, '{');
    for (uint32_t i = c->first_call[row]; i; i = c->calls[i].next) {
        if (!c->calls[i].cost.total.weight)
            continue;
        put_key(g, c->calls[i].caller);
        put_tuple(&g->out, 4);
        put_cost(g, &c->calls[i].cost);
    }
    buf_put_u8(&g->out, '0');
    return write_piece(g, PIECE);
}

static int put_rows(struct pstats *g, const struct paths *p)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < p->count; i++) {
        if (p->nodes[i].weight)
            calls_add(&g->calls, i, (struct sum){p->nodes[i].weight, p->nodes[i].looks});
    }
    buf_put_u8(&g->out, '{');
    for (uint32_t i = 0; rc == 0 && i < g->calls.row_count; i++) {
        if (g->calls.rows[i].total.weight)
            rc = put_row(g, i);
    }
    buf_put_u8(&g->out, '0');
    return rc ? rc : write_piece(g, 0);
}

static int put_all(struct pstats *g, const struct paths *p)
{
    uint32_t *row_of = calloc((size_t)p->spot_count + 1, sizeof(*row_of));
    int rc = row_of ? find_rows(g, p, row_of) : -ENOMEM;
    if (rc == 0)
        rc = calls_init(&g->calls, p, row_of, g->key_count);
    if (rc == 0)
        rc = put_rows(g, p);
    calls_release(&g->calls);
    free(row_of);
    return rc;
}

int export_pstats(FILE *to, struct rec_reader *r, const struct export_options *o)
{
    struct pstats g = {.to = to};
    struct paths p;
    buf_init(&g.out, UINT32_MAX);
    buf_init(&g.scratch, 2 * STRTAB_MAX_LEN);
    map_init(&g.by_names);
    map_init(&g.by_key);
    int rc = paths_read(&p, r, o, false);
    if (rc == 0)
        rc = put_all(&g, &p);
    strtab_release(&g.strings);
    map_release(&g.by_names);
    map_release(&g.by_key);
    free(g.keys);
    buf_release(&g.out);
    buf_release(&g.scratch);
    paths_release(&p);
    if (rc == 0 && (fflush(to) || ferror(to)))
        rc = -EIO;
    return rc;
}
