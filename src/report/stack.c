/* stack: see stack.h. */
#include "report/stack.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "report/common.h"
#include "report/json_text.h"
#include "report/stack_history.h"

#define SCHEMA 1

#define NOTES_MAX 16
/* A signal by its name, with an address. */
#define SIGNAL_MAX 64

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
    struct rec_sample *list = list_room(looks->list, &looks->cap, looks->count, sizeof(*list));
    if (!list)
        return -ENOMEM;
    looks->list = list;
    looks->list[looks->count++] = *s;
    return 0;
}

static int by_thread(const void *a, const void *b)
{
    const struct rec_sample *x = a, *y = b;
    if (x->thread != y->thread)
        return x->thread < y->thread ? -1 : 1;
    return x->end_ns < y->end_ns ? -1 : x->end_ns > y->end_ns;
}

/* Threads in the order in which they were found: Python's first. */
static int read_looks(struct rec_reader *r, struct looks *looks)
{
    static const struct rec_events events = {.sample = keep_sample, .loss = keep_note};
    *looks = (struct looks){0};
    int err = rec_reader_run(r, &events, looks);
    if (looks->count)
        qsort(looks->list, looks->count, sizeof(*looks->list), by_thread);
    return err;
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
    struct rec_frame frame = rec_reader_frame(r, frame_id);
    struct rec_code code = rec_reader_code(r, frame.code);
    enum ink ink = code.kind == REC_PYTHON ? INK_STRONG : INK_PLAIN;
    size_t name_len, path_len;
    const char *name = rec_reader_string(r, code.name, &name_len);
    const char *path = rec_reader_string(r, code.file, &path_len);
    const char *shown = common_path(t, path, &path_len);
    char place[PATH_MAX + 16];
    uint32_t line = frame.line ? frame.line : code.first_line;
    int n = line ? snprintf(place, sizeof(place), "%.*s:%u", (int)min_u64(path_len, PATH_MAX), shown, line)
                 : snprintf(place, sizeof(place), "%.*s", (int)min_u64(path_len, PATH_MAX), shown);
    table_cell(table, INK_DIM, "  %s", common_kind(code.kind).tag);
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

/* "SIGSEGV at 0x0" */
static void name_signal(const struct stack_death *death, char *out, size_t size)
{
    const char *name = sigabbrev_np(death->signal);
    int n = name ? snprintf(out, size, "SIG%s", name) : snprintf(out, size, "signal %d", death->signal);
    if (death->has_address && n > 0 && (size_t)n < size)
        snprintf(out + n, size - (size_t)n, " at 0x%llx", (unsigned long long)death->address);
}

static void put_death(struct term *t, const char *before, const struct stack_death *death)
{
    char signal[SIGNAL_MAX];
    name_signal(death, signal, sizeof(signal));
    term_put(t, INK_WARN, "%s%s%s", term_dot(t), before, signal);
}

static void put_end(struct term *t, const struct stack_death *death)
{
    put_death(t, "ended by ", death);
    term_put(t, INK_WARN, " in thread %u", death->tid);
}

static void thread_heading(struct term *t, const struct rec_reader *r, const struct rec_sample *s,
                           const struct stack_death *death)
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
    if (death->signal && death->tid == thread.tid)
        put_death(t, "got ", death);
    term_newline(t);
}

static size_t depth_of(const struct rec_reader *r, uint32_t node)
{
    size_t depth = 0;
    for (; node; node = rec_reader_node(r, node).parent)
        depth++;
    return depth;
}

static bool is_python(const struct rec_reader *r, uint32_t frame_id)
{
    return rec_reader_code(r, rec_reader_frame(r, frame_id).code).kind == REC_PYTHON;
}

/* Under a frame: its local variables, a line each. */
static void local_lines(struct table *table, const struct rec_locals *locals, uint32_t thread,
                        uint32_t number)
{
    size_t count = locals ? rec_locals_count(locals, thread, number) : 0;
    for (size_t i = 0; i < count; i++) {
        struct rec_local local = rec_locals_get(locals, thread, number, i);
        struct buf line;
        buf_init(&line, TEXT_MAX);
        buf_put(&line, local.name, local.name_len);
        buf_put_str(&line, " = ");
        buf_put(&line, local.value, local.value_len);
        table_line(table, INK_DIM, (const char *)line.data, line.len);
        buf_release(&line);
    }
}

/* common: so many frames from the outermost are as they were at the last look. */
static int show_thread(struct term *t, const struct rec_reader *r, const struct rec_sample *s, size_t common,
                       const struct stack_beside *beside)
{
    thread_heading(t, r, s, &beside->death);
    struct table *table = table_new(t, columns, ARRAY_LEN(columns));
    size_t left = depth_of(r, s->stack) - common;
    uint32_t number = 0;
    for (uint32_t node = s->stack; node && left; left--) {
        struct rec_node n = rec_reader_node(r, node);
        frame_row(table, t, r, n.frame);
        if (is_python(r, n.frame))
            local_lines(table, beside->locals, s->thread, number++);
        node = n.parent;
    }
    if (common) {
        table_cell(table, INK_DIM, "%s", "");
        table_cell(table, INK_DIM, common == 1 ? "%zu frame as before" : "%zu frames as before", common);
        table_cell(table, INK_DIM, "%s", "");
    }
    if (s->stack == REC_NO_STACK)
        term_put(t, INK_DIM, "  no Python frames\n");
    int rc = s->stack == REC_NO_STACK ? 0 : table_print(table);
    table_free(table);
    return rc;
}

static void process_heading(struct term *t, const struct rec_reader *r, uint32_t index,
                            const struct stack_death *death)
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
    if (death->signal)
        put_end(t, death);
    else if (death->of_core)
        term_put(t, INK_DIM, "%sas its core has it", term_dot(t));
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

/* The threads of a process: at a further look those whose stack is another one. *same: how many are not
 * shown. */
static int show_threads(struct term *t, const struct rec_reader *r, const struct looks *looks,
                        uint32_t process, const struct stack_beside *beside, size_t *same)
{
    int rc = 0;
    for (size_t k = 0; !rc && k < looks->count; k++) {
        const struct rec_sample *s = &looks->list[k];
        struct stack_change change = {0};
        if (rec_reader_thread(r, s->thread).process != process)
            continue;
        if (beside->before)
            rc = stack_history_take(beside->before, r, s, &change);
        *same += change.same;
        if (!rc && !change.same)
            rc = show_thread(t, r, s, change.known ? change.common : 0, beside);
    }
    return rc;
}

static void put_unchanged(struct term *t, size_t same, size_t ended)
{
    char text[96];
    int n = 0;
    if (same)
        n = snprintf(text, sizeof(text), "%zu %s as before", same, same == 1 ? "thread" : "threads");
    if (ended)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%zu ended", n ? term_dot(t) : "", ended);
    if (!n)
        return;
    term_newline(t);
    term_paragraph(t, INK_DIM, NULL, text, (size_t)n);
}

int report_stack(FILE *to, struct rec_reader *r, const struct stack_beside *beside,
                 const struct report_style *style)
{
    struct looks looks;
    struct term t;
    size_t same = 0;
    int rc = read_looks(r, &looks);
    term_open(&t, to, style);
    for (uint32_t i = 0; !rc && i < rec_reader_process_count(r); i++) {
        process_heading(&t, r, i, &beside->death);
        rc = show_threads(&t, r, &looks, i, beside, &same);
    }
    if (beside->before)
        put_unchanged(&t, same, stack_history_end(beside->before));
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
    uint32_t line = frame.line ? frame.line : code.first_line;
    return json_pack("{s:s, s:b, s:o, s:o, s:o}", "kind", common_kind(code.kind).name, "guessed",
                     code.kind == REC_GUESSED, "name", json_text_of(r, code.name), "file",
                     code.file ? json_text_of(r, code.file) : json_null(), "line",
                     line ? json_integer(line) : json_null());
}

static json_t *locals_json(const struct rec_locals *locals, uint32_t thread, uint32_t number)
{
    json_t *list = json_array();
    size_t count = rec_locals_count(locals, thread, number);
    for (size_t i = 0; i < count; i++) {
        struct rec_local local = rec_locals_get(locals, thread, number, i);
        json_array_append_new(list, json_pack("{s:o, s:o}", "name", json_text(local.name, local.name_len),
                                              "value", json_text(local.value, local.value_len)));
    }
    return list;
}

static json_t *thread_json(const struct rec_reader *r, const struct rec_sample *s,
                           const struct rec_locals *locals)
{
    uint32_t number = 0;
    struct rec_thread thread = rec_reader_thread(r, s->thread);
    json_t *frames = json_array();
    for (uint32_t node = s->stack; node;) {
        struct rec_node n = rec_reader_node(r, node);
        json_t *frame = frame_json(r, n.frame);
        if (locals && is_python(r, n.frame))
            json_object_set_new(frame, "locals", locals_json(locals, s->thread, number++));
        json_array_append_new(frames, frame);
        node = n.parent;
    }
    const char *gil = s->state & REC_GIL_HELD ? "held" : s->state & REC_GIL_WAIT ? "waiting" : NULL;
    return json_pack("{s:I, s:o, s:b, s:s?, s:b, s:o, s:b, s:o}", "tid", (json_int_t)thread.tid, "name",
                     json_text_of(r, thread.name), "on_cpu", (s->state & REC_ON_CPU) != 0, "gil", gil, "gc",
                     (s->state & REC_IN_GC) != 0, "syscall",
                     s->syscall == REC_NO_SYSCALL ? json_null() : json_integer(s->syscall), "task",
                     (s->state & REC_TASK) != 0, "frames", frames);
}

static json_t *death_json(const struct stack_death *death)
{
    const char *name = sigabbrev_np(death->signal);
    char signal[SIGNAL_MAX];
    if (!death->of_core)
        return json_null();
    if (name)
        snprintf(signal, sizeof(signal), "SIG%s", name);
    else
        snprintf(signal, sizeof(signal), "%d", death->signal);
    return json_pack("{s:s?, s:o, s:o}", "signal", death->signal ? signal : NULL, "tid",
                     death->signal ? json_integer(death->tid) : json_null(), "address",
                     death->has_address ? json_integer((json_int_t)death->address) : json_null());
}

static json_t *process_json(const struct rec_reader *r, const struct looks *looks, uint32_t index,
                            const struct stack_beside *beside)
{
    struct rec_process p = rec_reader_process(r, index);
    size_t len;
    const char *command = rec_reader_string(r, p.command, &len);
    json_t *threads = json_array();
    for (size_t i = 0; i < looks->count; i++) {
        if (rec_reader_thread(r, looks->list[i].thread).process == index)
            json_array_append_new(threads, thread_json(r, &looks->list[i], beside->locals));
    }
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o}", "pid", (json_int_t)p.pid, "ppid", (json_int_t)p.ppid,
                     "python", p.python ? json_text_of(r, p.python) : json_null(), "command",
                     json_words(command, len), "core", death_json(&beside->death), "threads", threads);
}

int report_stack_json(FILE *to, struct rec_reader *r, const struct stack_beside *beside,
                      const struct report_style *style)
{
    struct looks looks;
    (void)style;
    int rc = read_looks(r, &looks);
    json_t *processes = json_array();
    for (uint32_t i = 0; !rc && i < rec_reader_process_count(r); i++)
        json_array_append_new(processes, process_json(r, &looks, i, beside));
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
