/* who: the processes and threads that were sampled, busiest first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report/sections.h"
#include "report/states.h"
#include "report/units.h"

/* An entry of a table of the profile, by the weight that it is sorted by. */
struct entry {
    size_t index;
    uint64_t weight;
};

static int by_weight(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    if (x->weight != y->weight)
        return x->weight < y->weight ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* The wall time and CPU time of a row, then its states as shares of its wall time. */
static void weight_cells(struct table *table, const struct weights *w, const struct weights *most)
{
    struct states s;
    states_of(&s, w, METRIC_WALL);
    common_time_cell(table, w->wall, most->wall);
    common_time_cell(table, w->cpu, most->cpu);
    for (size_t i = 0; i < s.count; i++)
        common_share_cell(table, s.parts[i].ns, s.total);
}

/* In the order of states_of with METRIC_WALL. */
#define WEIGHT_COLUMNS                                                                                       \
    {"time", TABLE_RIGHT, 0, 0, 6}, {"CPU", TABLE_RIGHT, 0, 0, 0}, {"Python", TABLE_RIGHT, 0, 0, 4},         \
        {"C", TABLE_RIGHT, 0, 0, 3}, {"GC", TABLE_RIGHT, 0, 0, 5}, {"GIL wait", TABLE_RIGHT, 0, 0, 2},       \
    {                                                                                                        \
        "waiting", TABLE_RIGHT, 0, 0, 1                                                                      \
    }

/* Which of the machines and ranks of a merged recording: in front of all else. */
#define PART_COLUMNS                                                                                         \
    {"rank", TABLE_RIGHT, 0, 0, 0},                                                                          \
    {                                                                                                        \
        "host", TABLE_LEFT, TEXT_CUT_END, 6, 8                                                               \
    }
#define PART_COLUMN_COUNT 2

static const struct table_column thread_columns[] = {
    PART_COLUMNS,
    {"tid", TABLE_RIGHT, 0, 0, 0},
    {"thread", TABLE_LEFT, TEXT_CUT_END, 10, 0},
    WEIGHT_COLUMNS,
};

static const struct table_column process_columns[] = {
    PART_COLUMNS,
    {"pid", TABLE_RIGHT, 0, 0, 0},
    {"process", TABLE_LEFT, TEXT_CUT_END, 10, 0},
    {"Python version", TABLE_LEFT, TEXT_CUT_END, 6, 7},
    WEIGHT_COLUMNS,
};

/* A table without the first columns where there is but one recording. */
static struct table *new_table(struct term *t, const struct rec_reader *r, const struct table_column *columns,
                               size_t n)
{
    size_t skip = rec_reader_part_count(r) > 1 ? 0 : PART_COLUMN_COUNT;
    return table_new(t, columns + skip, n - skip);
}

static void part_cells(struct table *table, const struct rec_reader *r, uint32_t process)
{
    if (rec_reader_part_count(r) < 2)
        return;
    struct rec_header h = rec_reader_part(r, rec_reader_part_of(r, process)).header;
    if (h.rank == REC_NO_RANK)
        table_cell(table, INK_DIM, "%s", "-");
    else
        table_cell(table, INK_PLAIN, "%u", h.rank);
    table_foreign(table, INK_PLAIN, h.host, strlen(h.host));
}

static void widen(struct weights *most, const struct weights *w)
{
    most->wall = max_u64(most->wall, w->wall);
    most->cpu = max_u64(most->cpu, w->cpu);
}

static void heading(struct term *t, const char *title, size_t shown, size_t count)
{
    if (shown < count)
        term_heading(t, title, "the first %zu of %zu by %s, in shares of their time", shown, count,
                     metric_name(t->style.metric));
    else
        term_heading(t, title, "%zu, in shares of their time", count);
}

static void thread_row(struct table *table, const struct rec_reader *r, const struct profile_thread *p,
                       const struct weights *most)
{
    struct rec_thread thread = rec_reader_thread(r, p->thread);
    size_t len;
    const char *name = rec_reader_string(r, thread.name, &len);
    part_cells(table, r, thread.process);
    table_cell(table, INK_PLAIN, "%u", thread.tid);
    table_foreign(table, INK_PLAIN, name, len);
    weight_cells(table, &p->sum, most);
}

int section_threads(struct term *t, const struct profile *p, size_t limit)
{
    size_t count;
    const struct profile_thread *threads = profile_threads(p, &count);
    struct weights most = {0};
    if (count < 2)
        return 0;
    struct entry *order = calloc(count, sizeof(*order));
    struct table *table = new_table(t, profile_reader(p), thread_columns, ARRAY_LEN(thread_columns));
    for (size_t i = 0; order && i < count; i++) {
        order[i] = (struct entry){i, weights_of(&threads[i].sum, t->style.metric)};
        widen(&most, &threads[i].sum);
    }
    if (order)
        qsort(order, count, sizeof(*order), by_weight);
    for (size_t i = 0; order && i < count && i < limit; i++)
        thread_row(table, profile_reader(p), &threads[order[i].index], &most);
    heading(t, "Threads", count < limit ? count : limit, count);
    int rc = order ? table_print(table) : -ENOMEM;
    table_free(table);
    free(order);
    return rc;
}

/* A command without the folder of its program. */
static const char *base_command(const char *args, size_t *len)
{
    const char *slash = memrchr(args, '/', strnlen(args, *len));
    if (!slash)
        return args;
    *len -= (size_t)(slash + 1 - args);
    return slash + 1;
}

static void process_row(struct table *table, struct term *t, const struct rec_reader *r,
                        const struct profile_process *p, const struct weights *most)
{
    struct rec_process process = rec_reader_process(r, p->process);
    size_t len, python_len;
    const char *command = base_command(rec_reader_string(r, process.command, &len), &len);
    const char *python = rec_reader_string(r, process.python, &python_len);
    struct buf text;
    buf_init(&text, TEXT_MAX * 10);
    common_command(&text, t, command, len);
    part_cells(table, r, p->process);
    table_cell(table, INK_PLAIN, "%u", process.pid);
    table_foreign(table, INK_PLAIN, text.len ? (char *)text.data : "", text.len);
    table_foreign(table, INK_PLAIN, python, python_len);
    weight_cells(table, &p->sum, most);
    buf_release(&text);
}

/* The processes of which there are samples; returns how many. */
static size_t sampled(struct entry *order, const struct profile_process *processes, size_t count,
                      enum metric by)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (processes[i].sum.samples)
            order[n++] = (struct entry){i, weights_of(&processes[i].sum, by)};
    }
    qsort(order, n, sizeof(*order), by_weight);
    return n;
}

static int print_processes(struct term *t, const struct profile *p, const struct entry *order, size_t count,
                           size_t limit)
{
    size_t all;
    const struct profile_process *processes = profile_processes(p, &all);
    struct weights most = {0};
    struct table *table = new_table(t, profile_reader(p), process_columns, ARRAY_LEN(process_columns));
    size_t shown = count < limit ? count : limit;
    for (size_t i = 0; i < shown; i++)
        widen(&most, &processes[order[i].index].sum);
    for (size_t i = 0; i < shown; i++)
        process_row(table, t, profile_reader(p), &processes[order[i].index], &most);
    heading(t, "Processes", shown, count);
    int rc = table_print(table);
    table_free(table);
    return rc;
}

int section_processes(struct term *t, const struct profile *p, size_t limit)
{
    size_t all;
    const struct profile_process *processes = profile_processes(p, &all);
    struct entry *order = calloc(all + 1, sizeof(*order));
    if (!order)
        return -ENOMEM;
    size_t count = sampled(order, processes, all, t->style.metric);
    int rc = count < 2 ? 0 : print_processes(t, p, order, count, limit);
    free(order);
    return rc;
}
