/* target: see target.h. The life of one process: search, Python, end. */
#include "sample/target.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/proc.h"
#include "sample/target_state.h"

/* A new program is looked at soon and often, an old one that is no Python ever more seldom. */
#define SEARCH_FIRST_NS (1 * NS_PER_MS)
#define SEARCH_LAST_NS (100 * NS_PER_MS)
#define EXEC_CHECK_NS (50 * NS_PER_MS)
#define LIST_AGAIN_NS (100 * NS_PER_MS)
#define LIST_SOON_NS (2 * NS_PER_MS)
/* Between two listings, so many times what the last one took: ten thousand threads take 15 ms. */
#define LIST_REST 4
#define COMMAND_MAX (64u << 10)

int sampling_init(struct sampling *s, struct rec_writer *writer)
{
    *s = (struct sampling){.writer = writer, .tick_ns = proc_tick_ns()};
    s->stack.frames = malloc(PY_DEPTH_MAX * sizeof(*s->stack.frames));
    int err = s->stack.frames ? py_batch_init(&s->batch) : -ENOMEM;
    if (!err)
        err = py_finder_new(&s->finder);
    if (!err)
        err = py_walker_new(&s->walker);
    if (err)
        sampling_release(s);
    return err;
}

void sampling_release(struct sampling *s)
{
    free(s->stack.frames);
    py_batch_release(&s->batch);
    py_finder_free(s->finder);
    py_walker_free(s->walker);
    *s = (struct sampling){0};
}

void sampling_report(struct sampling *s, uint64_t now_ns, uint64_t ticks, uint64_t reads, uint64_t bytes)
{
    for (int kind = 0; kind < REC_LOSS_KINDS; kind++) {
        struct rec_loss loss = {.kind = (uint8_t)kind, .time_ns = now_ns, .count = s->losses[kind]};
        if (loss.count)
            rec_loss(s->writer, &loss);
        s->losses[kind] = 0;
    }
    for (size_t i = 0; i < HISTOGRAM_BUCKETS && s->pauses.total; i++) {
        struct rec_pause pause = {.ns = histogram_upper(i), .count = s->pauses.counts[i]};
        if (pause.count)
            rec_pause(s->writer, &pause);
    }
    s->pauses = (struct histogram){0};
    struct rec_stats stats = {.time_ns = now_ns,
                              .ticks = ticks,
                              .samples = s->samples,
                              .cpu_ns = clock_self_cpu_ns(),
                              .reads = s->reads + reads,
                              .read_bytes = s->bytes + bytes,
                              .stops = s->stops};
    rec_stats(s->writer, &stats);
}

static void announce(struct target *t, uint64_t now_ns)
{
    struct buf command;
    buf_init(&command, COMMAND_MAX);
    source_command(&t->source, &command);
    struct rec_process entry = {.pid = (uint32_t)t->pid,
                                .ppid = (uint32_t)t->ppid,
                                .start_ns = now_ns,
                                .command = rec_string(t->s->writer, command.data, command.len)};
    t->index = rec_process(t->s->writer, &entry);
    buf_release(&command);
}

/* A program begins: nothing is known of it. */
static void begin(struct target *t, uint64_t now_ns)
{
    t->phase = TARGET_SEARCH;
    t->found = PY_NONE;
    t->searched_ns = t->checked_ns = now_ns;
    t->search_pause_ns = 0;
    t->same_pid_ns = t->source.core || proc_same_ns(t->pid, "pid") != 0;
    announce(t, now_ns);
}

static void free_threads(struct target *t)
{
    for (struct thread *thread = t->threads; thread; thread = thread->next)
        thread->gone = true;
    target_drop_threads(t);
}

/* The program is over: what is known of its Python goes. */
static void leave_python(struct target *t)
{
    free_threads(t);
    target_forget_foreign(t);
    py_codes_release(&t->codes);
    edges_release(&t->edges);
    target_forget_native(t);
    t->s->reads += t->runtime.memory.reads;
    t->s->bytes += t->runtime.memory.bytes;
    t->runtime = (struct py_runtime){0};
    t->names = (struct py_names){0};
    target_forget_tasks(t);
    t->interp_count = 0;
    t->cpu_ns = 0;
}

int target_new(struct sampling *s, const struct source *source, pid_t ppid, uint64_t now_ns,
               struct target **out)
{
    struct target *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->s = s;
    t->source = *source;
    t->pid = source->pid;
    t->ppid = ppid;
    int err = source->core ? 0 : proc_stat(t->pid, &t->born);
    if (err) {
        free(t);
        return err;
    }
    py_codes_init(&t->codes);
    edges_init(&t->edges);
    begin(t, now_ns);
    *out = t;
    return 0;
}

void target_free(struct target *t)
{
    if (!t)
        return;
    leave_python(t);
    free(t);
}

pid_t target_pid(const struct target *t)
{
    return t->pid;
}

enum target_phase target_phase(const struct target *t)
{
    return t->phase;
}

enum py_found target_found(const struct target *t)
{
    return t->found;
}

const char *target_version(const struct target *t)
{
    return t->runtime.version;
}

void target_count_reads(const struct target *t, uint64_t *reads, uint64_t *bytes)
{
    *reads += t->runtime.memory.reads;
    *bytes += t->runtime.memory.bytes;
}

void target_read_cpu(struct target *t)
{
    if (!t->source.core)
        proc_cpu_ns(t->pid, &t->cpu_ns);
}

static void note_version(struct target *t)
{
    const char *version = t->runtime.version;
    rec_process_python(t->s->writer, t->index, rec_string(t->s->writer, version, strlen(version)));
}

void target_note(struct target *t, enum rec_loss_kind kind, uint64_t now_ns, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct rec_loss loss = {.kind = (uint8_t)kind,
                            .time_ns = now_ns,
                            .count = 1,
                            .detail = rec_string(t->s->writer, text, min_u64((uint64_t)n, sizeof(text) - 1))};
    rec_loss(t->s->writer, &loss);
}

/* What cannot be looked into; told once for each process. */
static void note_opaque(struct target *t, uint64_t now_ns)
{
    if (t->found == PY_OTHER)
        target_note(t, REC_LOSS_PROCESS, now_ns,
                    "process %d runs another Python than CPython (PyPy?): zond cannot see its functions",
                    t->pid);
    else if (t->found == PY_UNSUPPORTED)
        target_note(t, REC_LOSS_PROCESS, now_ns, "process %d runs CPython %s, which this zond does not know",
                    t->pid, t->runtime.version);
    else if (t->found == PY_DENIED)
        target_note(t, REC_LOSS_PROCESS, now_ns, "process %d may not be looked into: see `zond doctor`",
                    t->pid);
}

static void search(struct target *t, uint64_t now_ns)
{
    if (now_ns - t->searched_ns < t->search_pause_ns)
        return;
    t->found = py_find(t->s->finder, &t->source, &t->runtime);
    t->searched_ns = now_ns;
    switch (t->found) {
    case PY_READY:
        t->phase = TARGET_PYTHON;
        t->list_stale = true;
        t->s->pythons++;
        note_version(t);
        break;
    case PY_NOT_READY:
        t->search_pause_ns = SEARCH_FIRST_NS;
        break;
    case PY_NONE:
        t->search_pause_ns = min_u64(max_u64(t->search_pause_ns * 3 / 2, SEARCH_FIRST_NS), SEARCH_LAST_NS);
        break;
    case PY_OTHER:
    case PY_UNSUPPORTED:
    case PY_DENIED:
        t->phase = TARGET_OPAQUE;
        note_opaque(t, now_ns);
        break;
    case PY_GONE:
        t->phase = TARGET_GONE;
        break;
    }
}

static void write_exit(struct target *t, uint64_t now_ns, int32_t code, int32_t signal)
{
    target_read_cpu(t);
    struct rec_exit end = {
        .process = t->index, .end_ns = now_ns, .code = code, .signal = signal, .cpu_ns = t->cpu_ns};
    rec_exit(t->s->writer, &end);
}

/* Has the process become another program, or none? Looked at from time to time, and when a read failed. */
static void check_program(struct target *t, uint64_t now_ns)
{
    struct proc_stat st;
    t->checked_ns = now_ns;
    if (t->source.core)
        return;
    if (proc_stat(t->pid, &st) != 0 || st.state == 'Z' || st.state == 'X' ||
        st.start_ticks != t->born.start_ticks) {
        t->phase = TARGET_GONE;
        return;
    }
    proc_cpu_ns(t->pid, &t->cpu_ns);
    /* 0: it is ending and has given up its memory, or we may not see it. */
    if (st.start_stack == t->born.start_stack || !st.start_stack)
        return;
    write_exit(t, now_ns, REC_NO_CODE, 0);
    leave_python(t);
    late_poll(&t->s->late);
    t->born = st;
    begin(t, now_ns);
}

/* A look failed: the process ended, execed, or finalised its Python. */
static void look_failed(struct target *t, uint64_t now_ns)
{
    check_program(t, now_ns);
    if (t->phase != TARGET_PYTHON)
        return;
    leave_python(t);
    t->phase = TARGET_SEARCH;
    t->search_pause_ns = SEARCH_FIRST_NS;
    t->searched_ns = now_ns;
}

/* A look met an interpreter that is gone. Is it one of several that ended, and not the process or its Python?
 */
static bool interps_remain(struct target *t)
{
    struct py_interp interps[PY_INTERPS_MAX];
    size_t count;
    if (t->interp_count < 2)
        return false;
    int err = py_interps(&t->runtime, interps, &count);
    return !err || err == -EAGAIN;
}

static void look_into(struct target *t, uint64_t now_ns)
{
    int err = 0;
    uint64_t age_ns = now_ns - t->listed_ns;
    bool due = t->list_stale || age_ns > (t->list_soon ? LIST_SOON_NS : LIST_AGAIN_NS);
    if (due && age_ns >= LIST_REST * t->list_took_ns)
        err = target_list_threads(t, now_ns);
    if (!err)
        err = target_look_threads(t, now_ns);
    if (!err)
        target_look_foreign(t, now_ns);
    if (err && interps_remain(t))
        t->list_stale = true;
    else if (err)
        look_failed(t, now_ns);
    else
        target_look_tasks(t, now_ns);
}

void target_look(struct target *t, uint64_t now_ns)
{
    /* A program that is no Python (yet) may exec one at any moment: its check goes with the search. */
    uint64_t pause = t->phase == TARGET_SEARCH ? min_u64(t->search_pause_ns, EXEC_CHECK_NS) : EXEC_CHECK_NS;
    if (t->phase != TARGET_GONE && now_ns - t->checked_ns >= pause)
        check_program(t, now_ns);
    if (t->phase == TARGET_SEARCH)
        search(t, now_ns);
    if (t->phase == TARGET_PYTHON)
        look_into(t, now_ns);
}

void target_flush(struct target *t)
{
    for (struct thread *thread = t->threads; thread; thread = thread->next)
        thread_flush(thread, t->s->writer);
}

void target_end(struct target *t, uint64_t now_ns, int32_t code, int32_t signal)
{
    write_exit(t, now_ns, code, signal);
    leave_python(t);
    t->phase = TARGET_GONE;
}
