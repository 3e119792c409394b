/* arrow: one table in Apache Arrow's file format (also called Feather 2), for pyarrow, polars and DuckDB. A
 * row is a stretch of a thread's time with one stack. Text is dictionary-encoded, so that a row takes 64
 * bytes and a whole stack is one number of them; no join is needed to ask for anything.
 *
 * The stack is the text of the collapsed format, the outermost frame first, apart by ';'. function, file and
 * line are the innermost frame's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "export/arrow_ipc.h"
#include "export/formats.h"
#include "export/label.h"

enum {
    TIME,
    DURATION,
    WEIGHT,
    SAMPLES,
    PID,
    COMMAND,
    TID,
    THREAD,
    FUNCTION,
    FILENAME,
    LINE,
    STACK,
    COLUMNS,
};

static const struct arrow_column schema[COLUMNS] = {
    [TIME] = {.name = "time", .type = ARROW_TIME},
    [DURATION] = {.name = "duration_ns", .type = ARROW_INT64},
    [WEIGHT] = {.name = "weight_ns", .type = ARROW_INT64},
    [SAMPLES] = {.name = "samples", .type = ARROW_INT64},
    [PID] = {.name = "pid", .type = ARROW_UINT32},
    [COMMAND] = {.name = "command", .type = ARROW_TEXT},
    [TID] = {.name = "tid", .type = ARROW_UINT32},
    [THREAD] = {.name = "thread", .type = ARROW_TEXT},
    [FUNCTION] = {.name = "function", .type = ARROW_TEXT},
    [FILENAME] = {.name = "file", .type = ARROW_TEXT, .nullable = true},
    [LINE] = {.name = "line", .type = ARROW_UINT32, .nullable = true},
    [STACK] = {.name = "stack", .type = ARROW_LARGE_TEXT},
};

struct leaf {
    uint32_t function, file; /* of the dictionaries; 0 is empty */
    uint32_t line;
};

/* texts: of the columns that have a dictionary, but that of stacks. leaves: by spot. stack_of: by node. */
struct arrow {
    struct paths paths;
    struct arrow_file file;
    struct arrow_column columns[COLUMNS];
    struct strtab texts[COLUMNS];
    struct leaf *leaves;
    uint32_t *stack_of;
    uint32_t stack_count;
    struct label_frames frames;
    struct buf scratch, text;
    uint32_t *stack;
    uint32_t stack_cap;
    int error;
};

static void note(struct arrow *g, int error)
{
    if (error && !g->error)
        g->error = error;
}

static uint32_t text_of(struct arrow *g, uint32_t column, const char *s, size_t len)
{
    uint32_t id = 0;
    note(g, label_intern(&g->texts[column], &g->scratch, s, len, &id));
    return id;
}

static int allocate(struct arrow *g)
{
    int rc = 0;
    g->leaves = calloc((size_t)g->paths.spot_count + 1, sizeof(*g->leaves));
    g->stack_of = calloc(g->paths.count, sizeof(*g->stack_of));
    for (uint32_t i = 0; i < COLUMNS && rc == 0; i++)
        rc = strtab_init(&g->texts[i]);
    return g->leaves && g->stack_of ? rc : -ENOMEM;
}

static void find_leaves(struct arrow *g)
{
    struct label l;
    for (uint32_t i = 0; i < g->paths.spot_count; i++) {
        label_of_spot(&g->paths, i, &l);
        g->leaves[i].function = text_of(g, FUNCTION, l.name, l.name_len);
        g->leaves[i].file = text_of(g, FILENAME, l.file, l.file_len);
        g->leaves[i].line = l.line;
    }
    for (uint32_t i = 1; i < g->paths.count; i++) {
        if (g->paths.nodes[i].weight)
            g->stack_of[i] = g->stack_count++;
    }
}

/* Its arguments, with spaces between them. */
static uint32_t command_of(struct arrow *g, uint32_t process)
{
    size_t len;
    const char *s =
        rec_reader_string(g->paths.reader, rec_reader_process(g->paths.reader, process).command, &len);
    buf_clear(&g->text);
    buf_put(&g->text, s, len && !s[len - 1] ? len - 1 : len);
    for (size_t i = 0; i < g->text.len; i++) {
        if (!g->text.data[i])
            g->text.data[i] = ' ';
    }
    note(g, g->text.error);
    return text_of(g, COMMAND, (char *)g->text.data, g->text.len);
}

/* Texts of threads and processes, so that their dictionaries are whole before the first row. */
static void find_threads(struct arrow *g)
{
    for (uint32_t i = 0; i < g->paths.thread_count; i++) {
        struct thread_label t = label_of_thread(&g->paths, i);
        if (!g->paths.threads[i].weight)
            continue;
        text_of(g, THREAD, t.name, t.name_len);
        command_of(g, rec_reader_thread(g->paths.reader, i).process);
    }
}

static void put_dictionary(struct arrow *g, uint32_t column)
{
    const struct strtab *t = &g->texts[column];
    uint32_t count = (uint32_t)t->count;
    uint64_t *offsets = calloc((size_t)count + 1, sizeof(*offsets));
    if (!offsets) {
        note(g, -ENOMEM);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        offsets[i + 1] = offsets[i] + strtab_len(t, i);
    if (offsets[count] > INT32_MAX)
        note(g, -EFBIG);
    arrow_dictionary(&g->file, column, count, offsets, offsets[count]);
    for (uint32_t i = 0; i < count; i++)
        arrow_text(&g->file, strtab_get(t, i), strtab_len(t, i));
    arrow_text_end(&g->file);
    free(offsets);
}

/* Where each stack ends in the text of all, from the lengths of their frames. 0 or -ENOMEM. */
static int measure_stacks(struct arrow *g, uint64_t *offsets)
{
    const struct path_node *nodes = g->paths.nodes;
    uint64_t *lens = calloc(g->paths.count, sizeof(*lens));
    uint32_t at = 0;
    for (uint32_t i = 1; lens && i < g->paths.count; i++) {
        size_t len;
        label_frame(&g->frames, nodes[i].spot, &len);
        lens[i] = (nodes[i].parent ? lens[nodes[i].parent] + 1 : 0) + len;
        if (!nodes[i].weight)
            continue;
        offsets[at + 1] = offsets[at] + lens[i];
        at++;
    }
    free(lens);
    return lens ? 0 : -ENOMEM;
}

static void put_stack(struct arrow *g, uint32_t node)
{
    uint32_t depth = 0;
    note(g, paths_unwind(&g->paths, node, &g->stack, &g->stack_cap, &depth));
    buf_clear(&g->text);
    for (uint32_t i = 0; i < depth; i++) {
        size_t len;
        const char *s = label_frame(&g->frames, g->paths.nodes[g->stack[i]].spot, &len);
        buf_put(&g->text, ";", i > 0);
        buf_put(&g->text, s, len);
    }
    note(g, g->text.error);
    arrow_text(&g->file, g->text.data, g->text.len);
}

static void put_stacks(struct arrow *g)
{
    uint64_t *offsets = calloc((size_t)g->stack_count + 1, sizeof(*offsets));
    note(g, offsets ? label_frames_init(&g->frames, &g->paths) : -ENOMEM);
    if (!g->error)
        note(g, measure_stacks(g, offsets));
    if (!g->error)
        arrow_dictionary(&g->file, STACK, g->stack_count, offsets, offsets[g->stack_count]);
    for (uint32_t i = 1; i < g->paths.count && !g->error; i++) {
        if (g->paths.nodes[i].weight)
            put_stack(g, i);
    }
    arrow_text_end(&g->file);
    free(offsets);
}

static void put_known(struct arrow_column *c, uint32_t v)
{
    arrow_put_u32(c, v);
    arrow_put_valid(c, v != 0);
}

/* What is the same in all rows of a thread. */
struct whose {
    uint32_t pid, command, tid, thread;
};

static void put_row(struct arrow *g, const struct path_sample *s, const struct whose *w)
{
    const struct rec_header *h = rec_reader_header(g->paths.reader);
    const struct leaf *leaf = &g->leaves[g->paths.nodes[s->path].spot];
    uint64_t ns = h->started_wall_ns + (s->start_ns - h->started_ns);
    struct arrow_column *c = g->columns;
    arrow_put_u64(&c[TIME], ns / NS_PER_US);
    arrow_put_u64(&c[DURATION], s->span_ns);
    arrow_put_u64(&c[WEIGHT], s->weight);
    arrow_put_u64(&c[SAMPLES], s->looks);
    arrow_put_u32(&c[PID], w->pid);
    arrow_put_u32(&c[COMMAND], w->command);
    arrow_put_u32(&c[TID], w->tid);
    arrow_put_u32(&c[THREAD], w->thread);
    arrow_put_u32(&c[FUNCTION], leaf->function);
    put_known(&c[FILENAME], leaf->file);
    put_known(&c[LINE], leaf->line);
    arrow_put_u32(&c[STACK], g->stack_of[s->path]);
}

static void put_rows(struct arrow *g)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < g->paths.thread_count && !g->error; i++) {
        struct thread_label t = label_of_thread(&g->paths, i);
        struct cursor c = paths_start(&g->paths, i);
        struct path_sample s = {0};
        if (!g->paths.threads[i].weight)
            continue;
        struct whose w = {.pid = t.pid, .tid = t.tid, .thread = text_of(g, THREAD, t.name, t.name_len)};
        w.command = command_of(g, rec_reader_thread(g->paths.reader, i).process);
        while (paths_next(&c, &s)) {
            put_row(g, &s, &w);
            if (++rows < ARROW_BATCH_ROWS)
                continue;
            arrow_batch(&g->file, rows);
            rows = 0;
        }
    }
    if (rows)
        arrow_batch(&g->file, rows);
}

static int put_all(struct arrow *g, FILE *to)
{
    const struct arrow_pair about[] = {{"zond.version", ZOND_VERSION},
                                       {"zond.metric", label_of_metric(g->paths.options->metric)}};
    int rc = allocate(g);
    if (rc)
        return rc;
    find_leaves(g);
    find_threads(g);
    memcpy(g->columns, schema, sizeof(schema));
    note(g, arrow_begin(&g->file, to, g->columns, COLUMNS, about, ARRAY_LEN(about)));
    for (uint32_t i = 0; i < COLUMNS && !g->error; i++) {
        if (schema[i].type == ARROW_TEXT)
            put_dictionary(g, i);
    }
    if (!g->error)
        put_stacks(g);
    if (!g->error)
        put_rows(g);
    note(g, arrow_end(&g->file));
    return g->error;
}

int export_arrow(FILE *to, struct rec_reader *r, const struct export_options *o)
{
    struct arrow g = {0};
    buf_init(&g.scratch, 2 * STRTAB_MAX_LEN);
    buf_init(&g.text, UINT32_MAX);
    int rc = paths_read(&g.paths, r, o, true);
    if (rc == 0)
        rc = put_all(&g, to);
    arrow_release(&g.file);
    for (uint32_t i = 0; i < COLUMNS; i++)
        strtab_release(&g.texts[i]);
    label_frames_release(&g.frames);
    buf_release(&g.scratch);
    buf_release(&g.text);
    free(g.leaves);
    free(g.stack_of);
    free(g.stack);
    paths_release(&g.paths);
    if (rc == 0 && (fflush(to) || ferror(to)))
        rc = -EIO;
    return rc;
}
