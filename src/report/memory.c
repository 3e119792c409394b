/* memory: who allocated, and who held what when the program held most. Exact: no shares of samples, but bytes
 * and numbers of allocations, by functions and by lines.
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

static const char *const order_texts[MEMORY_ORDERS] = {
    [MEMORY_PEAK] = "by bytes held at the peak",
    [MEMORY_LIVE] = "by bytes held at the end",
    [MEMORY_ALLOCATED] = "by bytes allocated",
    [MEMORY_COUNT] = "by number of allocations",
};

static const struct table_column columns[] = {
    {"at peak", TABLE_RIGHT, 0, 0, 0},     {"", TABLE_BAR, 0, 0, 4},
    {"at end", TABLE_RIGHT, 0, 0, 2},      {"allocated", TABLE_RIGHT, 0, 0, 1},
    {"count", TABLE_RIGHT, 0, 0, 3},       {"", TABLE_LEFT, TEXT_CUT_START, 14, 0},
    {"", TABLE_LEFT, TEXT_CUT_END, 18, 0},
};

static void say(struct term *t, enum ink ink, const char *text)
{
    term_paragraph(t, ink, NULL, text, strlen(text));
}

/* Rows ----------------------------------------------------------------------------------------------------
 */

static int by_place(const void *a, const void *b, void *ctx)
{
    const struct memory_row *x = a;
    const struct memory_row *y = b;
    const struct rec_reader *r = ctx;
    uint32_t x_file = x->code == MEMORY_OUTSIDE ? UINT32_MAX : rec_reader_code(r, x->code).file;
    uint32_t y_file = y->code == MEMORY_OUTSIDE ? UINT32_MAX : rec_reader_code(r, y->code).file;
    if (x_file != y_file)
        return x_file < y_file ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static int by_value(const void *a, const void *b, void *order)
{
    const struct memory_row *x = a;
    const struct memory_row *y = b;
    uint64_t v = memory_value(&x->self, *(enum memory_order *)order);
    uint64_t w = memory_value(&y->self, *(enum memory_order *)order);
    if (v != w)
        return v < w ? 1 : -1;
    if (x->code != y->code)
        return x->code < y->code ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

/* Lines of different functions can be one line of a file: a lambda, a comprehension. Returns how many are
 * left. */
static size_t join_lines(struct memory_row *rows, size_t count, const struct rec_reader *r)
{
    size_t n = 0;
    qsort_r(rows, count, sizeof(*rows), by_place, (void *)r);
    for (size_t i = 0; i < count; i++) {
        if (n && by_place(&rows[n - 1], &rows[i], (void *)r) == 0) {
            struct memory_sums *to = &rows[n - 1].self;
            to->allocated += rows[i].self.allocated;
            to->allocations += rows[i].self.allocations;
            to->freed += rows[i].self.freed;
            to->frees += rows[i].self.frees;
            to->peak += rows[i].self.peak;
        } else {
            rows[n++] = rows[i];
        }
    }
    return n;
}

static void bytes_cell(struct table *table, uint64_t bytes)
{
    char text[UNITS_MAX];
    if (bytes)
        table_cell(table, INK_PLAIN, "%s", units_bytes(text, bytes));
    else
        table_cell(table, INK_DIM, "%s", "0");
}

static void sums_cells(struct table *table, const struct term *t, const struct memory_sums *s,
                       const struct memory_sums *whole)
{
    char count[UNITS_MAX];
    uint64_t all = memory_value(whole, t->style.order);
    bytes_cell(table, s->peak);
    table_bar(table, INK_BAR, all ? (double)memory_value(s, t->style.order) / (double)all : 0);
    bytes_cell(table, memory_live(s));
    bytes_cell(table, s->allocated);
    table_cell(table, INK_PLAIN, "%s", units_count(count, s->allocations));
}

static void name_cells(struct table *table, const struct term *t, const struct profile *p,
                       const struct memory_row *row)
{
    if (row->code == MEMORY_OUTSIDE) {
        table_cell(table, INK_PLAIN, "%s", "(outside Python)");
        table_cell(table, INK_PLAIN, "%s", "");
        return;
    }
    if (row->line) {
        common_place_cell(table, t, p, row->code, row->line);
        common_source_cell(table, p, row->code, row->line);
        return;
    }
    common_function_cell(table, p, row->code);
    common_place_cell(table, t, p, row->code, rec_reader_code(profile_reader(p), row->code).first_line);
}

/* One table, of functions or of lines. */
static int print_rows(struct term *t, const struct profile *p, const struct buf *from, bool lines,
                      size_t limit)
{
    const struct memory_use *m = profile_memory(p);
    enum memory_order order = t->style.order;
    size_t count = from->len / sizeof(struct memory_row);
    struct memory_row *rows = calloc(count + 1, sizeof(*rows));
    struct table *table = rows ? table_new(t, columns, ARRAY_LEN(columns)) : NULL;
    if (rows && count)
        memcpy(rows, from->data, from->len);
    if (rows && lines)
        count = join_lines(rows, count, profile_reader(p));
    if (rows)
        qsort_r(rows, count, sizeof(*rows), by_value, &order);
    for (size_t i = 0; rows && i < count && i < limit && memory_value(&rows[i].self, order); i++) {
        sums_cells(table, t, &rows[i].self, &m->whole.sums);
        name_cells(table, t, p, &rows[i]);
    }
    term_heading(t, lines ? "Lines" : "Functions", "%s", order_texts[order]);
    int rc = table_print(table);
    table_free(table);
    free(rows);
    return rc;
}

/* Notes ---------------------------------------------------------------------------------------------------
 */

static void print_peak(struct term *t, const struct profile *p)
{
    const struct memory_whole *whole = &profile_memory(p)->whole;
    uint64_t started = rec_reader_header(profile_reader(p))->started_ns;
    uint64_t at_ns = whole->peak_ns > started ? whole->peak_ns - started : 0;
    char peak[UNITS_MAX], at[UNITS_MAX], live[UNITS_MAX], all[UNITS_MAX], count[UNITS_MAX], rss[UNITS_MAX];
    char text[512], processes[64] = "";
    if (whole->heaps > 1)
        snprintf(processes, sizeof(processes), ", of %zu programs, each at its own peak", whole->heaps);
    snprintf(text, sizeof(text),
             "Peak %s at %s%s; %s held at the end; %s in %s allocations; resident memory%s seen up to %s.",
             units_bytes(peak, whole->sums.peak), units_time(at, at_ns), processes,
             units_bytes(live, memory_live(&whole->sums)), units_bytes(all, whole->sums.allocated),
             units_count(count, whole->sums.allocations), whole->heaps > 1 ? " of one process" : "",
             whole->rss_peak ? units_bytes(rss, whole->rss_peak) : "unknown");
    say(t, INK_STRONG, text);
}

static bool is_free_threaded(const struct rec_reader *r)
{
    for (uint32_t i = 0; i < rec_reader_process_count(r); i++) {
        size_t len;
        const char *version = rec_reader_string(r, rec_reader_process(r, i).python, &len);
        if (len && version[len - 1] == 't')
            return true;
    }
    return false;
}

static void print_meaning(struct term *t, const struct profile *p)
{
    say(t, INK_DIM,
        "Exact: what was asked of the system allocator (malloc and its kin, anonymous mmap). Python's "
        "objects of up "
        "to 512 bytes come out of arenas of 256 KiB (from 3.10 on 1 MiB), which count where another was "
        "needed.");
    if (is_free_threaded(profile_reader(p)))
        say(t, INK_DIM,
            "Without the GIL, all objects of Python come out of one reservation of its own, which is not "
            "counted.");
}

static uint64_t pid_key(uint32_t part, uint32_t pid)
{
    return (uint64_t)part << 32 | pid;
}

/* The PIDs of heaps, and later of processes that were told of. */
static int note_heaps(struct map *known, const struct rec_reader *r)
{
    int err = 0;
    for (uint32_t i = 0; !err && i < rec_reader_heap_count(r); i++)
        err = map_put(known, pid_key(rec_reader_part_of_heap(r, i), rec_reader_heap(r, i).pid), 1);
    return err;
}

/* Processes of whose memory nothing is known. */
static int print_missing(struct term *t, const struct profile *p)
{
    const struct rec_reader *r = profile_reader(p);
    size_t count, missing = 0, len = 0;
    const struct profile_process *processes = profile_processes(p, &count);
    char text[256];
    struct map known;
    map_init(&known);
    int err = note_heaps(&known, r);
    for (size_t i = 0; !err && i < count; i++) {
        uint32_t pid = rec_reader_process(r, processes[i].process).pid;
        uint64_t key = pid_key(rec_reader_part_of(r, processes[i].process), pid);
        if (map_get(&known, key) != MAP_NONE)
            continue;
        err = map_put(&known, key, 1);
        if (missing++ < NAMED)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u", len ? ", " : "", pid);
    }
    map_release(&known);
    if (err || !missing)
        return err;
    snprintf(text + len, sizeof(text) - len,
             "%s: zond's library was not loaded, as by static and set-user-ID programs; memory not recorded.",
             missing > NAMED ? " and others" : "");
    term_paragraph(t, INK_WARN, missing == 1 ? "process" : "processes", text, strlen(text));
    return 0;
}

static void say_nothing(struct term *t, const struct profile *p)
{
    if (profile_loss(p, REC_LOSS_MEMORY))
        common_loss_details(t, p, NULL);
    else if (profile_has_memory(p))
        say(t, INK_PLAIN, "The recording holds memory, but none of the process that was asked for.");
    else
        say(t, INK_PLAIN, "The recording holds no memory: 'zond mem COMMAND' records it.");
}

int report_memory(FILE *to, struct profile *p, const struct report_style *style)
{
    struct term t;
    const struct memory_use *m = profile_memory(p);
    int rc = 0;
    term_open(&t, to, style);
    common_broken(&t, p);
    if (m) {
        size_t limit = style->limit;
        print_peak(&t, p);
        print_meaning(&t, p);
        rc = print_missing(&t, p);
        if (profile_loss(p, REC_LOSS_MEMORY))
            common_loss_details(&t, p, "lost");
        if (!rc)
            rc = print_rows(&t, p, &m->functions, false, limit ? limit : FUNCTIONS);
        if (!rc)
            rc = print_rows(&t, p, &m->lines, true, limit ? limit : LINES);
    } else {
        say_nothing(&t, p);
    }
    int closed = term_close(&t);
    return rc ? rc : closed;
}
