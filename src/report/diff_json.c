/* diff_json: the object of zond diff, schema 1: all rows, also those within the noise, which say so. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "report/diff.h"
#include "report/json_text.h"

#define SCHEMA 1

static json_t *change_object(const struct diff_change *c)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:b}", "a", c->value[0], "b", c->value[1], "change",
                     c->value[1] - c->value[0], "noise", c->noise, "clear", (int)c->clear);
}

static struct rec_code code_of(const struct diff_view *v, const struct diff_row *row, int side)
{
    return rec_reader_code(profile_reader(v->profiles[side]), row->code[side]);
}

/* The file and the line on one side; null where it was not seen. */
static json_t *place_object(const struct diff_view *v, const struct diff_row *row, int side)
{
    if (row->code[side] == DIFF_NONE)
        return json_null();
    struct rec_code code = code_of(v, row, side);
    return json_pack("{s:o, s:o, s:o}", "name", json_text_of(profile_reader(v->profiles[side]), code.name),
                     "file",
                     code.file ? json_text_of(profile_reader(v->profiles[side]), code.file) : json_null(),
                     "line", row->line[side] ? json_integer(row->line[side]) : json_null());
}

static json_t *name_of(const struct diff_view *v, const struct diff_row *row)
{
    int side = row->code[1] != DIFF_NONE;
    return json_text_of(profile_reader(v->profiles[side]), code_of(v, row, side).name);
}

static json_t *row_object(const struct diff_view *v, const struct diff_row *row)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "name", name_of(v, row), "a", place_object(v, row, 0), "b",
                     place_object(v, row, 1), "self", change_object(&row->self), "total",
                     change_object(&row->total));
}

static json_t *stack_object(const struct diff_view *v, const struct diff_row *row)
{
    const struct diff_row *rows = v->diff->stacks.rows;
    json_t *names = json_array();
    const struct diff_change *self = &row->self;
    const struct diff_change *total = &row->total;
    for (;; row = &rows[row->caller]) {
        json_array_append_new(names, name_of(v, row));
        if (row->caller == DIFF_NONE)
            break;
    }
    return json_pack("{s:o, s:o, s:o}", "innermost_first", names, "self", change_object(self), "total",
                     change_object(total));
}

struct order {
    const struct diff_row *row;
    double size;
};

static int largest_first(const void *a, const void *b)
{
    const struct order *x = a;
    const struct order *y = b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* The rows by the size of the change of their own time; stacks that are only part of others are left out. */
static json_t *rows_array(const struct diff_view *v, const struct diff_table *table, bool stacks,
                          size_t limit)
{
    struct order *order = calloc(table->count + 1, sizeof(*order));
    json_t *list = json_array();
    size_t n = 0;
    for (size_t i = 0; order && i < table->count; i++) {
        const struct diff_change *c = &table->rows[i].self;
        if (!stacks || c->value[0] > 0 || c->value[1] > 0)
            order[n++] = (struct order){&table->rows[i], fabs(c->value[1] - c->value[0])};
    }
    if (order)
        qsort(order, n, sizeof(*order), largest_first);
    for (size_t i = 0; order && i < n && (!limit || i < limit); i++)
        json_array_append_new(list, stacks ? stack_object(v, order[i].row) : row_object(v, order[i].row));
    free(order);
    return list;
}

static json_t *side_object(const struct diff_view *v, int side)
{
    const struct rec_reader *r = profile_reader(v->profiles[side]);
    const struct rec_header *h = rec_reader_header(r);
    uint64_t offset;
    return json_pack("{s:o, s:o, s:o, s:f, s:f, s:f, s:I, s:b}", "path",
                     json_text(v->paths[side], strlen(v->paths[side])), "command",
                     json_words(h->command, h->command_len), "host", json_text(h->host, strlen(h->host)),
                     "wall_s", (double)profile_elapsed_ns(v->profiles[side]) / NS_PER_S, "cpu_s",
                     (double)profile_cpu_ns(v->profiles[side]) / NS_PER_S, "whole_s", v->diff->whole[side],
                     "samples", (json_int_t)profile_sum(v->profiles[side])->samples, "complete",
                     rec_reader_break(r, &offset) == REC_WHOLE);
}

int report_diff_json(FILE *to, const struct diff_view *v, const struct report_style *style)
{
    static const char *const metrics[METRIC_COUNT] = {"wall", "cpu", "gil", "gc"};
    const struct diff *d = v->diff;
    json_t *o =
        json_pack("{s:s, s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "zond", ZOND_VERSION, "schema", SCHEMA,
                  "metric", metrics[style->metric], "unit", v->shares ? "share" : "s", "a", side_object(v, 0),
                  "b", side_object(v, 1), "functions", rows_array(v, &d->functions, false, style->limit),
                  "lines", rows_array(v, &d->lines, false, style->limit), "stacks",
                  rows_array(v, &d->stacks, true, style->limit));
    if (!o)
        return -ENOMEM;
    int rc = json_dumpf(o, to, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    json_decref(o);
    fputc('\n', to);
    return rc || fflush(to) || ferror(to) ? -EIO : 0;
}
