/* diff: what changed between two recordings, the largest changes first, and only those that are clear: how
 * many were left out as noise is said. analysis/diff.h decides what is.
 */
#include "report/diff.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report/common.h"
#include "report/units.h"

#define ROWS 10
#define COMMAND_MAX (TEXT_MAX * 10)
#define STACK_FRAMES 64 /* from the innermost; far more than fit on a line */

static const char side_names[DIFF_SIDES][2] = {"A", "B"};

/* Which rows a section shows, and by which of their changes they are sorted. */
enum pick { PICK_BOTH, PICK_ONLY_A, PICK_ONLY_B };

struct section {
    const char *title;
    const struct diff_table *rows;
    enum pick pick;
    bool lines;
    bool stacks;
};

struct order {
    const struct diff_row *row;
    double size;
};

static double change_of(const struct diff_change *c)
{
    return c->value[1] - c->value[0];
}

/* What was seen on one side only is shown by its total: it may only have called others. */
static const struct diff_change *shown(const struct section *s, const struct diff_row *row)
{
    return s->pick == PICK_BOTH ? &row->self : &row->total;
}

static bool picks(const struct section *s, const struct diff_row *row)
{
    if (s->stacks)
        return true;
    enum pick of_row = diff_only(row, 0) ? PICK_ONLY_A : diff_only(row, 1) ? PICK_ONLY_B : PICK_BOTH;
    return of_row == s->pick;
}

static int largest_first(const void *a, const void *b)
{
    const struct order *x = a;
    const struct order *y = b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* The clear rows, the largest change first; *noise is how many others differ. */
static struct order *order_of(const struct section *s, size_t *count, size_t *noise)
{
    struct order *order = calloc(s->rows->count + 1, sizeof(*order));
    *count = 0;
    *noise = 0;
    for (size_t i = 0; order && i < s->rows->count; i++) {
        const struct diff_row *row = &s->rows->rows[i];
        const struct diff_change *c = shown(s, row);
        if (!picks(s, row))
            continue;
        if (c->clear)
            order[(*count)++] = (struct order){row, fabs(change_of(c))};
        else
            *noise += change_of(c) != 0;
    }
    if (order)
        qsort(order, *count, sizeof(*order), largest_first);
    return order;
}

/* Cells ----------------------------------------------------------------------------------------------- */

/* A value in the unit of its column: seconds like the largest, or percent. */
static const char *value_text(char out[static UNITS_MAX], const struct diff_view *v, double value,
                              double most)
{
    if (v->shares)
        snprintf(out, UNITS_MAX, "%.1f%%", 100 * value);
    else
        units_time_like(out, (uint64_t)(value * NS_PER_S + 0.5), (uint64_t)(most * NS_PER_S));
    return out;
}

static void value_cell(struct table *table, const struct diff_view *v, double value, double most)
{
    char text[UNITS_MAX];
    if (value > 0)
        table_cell(table, INK_PLAIN, "%s", value_text(text, v, value, most));
    else
        table_cell(table, INK_DIM, "%s", "-");
}

static const char *arrow(const struct term *t, double change)
{
    if (change == 0)
        return "=";
    if (change > 0)
        return t->style.unicode ? "\u25b2" : "^";
    return t->style.unicode ? "\u25bc" : "v";
}

/* In points where shares are compared. */
static void change_text(char *out, size_t size, const struct term *t, const struct diff_view *v,
                        double change, double most)
{
    char text[UNITS_MAX];
    const char *sign = change < 0 ? "-" : change > 0 ? "+" : "";
    if (v->shares)
        snprintf(text, sizeof(text), "%.1f points", 100 * fabs(change));
    else
        value_text(text, v, fabs(change), most);
    snprintf(out, size, "%s %s%s", arrow(t, change), sign, text);
}

/* The change as a share of A's whole, so that the shares of all functions sum to that of the whole. */
static void share_text(char *out, size_t size, const struct diff_view *v, double change)
{
    if (v->shares || v->diff->whole[0] <= 0)
        *out = 0;
    else
        snprintf(out, size, "%+.1f%%", 100 * change / v->diff->whole[0]);
}

/* Code and line of a row as they are in B, or in A where B has not seen it. */
static void name_cells(struct table *table, const struct term *t, const struct diff_view *v,
                       const struct section *s, const struct diff_row *row)
{
    int side = row->code[1] != DIFF_NONE;
    common_function_cell(table, v->profiles[side], row->code[side]);
    common_place_cell(table, t, v->profiles[side], row->code[side], row->line[side]);
    if (!s->lines)
        return;
    if (row->line[0] && row->line[1] && row->line[0] != row->line[1])
        table_cell(table, INK_DIM, "was %u", row->line[0]);
    else
        table_cell(table, INK_DIM, "%s", "");
}

/* The functions of a stack, the innermost first. */
static void stack_cell(struct table *table, const struct term *t, const struct diff_view *v,
                       const struct diff_row *row)
{
    const struct diff_row *rows = v->diff->stacks.rows;
    struct buf text;
    buf_init(&text, TEXT_MAX);
    for (int n = 0; n < STACK_FRAMES; n++) {
        int side = row->code[1] != DIFF_NONE;
        const struct rec_reader *r = profile_reader(v->profiles[side]);
        size_t len;
        const char *name = rec_reader_string(r, rec_reader_code(r, row->code[side]).name, &len);
        if (n)
            buf_put_str(&text, t->style.unicode ? " \u2039 " : " < ");
        buf_put(&text, name, len);
        if (row->caller == DIFF_NONE)
            break;
        row = &rows[row->caller];
    }
    table_foreign(table, INK_PLAIN, (char *)text.data, text.len);
    buf_release(&text);
}

/* Sections -------------------------------------------------------------------------------------------- */

static const struct table_column function_columns[] = {
    {"A", TABLE_RIGHT, 0, 0, 2},
    {"B", TABLE_RIGHT, 0, 0, 2},
    {"", TABLE_RIGHT, 0, 0, 0},
    {"", TABLE_RIGHT, 0, 0, 3},
    {"function", TABLE_LEFT, TEXT_CUT_END, 14, 0},
    {"", TABLE_LEFT, TEXT_CUT_START, 14, 1},
};

static const struct table_column line_columns[] = {
    {"A", TABLE_RIGHT, 0, 0, 2},
    {"B", TABLE_RIGHT, 0, 0, 2},
    {"", TABLE_RIGHT, 0, 0, 0},
    {"", TABLE_RIGHT, 0, 0, 4},
    {"function", TABLE_LEFT, TEXT_CUT_END, 10, 3},
    {"line", TABLE_LEFT, TEXT_CUT_START, 14, 0},
    {"", TABLE_LEFT, 0, 0, 1},
};

static const struct table_column stack_columns[] = {
    {"A", TABLE_RIGHT, 0, 0, 2},
    {"B", TABLE_RIGHT, 0, 0, 1},
    {"", TABLE_RIGHT, 0, 0, 0},
    {"", TABLE_RIGHT, 0, 0, 3},
    {"stack, innermost first", TABLE_LEFT, TEXT_CUT_END, 24, 0},
};

static struct table *table_of(struct term *t, const struct section *s)
{
    if (s->stacks)
        return table_new(t, stack_columns, ARRAY_LEN(stack_columns));
    if (s->lines)
        return table_new(t, line_columns, ARRAY_LEN(line_columns));
    return table_new(t, function_columns, ARRAY_LEN(function_columns));
}

static void put_row(struct table *table, const struct term *t, const struct diff_view *v,
                    const struct section *s, const struct diff_row *row, double most)
{
    const struct diff_change *c = shown(s, row);
    char text[2 * UNITS_MAX], share[UNITS_MAX];
    double change = change_of(c);
    change_text(text, sizeof(text), t, v, change, most);
    share_text(share, sizeof(share), v, change);
    value_cell(table, v, c->value[0], most);
    value_cell(table, v, c->value[1], most);
    table_cell(table, change > 0 ? INK_WARN : INK_BAR, "%s", text);
    table_cell(table, INK_PLAIN, "%s", share);
    if (s->stacks)
        stack_cell(table, t, v, row);
    else
        name_cells(table, t, v, s, row);
}

static void section_heading(struct term *t, const struct diff_view *v, const struct section *s,
                            size_t shown_rows, size_t count)
{
    const char *what = s->pick == PICK_BOTH ? "own" : "own and called";
    const char *unit = v->shares ? "shares of the whole" : "% of A's whole";
    if (shown_rows < count)
        term_heading(t, s->title, "%zu of %zu, by %s %s, %s", shown_rows, count, what,
                     metric_name(t->style.metric), unit);
    else
        term_heading(t, s->title, "by %s %s, %s", what, metric_name(t->style.metric), unit);
}

/* Nothing is printed for a section without a row that differs. *noise grows by what was left out. */
static int print_section(struct term *t, const struct diff_view *v, const struct section *s, size_t *noise)
{
    size_t count, dim;
    size_t limit = t->style.limit ? t->style.limit : ROWS;
    double most = 0;
    struct order *order = order_of(s, &count, &dim);
    struct table *table = table_of(t, s);
    size_t n = count < limit ? count : limit;
    for (size_t i = 0; order && i < n; i++) {
        const struct diff_change *c = shown(s, order[i].row);
        most = fmax(most, fmax(c->value[0], c->value[1]));
    }
    for (size_t i = 0; order && i < n; i++)
        put_row(table, t, v, s, order[i].row, most);
    if (n)
        section_heading(t, v, s, n, count);
    int rc = !order ? -ENOMEM : n ? table_print(table) : 0;
    *noise += dim;
    table_free(table);
    free(order);
    return rc;
}

/* Head and foot --------------------------------------------------------------------------------------- */

/* One of the two recordings: what ran, on which Python, where, when, for how long. */
static void print_side(struct term *t, const struct diff_view *v, int side)
{
    struct profile *p = v->profiles[side];
    const struct rec_header *h = rec_reader_header(profile_reader(p));
    char wall[UNITS_MAX], cpu[UNITS_MAX], when[32] = "";
    char python[COMMON_PYTHON_MAX];
    time_t started = (time_t)(h->started_wall_ns / NS_PER_S);
    struct tm tm;
    struct buf text;
    common_python(python, profile_reader(p));
    buf_init(&text, COMMAND_MAX);
    common_command(&text, t, h->command, h->command_len);
    term_paragraph(t, INK_STRONG, side_names[side], (char *)text.data, text.len);
    buf_clear(&text);
    if (*python)
        text_clean(&text, python, strlen(python), t->style.unicode);
    buf_printf(&text, "%s%s wall%s%s CPU", text.len ? term_dot(t) : "",
               units_time(wall, profile_elapsed_ns(p)), term_dot(t), units_time(cpu, profile_cpu_ns(p)));
    if (localtime_r(&started, &tm) && strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm))
        buf_printf(&text, "%s%s", term_dot(t), when);
    if (h->host[0]) {
        buf_put_str(&text, term_dot(t));
        text_clean(&text, h->host, strlen(h->host), t->style.unicode);
    }
    term_paragraph(t, INK_DIM, "", (char *)text.data, text.len);
    buf_release(&text);
}

static void print_whole(struct term *t, const struct diff_view *v)
{
    char a[UNITS_MAX], b[UNITS_MAX], change[2 * UNITS_MAX];
    const double *whole = v->diff->whole;
    struct diff_view seconds = *v;
    struct buf text;
    seconds.shares = false;
    double most = fmax(whole[0], whole[1]);
    buf_init(&text, TEXT_MAX);
    change_text(change, sizeof(change), t, &seconds, whole[1] - whole[0], most);
    buf_printf(&text, "%s of all threads: %s %s %s  %s", metric_name(t->style.metric),
               value_text(a, &seconds, whole[0], most), t->style.unicode ? "\u2192" : "->",
               value_text(b, &seconds, whole[1], most), change);
    if (whole[0] > 0)
        buf_printf(&text, " (%+.1f%%)", 100 * (whole[1] - whole[0]) / whole[0]);
    term_newline(t);
    term_paragraph(t, INK_PLAIN, "Whole", (char *)text.data, text.len);
    buf_release(&text);
}

static void print_foot(struct term *t, size_t clear, size_t noise)
{
    static const char text[] =
        "A difference within three standard errors of its samples (the time between two looks for each), or "
        "within 5% of its value, is taken for noise. How runs vary is seen only by recording several.";
    char left[128];
    char count[UNITS_MAX];
    term_newline(t);
    if (!clear)
        snprintf(left, sizeof(left), "No difference between the two is larger than the noise.");
    else
        snprintf(left, sizeof(left), "Not shown, as within the noise: %s functions, lines and stacks.",
                 units_count(count, noise));
    term_paragraph(t, clear ? INK_PLAIN : INK_STRONG, NULL, left, strlen(left));
    term_paragraph(t, INK_DIM, NULL, text, sizeof(text) - 1);
}

static size_t count_clear(const struct section *sections, size_t n)
{
    size_t clear = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < sections[i].rows->count; k++) {
            const struct diff_row *row = &sections[i].rows->rows[k];
            clear += picks(&sections[i], row) && shown(&sections[i], row)->clear;
        }
    }
    return clear;
}

int report_diff(FILE *to, const struct diff_view *view, const struct report_style *style)
{
    const struct diff *d = view->diff;
    const struct section sections[] = {
        {"Functions", &d->functions, PICK_BOTH, false, false},
        {"Appeared", &d->functions, PICK_ONLY_B, false, false},
        {"Vanished", &d->functions, PICK_ONLY_A, false, false},
        {"Lines", &d->lines, PICK_BOTH, true, false},
        {"Stacks", &d->stacks, PICK_BOTH, false, true},
    };
    struct term t;
    size_t noise = 0;
    int rc = 0;
    term_open(&t, to, style);
    for (int side = 0; side < DIFF_SIDES; side++) {
        print_side(&t, view, side);
        common_broken(&t, view->profiles[side]);
    }
    print_whole(&t, view);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(sections); i++)
        rc = print_section(&t, view, &sections[i], &noise);
    print_foot(&t, count_clear(sections, ARRAY_LEN(sections)), noise);
    int closed = term_close(&t);
    return rc ? rc : closed;
}
