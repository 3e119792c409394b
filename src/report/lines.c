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
#include "report/report.h"
#include "report/source.h"
#include "report/units.h"

#define LINES 30
#define CONTEXT 2

/* A line of a file. */
struct hot_line {
    uint32_t file; /* string id */
    uint32_t line;
    uint32_t code; /* one of its functions */
    uint64_t self;
    uint64_t total;
    uint64_t heat; /* own time of all lines of its file that are shown */
};

struct hot {
    struct hot_line *lines;
    size_t count;
};

static int by_place(const void *a, const void *b)
{
    const struct hot_line *x = a;
    const struct hot_line *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static int by_heat(const void *a, const void *b)
{
    const struct hot_line *x = a;
    const struct hot_line *y = b;
    if (x->self != y->self)
        return x->self < y->self ? 1 : -1;
    if (x->total != y->total)
        return x->total < y->total ? 1 : -1;
    return by_place(a, b);
}

static int by_file(const void *a, const void *b)
{
    const struct hot_line *x = a;
    const struct hot_line *y = b;
    if (x->heat != y->heat)
        return x->heat < y->heat ? 1 : -1;
    return by_place(a, b);
}

/* Makes one of entries with the same place, which stand together. */
static void merge_places(struct hot *h)
{
    size_t n = 0;
    for (size_t i = 0; i < h->count; i++) {
        struct hot_line *last = n ? &h->lines[n - 1] : NULL;
        if (last && last->file == h->lines[i].file && last->line == h->lines[i].line) {
            last->self += h->lines[i].self;
            last->total = max_u64(max_u64(last->total, h->lines[i].total), last->self);
        } else {
            h->lines[n++] = h->lines[i];
        }
    }
    h->count = n;
}

/* All lines of Python code that took time, by file and line. */
static int hot_new(struct hot *h, struct profile *p, enum metric by)
{
    size_t count;
    const struct profile_line *l = profile_lines(p, by, &count);
    *h = (struct hot){.lines = calloc(count + 1, sizeof(*h->lines))};
    if (!h->lines)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct rec_code code = rec_reader_code(profile_reader(p), l[i].code);
        uint64_t total = weights_of(&l[i].total, by);
        if (code.kind != REC_PYTHON || !l[i].line || !total)
            continue;
        h->lines[h->count++] =
            (struct hot_line){code.file, l[i].line, l[i].code, weights_of(&l[i].self, by), total, 0};
    }
    qsort(h->lines, h->count, sizeof(*h->lines), by_place);
    merge_places(h);
    return 0;
}

/* How many of the lines are of the same file as the first. */
static size_t run_length(const struct hot_line *lines, size_t count)
{
    size_t n = 1;
    while (n < count && lines[n].file == lines[0].file)
        n++;
    return n;
}

/* Keeps the `limit` hottest, the hottest file first, in the order of its lines. */
static void hot_select(struct hot *h, size_t limit)
{
    qsort(h->lines, h->count, sizeof(*h->lines), by_heat);
    h->count = h->count < limit ? h->count : limit;
    qsort(h->lines, h->count, sizeof(*h->lines), by_place);
    for (size_t i = 0, n; i < h->count; i += n) {
        uint64_t heat = 0;
        n = run_length(h->lines + i, h->count - i);
        for (size_t k = i; k < i + n; k++)
            heat += h->lines[k].self;
        for (size_t k = i; k < i + n; k++)
            h->lines[k].heat = heat;
    }
    qsort(h->lines, h->count, sizeof(*h->lines), by_file);
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

static void hot_row(struct table *table, const struct term *t, const struct profile *p,
                    const struct hot_line *l, const struct source *source)
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
                      const struct hot_line *lines, size_t count, const struct source *source)
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
static int print_file(struct term *t, const struct profile *p, const struct hot_line *lines, size_t count)
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

static int print_hot(struct term *t, struct profile *p)
{
    struct hot h;
    int rc = hot_new(&h, p, t->style.metric);
    size_t all = h.count;
    if (rc == 0)
        hot_select(&h, t->style.limit ? t->style.limit : LINES);
    for (size_t i = 0, n; rc == 0 && i < h.count; i += n) {
        n = run_length(h.lines + i, h.count - i);
        rc = print_file(t, p, h.lines + i, n);
    }
    if (rc == 0)
        print_rest(t, h.count, all);
    free(h.lines);
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
        rc = print_hot(&t, p);
    }
    int closed = term_close(&t);
    return rc ? rc : closed;
}
