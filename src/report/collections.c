/* collections: how long the program stood still for its garbage collector, and who triggered it. Exact where
 * the recording has each collection; otherwise the share that samples saw, and how to get more.
 */
#include <stdlib.h>
#include <string.h>

#include "report/common.h"
#include "report/report.h"
#include "report/units.h"

#define FUNCTIONS 12
#define LINES 20
/* Processes that are named one by one. */
#define NAMED 5

static const struct table_column generation_columns[] = {
    {"generation", TABLE_RIGHT, 0, 0, 0}, {"count", TABLE_RIGHT, 0, 0, 0},
    {"time", TABLE_RIGHT, 0, 0, 0},       {"", TABLE_BAR, 0, 0, 2},
    {"longest", TABLE_RIGHT, 0, 0, 0},    {"mean", TABLE_RIGHT, 0, 0, 3},
    {"collected", TABLE_RIGHT, 0, 0, 1},  {"uncollectable", TABLE_RIGHT, 0, 0, 4},
};

static const struct table_column row_columns[] = {
    {"time", TABLE_RIGHT, 0, 0, 0},
    {"share", TABLE_RIGHT, 0, 0, 3},
    {"", TABLE_BAR, 0, 0, 4},
    {"count", TABLE_RIGHT, 0, 0, 1},
    {"longest", TABLE_RIGHT, 0, 0, 2},
    {"", TABLE_LEFT, TEXT_CUT_START, 14, 0},
    {"", TABLE_LEFT, TEXT_CUT_END, 18, 0},
};

static void say(struct term *t, enum ink ink, const char *text)
{
    term_paragraph(t, ink, NULL, text, strlen(text));
}

/* Tables ------------------------------------------------------------------------------------------------ */

static double part(uint64_t of, uint64_t whole)
{
    return whole ? (double)of / (double)whole : 0;
}

static int print_generations(struct term *t, const struct collections_use *c)
{
    char text[UNITS_MAX];
    struct table *table = table_new(t, generation_columns, ARRAY_LEN(generation_columns));
    for (unsigned i = 0; i < REC_GENERATIONS; i++) {
        const struct collections_sums *s = &c->generations[i];
        table_cell(table, INK_PLAIN, "%u", i);
        table_cell(table, INK_PLAIN, "%s", units_count(text, s->count));
        common_time_cell(table, s->ns, c->whole.ns);
        table_bar(table, INK_GC, part(s->ns, c->whole.ns));
        table_cell(table, INK_PLAIN, "%s", s->count ? units_time(text, s->longest_ns) : "-");
        table_cell(table, INK_PLAIN, "%s", s->count ? units_time(text, s->ns / s->count) : "-");
        table_cell(table, INK_PLAIN, "%s", units_count(text, s->collected));
        table_cell(table, s->uncollectable ? INK_WARN : INK_PLAIN, "%s", units_count(text, s->uncollectable));
    }
    term_heading(t, "Generations", "%s", "what each found");
    int rc = table_print(table);
    table_free(table);
    return rc;
}

static int by_time(const void *a, const void *b)
{
    const struct collections_row *x = a;
    const struct collections_row *y = b;
    if (x->sums.ns != y->sums.ns)
        return x->sums.ns < y->sums.ns ? 1 : -1;
    if (x->code != y->code)
        return x->code < y->code ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static void name_cells(struct table *table, const struct term *t, const struct profile *p,
                       const struct collections_row *row, bool lines)
{
    if (row->code == COLLECTIONS_OUTSIDE) {
        table_cell(table, INK_PLAIN, "%s", "(outside Python)");
        table_cell(table, INK_PLAIN, "%s", "");
    } else if (lines) {
        common_place_cell(table, t, p, row->code, row->line);
        common_source_cell(table, p, row->code, row->line);
    } else {
        common_function_cell(table, p, row->code);
        common_place_cell(table, t, p, row->code, rec_reader_code(profile_reader(p), row->code).first_line);
    }
}

/* One table, of functions or of lines. */
static int print_rows(struct term *t, const struct profile *p, const struct buf *from, bool lines,
                      size_t limit)
{
    const struct collections_sums *whole = &profile_collections(p)->whole;
    char text[UNITS_MAX];
    size_t count = from->len / sizeof(struct collections_row);
    struct collections_row *rows = calloc(count + 1, sizeof(*rows));
    struct table *table = rows ? table_new(t, row_columns, ARRAY_LEN(row_columns)) : NULL;
    if (rows && count)
        memcpy(rows, from->data, from->len);
    if (rows)
        qsort(rows, count, sizeof(*rows), by_time);
    for (size_t i = 0; rows && i < count && i < limit; i++) {
        common_time_cell(table, rows[i].sums.ns, rows[0].sums.ns);
        common_share_cell(table, rows[i].sums.ns, whole->ns);
        table_bar(table, INK_GC, part(rows[i].sums.ns, whole->ns));
        table_cell(table, INK_PLAIN, "%s", units_count(text, rows[i].sums.count));
        table_cell(table, INK_PLAIN, "%s", units_time(text, rows[i].sums.longest_ns));
        name_cells(table, t, p, &rows[i], lines);
    }
    term_heading(t, lines ? "Lines" : "Functions", "%s", "that triggered collections, by their time");
    int rc = table_print(table);
    table_free(table);
    free(rows);
    return rc;
}

/* Notes ------------------------------------------------------------------------------------------------- */

static void print_whole(struct term *t, const struct collections_use *c)
{
    char count[UNITS_MAX], share[UNITS_MAX], time[UNITS_MAX], run[UNITS_MAX], longest[UNITS_MAX],
        middle[UNITS_MAX], high[UNITS_MAX];
    char text[512], programs[64] = "";
    if (c->recorded > 1)
        snprintf(programs, sizeof(programs), " of %zu programs, summed", c->recorded);
    snprintf(text, sizeof(text), "Garbage collection took %s: %s of %s%s, in %s %s.",
             units_percent(share, c->whole.ns, c->recorded_ns), units_time(time, c->whole.ns),
             units_time(run, c->recorded_ns), programs, units_count(count, c->whole.count),
             c->whole.count == 1 ? "collection" : "collections");
    say(t, INK_STRONG, text);
    if (!c->whole.count)
        return;
    snprintf(text, sizeof(text), "Pauses: longest %s, half of them up to %s, 99 of 100 up to %s. Exact.",
             units_time(longest, c->whole.longest_ns), units_time(middle, collections_quantile(c, 0.5)),
             units_time(high, collections_quantile(c, 0.99)));
    say(t, INK_PLAIN, text);
}

static bool is_listened_to(const struct rec_reader *r, const struct collections_use *c, uint32_t pid,
                           uint32_t part)
{
    for (uint32_t i = 0; i < rec_reader_heap_count(r); i++) {
        if (rec_reader_heap(r, i).pid == pid && collections_known(c, i) &&
            rec_reader_part_of_heap(r, i) == part)
            return true;
    }
    return false;
}

/* Is nothing known of the collections of this Python, of which it may have made some? One that became another
 * program is as a rule a child between fork and exec. A child of fork would be heard of by its first
 * collection: it is told by its command, which is its parent's. */
static bool is_missing(const struct rec_reader *r, const struct collections_use *c, uint32_t process)
{
    struct rec_process p = rec_reader_process(r, process);
    uint32_t part = rec_reader_part_of(r, process);
    if (!p.python || is_listened_to(r, c, p.pid, part))
        return false;
    for (uint32_t i = 0; i < rec_reader_process_count(r); i++) {
        struct rec_process other = rec_reader_process(r, i);
        if (i == process || rec_reader_part_of(r, i) != part)
            continue;
        bool became = i > process && other.pid == p.pid;
        bool parent = other.pid == p.ppid && other.command == p.command;
        if (became || (parent && is_listened_to(r, c, other.pid, part)))
            return false;
    }
    return true;
}

/* Pythons of whose collections nothing is known. */
static void print_missing(struct term *t, const struct profile *p)
{
    const struct rec_reader *r = profile_reader(p);
    size_t count, missing = 0, len = 0;
    const struct profile_process *processes = profile_processes(p, &count);
    char text[256];
    for (size_t i = 0; i < count; i++) {
        if (!is_missing(r, profile_collections(p), processes[i].process))
            continue;
        if (missing++ < NAMED)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u", len ? ", " : "",
                                    rec_reader_process(r, processes[i].process).pid);
    }
    if (!missing)
        return;
    snprintf(text + len, sizeof(text) - len, "%s: a Python that zond's library did not reach; not recorded.",
             missing > NAMED ? " and others" : "");
    term_paragraph(t, INK_WARN, missing == 1 ? "process" : "processes", text, strlen(text));
}

/* Of a recording without single collections: what samples saw. */
static void say_share(struct term *t, const struct profile *p)
{
    const struct weights *sum = profile_sum(p);
    char share[UNITS_MAX], time[UNITS_MAX], all[UNITS_MAX], text[256];
    if (profile_loss(p, REC_LOSS_GC))
        common_loss_details(t, p, NULL);
    if (!sum->wall) {
        say(t, INK_PLAIN, "No Python was seen, and so no garbage collection.");
        return;
    }
    snprintf(text, sizeof(text), "Garbage collection took %s: %s of %s, the time of all threads. Sampled.",
             units_percent(share, sum->gc, sum->wall), units_time(time, sum->gc), units_time(all, sum->wall));
    say(t, INK_STRONG, text);
    say(t, INK_PLAIN,
        "Single collections are not in the recording: 'zond gc COMMAND' records each, with its pause and "
        "what "
        "triggered it; 'zond report --metric gc FILE' shows where samples saw the collector run.");
}

static int print_exact(struct term *t, const struct profile *p)
{
    const struct collections_use *c = profile_collections(p);
    size_t limit = t->style.limit;
    print_whole(t, c);
    print_missing(t, p);
    if (profile_loss(p, REC_LOSS_GC))
        common_loss_details(t, p, "lost");
    if (!c->whole.count)
        return 0;
    int rc = print_generations(t, c);
    if (!rc)
        rc = print_rows(t, p, &c->functions, false, limit ? limit : FUNCTIONS);
    if (!rc)
        rc = print_rows(t, p, &c->lines, true, limit ? limit : LINES);
    return rc;
}

int report_collections(FILE *to, struct profile *p, const struct report_style *style)
{
    struct term t;
    int rc = 0;
    term_open(&t, to, style);
    common_broken(&t, p);
    if (profile_collections(p))
        rc = print_exact(&t, p);
    else
        say_share(&t, p);
    int closed = term_close(&t);
    return rc ? rc : closed;
}
