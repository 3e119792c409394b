/* calls: own and total time of functions, then for the first of them who calls it and what it calls. All is
 * sampled: shares of time, no numbers of calls.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report/report.h"
#include "report/sections.h"
#include "report/units.h"

#define FUNCTIONS 25
/* Functions with a block of callers and callees, and neighbours in it. */
#define BLOCKS 10
#define NEIGHBOURS 6

typedef int neighbours_fn(const struct profile *p, uint32_t code, enum metric by,
                          struct profile_function **out, size_t *count);

static const struct table_column neighbour_columns[] = {
    {"", TABLE_LEFT, 0, 0, 0},
    {"", TABLE_RIGHT, 0, 0, 0},
    {"", TABLE_RIGHT, 0, 0, 2},
    {"", TABLE_LEFT, TEXT_CUT_END, 14, 0},
    {"", TABLE_LEFT, TEXT_CUT_START, 16, 1},
};

static void more_row(struct table *table, const char *side, size_t more)
{
    table_cell(table, INK_DIM, "%s", side);
    table_cell(table, INK_PLAIN, "%s", "");
    table_cell(table, INK_PLAIN, "%s", "");
    table_cell(table, INK_DIM, "and %zu more", more);
    table_cell(table, INK_PLAIN, "%s", "");
}

/* Rows of one side of a block; shares are of the function's own total. */
static int neighbour_rows(struct table *table, const struct term *t, const struct profile *p,
                          const struct profile_function *of, const char *side, neighbours_fn *find)
{
    enum metric by = t->style.metric;
    uint64_t whole = weights_of(&of->total, by);
    struct profile_function *near = NULL;
    size_t count = 0;
    int rc = find(p, of->code, by, &near, &count);
    for (size_t i = 0; rc == 0 && i < count && i < NEIGHBOURS && weights_of(&near[i].total, by); i++) {
        uint64_t total = weights_of(&near[i].total, by);
        table_cell(table, INK_DIM, "%s", side);
        common_share_cell(table, total, whole);
        common_time_cell(table, total, whole);
        common_function_cell(table, p, near[i].code);
        common_place_cell(table, t, p, near[i].code,
                          rec_reader_code(profile_reader(p), near[i].code).first_line);
    }
    if (rc == 0 && count > NEIGHBOURS && weights_of(&near[NEIGHBOURS].total, by))
        more_row(table, side, count - NEIGHBOURS);
    free(near);
    return rc;
}

/* The function that a block is about: its name, and its own and total time. */
static void block_title(struct term *t, const struct profile *p, const struct profile_function *f)
{
    enum metric by = t->style.metric;
    uint64_t whole = weights_of(profile_sum(p), by);
    char self[UNITS_MAX], total[UNITS_MAX], times[2 * UNITS_MAX + 32];
    struct buf name, fitted;
    size_t len;
    const char *s =
        rec_reader_string(profile_reader(p), rec_reader_code(profile_reader(p), f->code).name, &len);
    snprintf(times, sizeof(times), "self %s, total %s", units_percent(self, weights_of(&f->self, by), whole),
             units_percent(total, weights_of(&f->total, by), whole));
    buf_init(&name, TEXT_MAX * 10);
    buf_init(&fitted, TEXT_MAX * 10);
    text_clean(&name, s, len, t->style.unicode);
    text_fit(&fitted, name.len ? (char *)name.data : "", name.len, t->style.width - (int)strlen(times) - 2,
             TEXT_CUT_END, t->style.unicode);
    term_newline(t);
    term_clean(t, INK_STRONG, (char *)fitted.data, fitted.len);
    term_put(t, INK_DIM, "  %s", times);
    term_newline(t);
    buf_release(&fitted);
    buf_release(&name);
}

static int print_block(struct term *t, const struct profile *p, const struct profile_function *f)
{
    struct table *table = table_new(t, neighbour_columns, ARRAY_LEN(neighbour_columns));
    if (!table)
        return -ENOMEM;
    int rc = neighbour_rows(table, t, p, f, "from", profile_callers);
    if (rc == 0)
        rc = neighbour_rows(table, t, p, f, "to", profile_callees);
    block_title(t, p, f);
    if (rc == 0)
        rc = table_print(table);
    table_free(table);
    return rc;
}

static int print_blocks(struct term *t, struct profile *p)
{
    size_t count;
    size_t limit = t->style.limit && t->style.limit < BLOCKS ? t->style.limit : BLOCKS;
    const struct profile_function *f = profile_functions(p, t->style.metric, &count);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count && i < limit && weights_of(&f[i].total, t->style.metric); i++)
        rc = print_block(t, p, &f[i]);
    return rc;
}

int report_calls(FILE *to, struct profile *p, const struct report_style *style)
{
    static const char note[] = "Sampled: times are shares of looks at the stack; calls are not counted.";
    struct term t;
    int rc = 0;
    term_open(&t, to, style);
    if (common_opening(&t, p)) {
        term_paragraph(&t, INK_DIM, NULL, note, sizeof(note) - 1);
        rc = section_functions(&t, p, style->limit ? style->limit : FUNCTIONS, true);
        if (rc == 0) {
            term_heading(&t, "Callers and callees", "in shares of the function's total");
            rc = print_blocks(&t, p);
        }
    }
    int closed = term_close(&t);
    return rc ? rc : closed;
}
