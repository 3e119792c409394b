/* stack: see stack.h. */
#include "report/stack.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "report/common.h"
#include "report/json_text.h"

#define SCHEMA 1

#define NOTES_MAX 16

/* The looks of one reading, in the order of the file. list is owned. notes: string ids of what was lost and
 * why; more than NOTES_MAX are not kept. */
struct looks {
    struct rec_sample *list;
    size_t count, cap;
    uint32_t notes[NOTES_MAX];
    size_t note_count;
};

static int keep_note(void *ctx, const struct rec_loss *l)
{
    struct looks *looks = ctx;
    if (l->detail && looks->note_count < NOTES_MAX)
        looks->notes[looks->note_count++] = l->detail;
    return 0;
}

static int keep_sample(void *ctx, const struct rec_sample *s)
{
    struct looks *looks = ctx;
    if (looks->count == looks->cap) {
        size_t cap = looks->cap ? 2 * looks->cap : 64;
        struct rec_sample *list = realloc(looks->list, cap * sizeof(*list));
        if (!list)
            return -ENOMEM;
        looks->list = list;
        looks->cap = cap;
    }
    looks->list[looks->count++] = *s;
    return 0;
}

static int read_looks(struct rec_reader *r, struct looks *looks)
{
    static const struct rec_events events = {.sample = keep_sample, .loss = keep_note};
    *looks = (struct looks){0};
    return rec_reader_run(r, &events, looks);
}

static const char *kind_name(uint8_t kind)
{
    static const char *const names[] = {[REC_PYTHON] = "python",
                                        [REC_NATIVE] = "native",
                                        [REC_JIT] = "jit",
                                        [REC_GC] = "gc",
                                        [REC_SYSCALL] = "syscall"};
    return kind < ARRAY_LEN(names) ? names[kind] : "?";
}

/* Text ------------------------------------------------------------------------------------------------ */

static const struct table_column columns[] = {
    {"", TABLE_LEFT, 0, 0, 0},
    {"", TABLE_LEFT, TEXT_CUT_END, 20, 0},
    {"", TABLE_LEFT, TEXT_CUT_START, 18, 0},
};

static void frame_row(struct table *table, const struct term *t, const struct rec_reader *r,
                      uint32_t frame_id)
{
    static const char *const tags[] = {
        [REC_PYTHON] = "py", [REC_NATIVE] = "C", [REC_JIT] = "jit", [REC_GC] = "gc", [REC_SYSCALL] = "sys"};
    struct rec_frame frame = rec_reader_frame(r, frame_id);
    struct rec_code code = rec_reader_code(r, frame.code);
    enum ink ink = code.kind == REC_PYTHON ? INK_STRONG : INK_PLAIN;
    size_t name_len, path_len;
    const char *name = rec_reader_string(r, code.name, &name_len);
    const char *path = rec_reader_string(r, code.file, &path_len);
    const char *shown = common_path(t, path, &path_len);
    char place[PATH_MAX + 16];
    int n = frame.line ? snprintf(place, sizeof(place), "%.*s:%u", (int)min_u64(path_len, PATH_MAX), shown,
                                  frame.line)
                       : snprintf(place, sizeof(place), "%.*s", (int)min_u64(path_len, PATH_MAX), shown);
    table_cell(table, INK_DIM, "  %s", code.kind < ARRAY_LEN(tags) ? tags[code.kind] : "?");
    table_foreign(table, ink, name, name_len);
    table_foreign(table, INK_DIM, place, (size_t)n);
}

static const char *doing(const struct rec_sample *s)
{
    if (s->state & REC_TASK)
        return "task that waits";
    if (s->state & REC_IN_GC)
        return "collects garbage";
    if (s->state & REC_ON_CPU)
        return "on CPU";
    return "waits";
}

static void thread_heading(struct term *t, const struct rec_reader *r, const struct rec_sample *s)
{
    struct rec_thread thread = rec_reader_thread(r, s->thread);
    size_t len;
    const char *name = rec_reader_string(r, thread.name, &len), *dot = term_dot(t);
    t->scratch.len = 0;
    text_clean(&t->scratch, name, len, t->style.unicode);
    const char *gil = s->state & REC_GIL_HELD   ? "holds the GIL"
                      : s->state & REC_GIL_WAIT ? "waits for the GIL"
                                                : "";
    term_newline(t);
    term_put(t, INK_STRONG, "Thread %u ", thread.tid);
    term_clean(t, INK_STRONG, (const char *)t->scratch.data, t->scratch.len);
    term_put(t, s->state & REC_ON_CPU ? INK_PYTHON : INK_WAIT, "%s%s", dot, doing(s));
    if (gil[0])
        term_put(t, INK_GIL, "%s%s", dot, gil);
    term_newline(t);
}

static int show_thread(struct term *t, const struct rec_reader *r, const struct rec_sample *s)
{
    thread_heading(t, r, s);
    struct table *table = table_new(t, columns, ARRAY_LEN(columns));
    for (uint32_t node = s->stack; node;) {
        struct rec_node n = rec_reader_node(r, node);
        frame_row(table, t, r, n.frame);
        node = n.parent;
    }
    if (s->stack == REC_NO_STACK)
        term_put(t, INK_DIM, "  no Python frames\n");
    int rc = s->stack == REC_NO_STACK ? 0 : table_print(table);
    table_free(table);
    return rc;
}

static void process_heading(struct term *t, const struct rec_reader *r, uint32_t index)
{
    struct rec_process p = rec_reader_process(r, index);
    size_t len;
    const char *command = rec_reader_string(r, p.command, &len);
    const char *python = rec_reader_string(r, p.python, NULL);
    struct buf words;
    buf_init(&words, TEXT_MAX);
    common_command(&words, t, command, len);
    if (index)
        term_newline(t);
    term_put(t, INK_STRONG, "Process %u%s%s%s", p.pid, term_dot(t), p.python ? "Python " : "no Python",
             p.python ? python : "");
    term_newline(t);
    term_spaces(t, 2);
    char fitted[TEXT_MAX];
    struct buf fit;
    buf_init(&fit, sizeof(fitted));
    text_fit(&fit, (const char *)words.data, words.len, t->style.width - 2, TEXT_CUT_END, t->style.unicode);
    term_clean(t, INK_DIM, (const char *)fit.data, fit.len);
    term_newline(t);
    buf_release(&fit);
    buf_release(&words);
}

static void show_note(struct term *t, const struct rec_reader *r, uint32_t id)
{
    size_t len;
    const char *note = rec_reader_string(r, id, &len);
    t->scratch.len = 0;
    text_clean(&t->scratch, note, len, t->style.unicode);
    term_newline(t);
    term_paragraph(t, INK_WARN, NULL, (const char *)t->scratch.data, t->scratch.len);
}

int report_stack(FILE *to, struct rec_reader *r, const struct report_style *style)
{
    struct looks looks;
    struct term t;
    int rc = read_looks(r, &looks);
    term_open(&t, to, style);
    for (uint32_t i = 0; !rc && i < rec_reader_process_count(r); i++) {
        process_heading(&t, r, i);
        for (size_t k = 0; !rc && k < looks.count; k++) {
            if (rec_reader_thread(r, looks.list[k].thread).process == i)
                rc = show_thread(&t, r, &looks.list[k]);
        }
    }
    for (size_t i = 0; !rc && i < looks.note_count; i++)
        show_note(&t, r, looks.notes[i]);
    free(looks.list);
    int failed = term_close(&t);
    return rc ? rc : failed;
}

/* JSON ------------------------------------------------------------------------------------------------ */

static json_t *frame_json(const struct rec_reader *r, uint32_t id)
{
    struct rec_frame frame = rec_reader_frame(r, id);
    struct rec_code code = rec_reader_code(r, frame.code);
    return json_pack("{s:s, s:o, s:o, s:o}", "kind", kind_name(code.kind), "name", json_text_of(r, code.name),
                     "file", code.file ? json_text_of(r, code.file) : json_null(), "line",
                     frame.line ? json_integer(frame.line) : json_null());
}

static json_t *thread_json(const struct rec_reader *r, const struct rec_sample *s)
{
    struct rec_thread thread = rec_reader_thread(r, s->thread);
    json_t *frames = json_array();
    for (uint32_t node = s->stack; node;) {
        struct rec_node n = rec_reader_node(r, node);
        json_array_append_new(frames, frame_json(r, n.frame));
        node = n.parent;
    }
    const char *gil = s->state & REC_GIL_HELD ? "held" : s->state & REC_GIL_WAIT ? "waiting" : NULL;
    return json_pack("{s:I, s:o, s:b, s:s?, s:b, s:o, s:b, s:o}", "tid", (json_int_t)thread.tid, "name",
                     json_text_of(r, thread.name), "on_cpu", (s->state & REC_ON_CPU) != 0, "gil", gil, "gc",
                     (s->state & REC_IN_GC) != 0, "syscall",
                     s->syscall == REC_NO_SYSCALL ? json_null() : json_integer(s->syscall), "task",
                     (s->state & REC_TASK) != 0, "frames", frames);
}

static json_t *process_json(const struct rec_reader *r, const struct looks *looks, uint32_t index)
{
    struct rec_process p = rec_reader_process(r, index);
    size_t len;
    const char *command = rec_reader_string(r, p.command, &len);
    json_t *threads = json_array();
    for (size_t i = 0; i < looks->count; i++) {
        if (rec_reader_thread(r, looks->list[i].thread).process == index)
            json_array_append_new(threads, thread_json(r, &looks->list[i]));
    }
    return json_pack("{s:I, s:I, s:o, s:o, s:o}", "pid", (json_int_t)p.pid, "ppid", (json_int_t)p.ppid,
                     "python", p.python ? json_text_of(r, p.python) : json_null(), "command",
                     json_words(command, len), "threads", threads);
}

int report_stack_json(FILE *to, struct rec_reader *r, const struct report_style *style)
{
    struct looks looks;
    (void)style;
    int rc = read_looks(r, &looks);
    json_t *processes = json_array();
    for (uint32_t i = 0; !rc && i < rec_reader_process_count(r); i++)
        json_array_append_new(processes, process_json(r, &looks, i));
    json_t *notes = json_array();
    for (size_t i = 0; !rc && i < looks.note_count; i++)
        json_array_append_new(notes, json_text_of(r, looks.notes[i]));
    json_t *all = json_pack("{s:s, s:i, s:o, s:o}", "zond", ZOND_VERSION, "schema", SCHEMA, "processes",
                            processes, "losses", notes);
    free(looks.list);
    if (!all)
        return rc ? rc : -ENOMEM;
    if (!rc)
        rc = json_dumpf(all, to, JSON_INDENT(1)) == 0 && fputc('\n', to) != EOF && fflush(to) == 0 ? 0 : -EIO;
    json_decref(all);
    return rc;
}
