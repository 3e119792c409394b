/* hot: the functions and the lines that took most of the time. */
#include <stdlib.h>

#include "report/places.h"
#include "report/sections.h"
#include "report/source.h"
#include "report/units.h"

/* Says how the rows are sorted, and how to leave waiting out when it covers all else. */
static void functions_heading(struct term *t, const struct profile *p)
{
    const struct weights *sum = profile_sum(p);
    enum metric by = t->style.metric;
    bool waits = by == METRIC_WALL && !t->style.tasks && sum->blocked > sum->wall / 2;
    term_heading(t, "Functions", "%sby %s, sampled%s", t->style.tasks ? "awaited by waiting tasks, " : "",
                 metric_name(by), waits ? "; --metric cpu leaves out waiting" : "");
}

static const struct table_column function_columns[] = {
    {"self", TABLE_RIGHT, 0, 0, 0},
    {"", TABLE_BAR, 0, 0, 4},
    {"", TABLE_RIGHT, 0, 0, 2},
    {"total", TABLE_RIGHT, 0, 0, 0},
    {"", TABLE_RIGHT, 0, 0, 3},
    {"function", TABLE_LEFT, TEXT_CUT_END, 14, 0},
    {"", TABLE_LEFT, TEXT_CUT_START, 16, 1},
};

int section_functions(struct term *t, struct profile *p, size_t limit, bool all)
{
    enum metric by = t->style.metric;
    size_t count;
    uint64_t whole = weights_of(profile_sum(p), by);
    const struct profile_function *f = profile_functions(p, by, &count);
    struct table *table = table_new(t, function_columns, ARRAY_LEN(function_columns));
    uint64_t most = 0;
    for (size_t i = 0; i < count && i < limit; i++)
        most = max_u64(most, weights_of(&f[i].total, by));
    for (size_t i = 0; i < count && i < limit && weights_of(all ? &f[i].total : &f[i].self, by); i++) {
        uint64_t self = weights_of(&f[i].self, by);
        uint64_t total = weights_of(&f[i].total, by);
        common_share_cell(table, self, whole);
        table_bar(table, INK_BAR, (double)self / (double)whole);
        common_time_cell(table, self, most);
        common_share_cell(table, total, whole);
        common_time_cell(table, total, most);
        common_function_cell(table, p, f[i].code);
        common_place_cell(table, t, p, f[i].code, rec_reader_code(profile_reader(p), f[i].code).first_line);
    }
    functions_heading(t, p);
    int rc = table_print(table);
    table_free(table);
    return rc;
}

static const struct table_column line_columns[] = {
    {"self", TABLE_RIGHT, 0, 0, 0},
    {"", TABLE_BAR, 0, 0, 2},
    {"", TABLE_RIGHT, 0, 0, 1},
    {"line", TABLE_LEFT, TEXT_CUT_START, 18, 0},
    {"", TABLE_LEFT, TEXT_CUT_END, 24, 0},
};

static void line_row(struct table *table, struct term *t, const struct profile *p, const struct place *l,
                     uint64_t whole, uint64_t most)
{
    common_share_cell(table, l->self, whole);
    table_bar(table, INK_BAR, (double)l->self / (double)whole);
    common_time_cell(table, l->self, most);
    common_place_cell(table, t, p, l->code, l->line);
    common_source_cell(table, p, l->code, l->line);
}

int section_lines(struct term *t, struct profile *p, size_t limit)
{
    enum metric by = t->style.metric;
    struct place *lines;
    size_t count;
    int rc = places_new(p, by, &lines, &count);
    if (rc)
        return rc;
    struct table *table = table_new(t, line_columns, ARRAY_LEN(line_columns));
    for (size_t i = 0; i < count && i < limit && lines[i].self; i++)
        line_row(table, t, p, &lines[i], weights_of(profile_sum(p), by), lines[0].self);
    if (count && lines[0].self)
        term_heading(t, "Lines", "by %s, sampled", metric_name(by));
    rc = table_print(table);
    table_free(table);
    free(lines);
    return rc;
}
