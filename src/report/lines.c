/* lines: the hottest lines in their source, file by file, with a little of what stands around them. Sampled:
 * shares of time, no hits.
 *
 * Lines of different functions can be one line of a file (a comprehension, a lambda): own times add up, of
 * the totals the largest counts, as such functions mostly call each other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report/common.h"
#include "report/places.h"
#include "report/report.h"
#include "report/source.h"
#include "report/units.h"

/* Without a limit of the user's: so many lines at the most; of these, beyond the first few, only such with
 * one part in HOT of the time. */
#define LINES 30
#define LINES_FEW 5
#define HOT 200
/* Lines that only call others are shown from one part in WARM of the time on. */
#define WARM 100
#define CONTEXT 2

static int by_file(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;
    if (x->heat != y->heat)
        return x->heat < y->heat ? 1 : -1;
    return place_compare(a, b);
}

/* How many of the lines are of the same file as the first. */
static size_t run_length(const struct place *lines, size_t count)
{
    size_t n = 1;
    while (n < count && lines[n].file == lines[0].file)
        n++;
    return n;
}

/* The hottest file first, its lines in their order. */
static void order_by_file(struct place *lines, size_t count)
{
    qsort(lines, count, sizeof(*lines), place_compare);
    for (size_t i = 0, n; i < count; i += n) {
        uint64_t heat = 0;
        n = run_length(lines + i, count - i);
        for (size_t k = i; k < i + n; k++)
            heat += lines[k].self;
        for (size_t k = i; k < i + n; k++)
            lines[k].heat = heat;
    }
    qsort(lines, count, sizeof(*lines), by_file);
}

static const struct table_column columns[] = {
    {"line", TABLE_RIGHT, 0, 0, 0},  {"self", TABLE_RIGHT, 0, 0, 0},
    {"", TABLE_BAR, 0, 0, 3},        {"", TABLE_RIGHT, 0, 0, 2},
    {"total", TABLE_RIGHT, 0, 0, 1}, {"source", TABLE_LEFT, TEXT_CUT_END, 20, 0},
};

static void empty_cell(struct table *table)
{
    table_cell(table, INK_PLAIN, "%s", "");
}

/* Between line number and source: nothing where there is no own time. */
static void time_cells(struct table *table, uint64_t self, uint64_t total, uint64_t whole)
{
    if (self)
        common_share_cell(table, self, whole);
    else
        empty_cell(table);
    table_bar(table, INK_BAR, whole ? (double)self / (double)whole : 0);
    if (self)
        common_time_cell(table, self, whole);
    else
        empty_cell(table);
    if (total)
        common_share_cell(table, total, whole);
    else
        empty_cell(table);
}

/* Lines of source that are not hot, from `from` to before `to`. */
static void context_rows(struct table *table, const struct source *source, uint32_t from, uint32_t to)
{
    for (uint32_t line = from; line < to; line++) {
        size_t len;
        const char *text = source_line(source, line, &len);
        if (!text)
            return;
        table_cell(table, INK_DIM, "%u", line);
        time_cells(table, 0, 0, 0);
        table_foreign(table, INK_DIM, text, len);
    }
}

static void gap_row(struct table *table, const struct term *t)
{
    table_cell(table, INK_DIM, "%s", t->style.unicode ? "\u2026" : "..");
    time_cells(table, 0, 0, 0);
    empty_cell(table);
}

static void hot_row(struct table *table, const struct term *t, const struct profile *p, const struct place *l,
                    const struct source *source)
{
    uint64_t whole = weights_of(profile_sum(p), t->style.metric);
    size_t len;
    const char *text = source_line(source, l->line, &len);
    table_cell(table, INK_PLAIN, "%u", l->line);
    time_cells(table, l->self, l->total, whole);
    if (text)
        table_foreign(table, INK_PLAIN, text, len);
    else
        common_function_cell(table, p, l->code);
}

/* Rows of the hot lines of one file, in order, with context where its source can be read. */
static void file_rows(struct table *table, const struct term *t, const struct profile *p,
                      const struct place *lines, size_t count, const struct source *source)
{
    uint32_t next = 1; /* the first line that is not printed yet */
    for (size_t i = 0; i < count; i++) {
        uint32_t from = lines[i].line > CONTEXT + next ? lines[i].line - CONTEXT : next;
        if (from == next + 1)
            from = next; /* a gap of one line takes no less room than the line */
        if (i && from > next)
            gap_row(table, t);
        context_rows(table, source, from, lines[i].line);
        hot_row(table, t, p, &lines[i], source);
        next = lines[i].line + 1;
        uint32_t limit =
            i + 1 < count && lines[i + 1].line < next + CONTEXT ? lines[i + 1].line : next + CONTEXT;
        context_rows(table, source, next, limit);
        next = limit;
    }
}

static void file_heading(struct term *t, const struct profile *p, const char *path, size_t len, uint64_t self,
                         const char *note)
{
    char share[UNITS_MAX], aside[128];
    struct buf name, fitted;
    uint64_t whole = weights_of(profile_sum(p), t->style.metric);
    int n = snprintf(aside, sizeof(aside), "  %s%s", units_percent(share, self, whole), note);
    path = common_path(t, path, &len);
    buf_init(&name, TEXT_MAX * 10);
    buf_init(&fitted, TEXT_MAX * 10);
    text_clean(&name, path, len, t->style.unicode);
    text_fit(&fitted, name.len ? (char *)name.data : "", name.len, t->style.width - n, TEXT_CUT_MIDDLE,
             t->style.unicode);
    term_newline(t);
    term_clean(t, INK_STRONG, (char *)fitted.data, fitted.len);
    term_put(t, INK_DIM, "%s", aside);
    term_newline(t);
    buf_release(&fitted);
    buf_release(&name);
}

/* lines: those of one file, by line. */
static int print_file(struct term *t, const struct profile *p, const struct place *lines, size_t count)
{
    const struct rec_reader *r = profile_reader(p);
    struct source source;
    size_t len;
    const char *path = rec_reader_string(r, lines[0].file, &len);
    const char *note = "";
    struct table *table = table_new(t, columns, ARRAY_LEN(columns));
    if (source_open(&source, path))
        note = ", source not readable here";
    else if (source.changed_ns > rec_reader_header(r)->started_wall_ns)
        note = ", changed since the recording";
    file_rows(table, t, p, lines, count, &source);
    file_heading(t, p, path, len, lines[0].heat, note);
    int rc = table_print(table);
    table_free(table);
    source_release(&source);
    return rc;
}

/* Says what the limit left out. */
static void print_rest(struct term *t, size_t shown, size_t all)
{
    char n[UNITS_MAX], text[128];
    if (shown == all)
        return;
    snprintf(text, sizeof(text), "%s more lines took time; -n %zu shows all.", units_count(n, all - shown),
             all);
    term_newline(t);
    term_paragraph(t, INK_DIM, NULL, text, strlen(text));
}

static size_t hot_count(const struct place *lines, size_t all, uint64_t whole, size_t asked)
{
    size_t limit = asked ? asked : LINES;
    size_t n = 0;
    while (n < all && n < limit && (asked || n < LINES_FEW || lines[n].self >= whole / HOT))
        n++;
    return n;
}

static bool has_file(const struct place *lines, size_t count, uint32_t file)
{
    for (size_t i = 0; i < count; i++) {
        if (lines[i].file == file)
            return true;
    }
    return false;
}

/* Brings to the front what is shown: the hottest, and in the same files the lines that called them. */
static size_t choose(struct place *lines, size_t all, uint64_t whole, size_t asked)
{
    size_t hot = hot_count(lines, all, whole, asked);
    size_t count = hot;
    for (size_t i = hot; i < all; i++) {
        if (lines[i].total < whole / WARM || !has_file(lines, hot, lines[i].file))
            continue;
        struct place called = lines[i];
        lines[i] = lines[count];
        lines[count++] = called;
    }
    return count;
}

static int print_hottest(struct term *t, struct profile *p)
{
    struct place *lines;
    size_t all;
    uint64_t whole = weights_of(profile_sum(p), t->style.metric);
    int rc = places_new(p, t->style.metric, &lines, &all);
    if (rc)
        return rc;
    size_t count = choose(lines, all, whole, t->style.limit);
    order_by_file(lines, count);
    for (size_t i = 0, n; rc == 0 && i < count; i += n) {
        n = run_length(lines + i, count - i);
        rc = print_file(t, p, lines + i, n);
    }
    if (rc == 0)
        print_rest(t, count, all);
    free(lines);
    return rc;
}

int report_lines(FILE *to, struct profile *p, const struct report_style *style)
{
    struct term t;
    char note[160];
    int rc = 0;
    term_open(&t, to, style);
    if (common_opening(&t, p)) {
        snprintf(note, sizeof(note), "Sampled: shares of %s by looks at the stack; hits are not counted.",
                 metric_name(style->metric));
        term_paragraph(&t, INK_DIM, NULL, note, strlen(note));
        rc = print_hottest(&t, p);
    }
    int closed = term_close(&t);
    return rc ? rc : closed;
}
