/* native: a target's native stacks, and how they and the Python frames become one stack.
 *
 * Each call of CPython's evaluation loop runs some Python frames: from one that C code called up to the next
 * such one; up to 3.10, one. Its native frame is replaced by them. So the functions that are implemented in C
 * stand under the Python line that called them, and what runs the interpreter stands outside of it all.
 *
 * A thread that runs is held while its registers, its stack and its Python frames are copied, and unwound
 * after it went on. One that waits is read through /proc: its stack pointer and address are known, the other
 * registers are not, and what needs them ends its stack early.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/proc.h"
#include "sample/target_state.h"

#define EVAL "_PyEval_EvalFrameDefault"
/* Code in memory that no file was mapped to, made by a JIT compiler most often. */
#define NO_FILE "(code of no file)"

/* How often a thread that is woken all the time is copied, to find it waiting before and after. */
#define ATTEMPTS 4
/* What a thread's first frame has on the stack above its own. */
#define START_BYTES 16
/* Places beyond which all are forgotten: the code that JIT compilers make anew all the time. */
#define PLACES_MAX 65536
/* Libraries that were loaded meanwhile are looked for so often at most; half as often when there were none.
 */
#define REFRESH_FIRST_NS (50 * NS_PER_MS)
#define REFRESH_LAST_NS (64 * NS_PER_S)

/* What cannot be had. */
enum lack { NO_MODULES, NO_STOP, NO_REST };

static const char *const lacks[] = {
    [NO_MODULES] = "what it has mapped cannot be read, so its stacks are shown without native frames",
    [NO_STOP] =
        "it may not be stopped (a debugger or strace has it?): threads that run have no native frames",
    [NO_REST] = "a thread did not stand still to be copied: it is shown without native frames",
};

/* Each is told once for a process. */
static void note(struct target *t, uint64_t now_ns, enum lack what)
{
    if (!(t->natives.told & 1u << what))
        target_note(t, REC_LOSS_UNREADABLE, now_ns, "process %d: %s", t->pid, lacks[what]);
    t->natives.told |= 1u << what;
}

static bool begin(struct target *t, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    if (n->open || n->failed)
        return n->open;
    n->moment.copy = malloc(NATIVE_COPY_MAX);
    n->stack.frames = malloc(NATIVE_DEPTH_MAX * sizeof(*n->stack.frames));
    n->open = n->moment.copy && n->stack.frames && native_init(&n->native, t->pid) == 0;
    n->failed = !n->open;
    n->refresh_pause_ns = REFRESH_FIRST_NS;
    if (n->failed)
        note(t, now_ns, NO_MODULES);
    return n->open;
}

void target_forget_native(struct target *t)
{
    struct natives *n = &t->natives;
    stop_end(&n->held);
    if (n->open)
        native_release(&n->native);
    free(n->moment.copy);
    free(n->stack.frames);
    map_release(&n->place_of);
    free(n->places);
    map_release(&n->seen_of);
    free(n->seen);
    *n = (struct natives){0};
}

/* Taking ---------------------------------------------------------------------------------------------- */

/* A thread that waits, at `where`. True when it still waited as it did after its stack was copied. */
static bool take_waiting(struct natives *n, const struct thread *thread, struct proc_syscall *where)
{
    struct registers *r = &n->moment.registers;
    struct proc_syscall before = *where;
    *r = (struct registers){.known = 1u << REGISTER_SP | 1u << REGISTER_PC};
    r->value[REGISTER_SP] = before.sp;
    r->value[REGISTER_PC] = before.pc;
    return before.sp && native_copy_stack(&n->native, &n->moment, thread->stack_end) == 0 &&
           proc_thread_syscall(&thread->files, where) == 0 && !where->running && where->sp == before.sp &&
           where->pc == before.pc;
}

/* A thread that did not stop in time stops later: until it was let go on, no other is stopped. */
static bool take_running(struct target *t, struct thread *thread, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    struct sampling *s = t->s;
    if (s->late.tid)
        return false;
    int err = stop_thread(thread->tid, s->patience_ns, &n->held);
    if (err == -EPERM)
        note(t, now_ns, NO_STOP);
    if (err == -EAGAIN) {
        s->late = n->held;
        n->held = (struct stopped){0};
    }
    if (err)
        return false;
    s->stops++;
    return stop_registers(&n->held, &n->moment.registers) == 0 &&
           native_copy_stack(&n->native, &n->moment, thread->stack_end) == 0;
}

/* Takes a thread that is `where`; it may go from waiting to running and back meanwhile. */
static void take_moment(struct target *t, struct thread *thread, struct proc_syscall where, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    n->taken = false;
    for (int i = 0; i < ATTEMPTS && !where.running && !n->taken; i++)
        n->taken = take_waiting(n, thread, &where);
    if (where.running && t->s->native_now)
        n->taken = take_running(t, thread, now_ns);
}

void target_take_native(struct target *t, struct thread *thread, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    n->taken = false;
    if (!begin(t, now_ns))
        return;
    n->moment.tid = thread->tid;
    take_moment(t, thread,
                (struct proc_syscall){.running = !thread->blocked, .sp = thread->sp, .pc = thread->pc},
                now_ns);
    if (!n->taken && t->s->native_once)
        note(t, now_ns, NO_REST);
}

static void let_go(struct target *t)
{
    if (t->natives.held.tid)
        histogram_add(&t->s->pauses, stop_end(&t->natives.held), 1);
}

bool target_confirm_native(struct target *t, struct thread *thread, bool last, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    const uint64_t *taken = n->moment.registers.value;
    struct proc_syscall where;
    if (!n->taken || n->held.tid) {
        let_go(t);
        return true;
    }
    if (proc_thread_syscall(&thread->files, &where) != 0)
        n->taken = false;
    else if (where.running || where.sp != taken[REGISTER_SP] || where.pc != taken[REGISTER_PC])
        last ? (void)(n->taken = false) : take_moment(t, thread, where, now_ns);
    else
        return true;
    return !n->taken;
}

void target_end_native(struct target *t)
{
    let_go(t);
    t->natives.taken = false;
}

/* Merging --------------------------------------------------------------------------------------------- */

static uint32_t frame_id(struct target *t, enum rec_kind kind, const char *name, const char *file,
                         uint32_t line)
{
    struct rec_writer *w = t->s->writer;
    struct rec_code code = {.name = rec_string(w, name, strlen(name)),
                            .file = rec_string(w, file, strlen(file)),
                            .kind = (uint8_t)kind};
    struct rec_frame frame = {.code = rec_code(w, &code), .line = line};
    return rec_frame(w, &frame);
}

/* python: its frames from index `left` inwards were not pushed yet. */
struct merger {
    struct target *t;
    const struct py_stack *python;
    const struct native_stack *stack;
    size_t left;
    uint32_t node;
    uint64_t now_ns;
};

/* Is a run over with the frame at index i, towards the inside? */
static bool ends_run(const struct target *t, const struct py_stack *python, size_t i)
{
    return i == 0 || python->frames[i - 1].from_c || t->runtime.layout.frame_kind == FRAME_OBJECT;
}

static size_t count_runs(const struct merger *m)
{
    size_t runs = 0;
    for (size_t i = 0; i < m->left; i++)
        runs += ends_run(m->t, m->python, i);
    return runs;
}

/* The next run, from the outside. */
static void push_run(struct merger *m)
{
    struct target *t = m->t;
    while (m->left) {
        size_t i = --m->left;
        struct py_code *code;
        uint32_t place = target_frame_id(t, &m->python->frames[i], &code, m->now_ns);
        if (place == PY_NO_ID)
            place = target_unreadable_frame(t);
        if (!code || !code->shim)
            m->node = rec_push(t->s->writer, m->node, place);
        if (ends_run(t, m->python, i))
            return;
    }
}

/* Places ---------------------------------------------------------------------------------------------- */

static void push_frame(struct merger *m, enum rec_kind kind, const char *name, const char *file)
{
    m->node = rec_push(m->t->s->writer, m->node, frame_id(m->t, kind, name, file, 0));
}

static uint32_t native_frame_id(struct target *t, const struct native_place *place)
{
    char unknown[NAME_MAX + 32];
    const char *slash = strrchr(place->module, '/');
    snprintf(unknown, sizeof(unknown), "%.*s+0x%llx", NAME_MAX, slash ? slash + 1 : place->module,
             (unsigned long long)place->offset);
    const char *name = place->function[0] ? place->function : place->module[0] ? unknown : NO_FILE;
    if (place->source)
        return frame_id(t, REC_NATIVE, name, place->source, place->line > 0 ? (uint32_t)place->line : 0);
    return frame_id(t, REC_NATIVE, name, place->module, 0);
}

/* What is at an address; NULL: no memory. Valid until the next call. */
static const struct native_seen *place_at(struct target *t, uint64_t pc)
{
    struct natives *n = &t->natives;
    uint32_t index = map_get(&n->place_of, pc);
    if (index != MAP_NONE)
        return &n->places[index];
    if (n->place_count == PLACES_MAX) {
        map_clear(&n->place_of);
        n->place_count = 0;
    }
    if (!n->places)
        n->places = malloc(PLACES_MAX * sizeof(*n->places));
    if (!n->places || map_put(&n->place_of, pc, (uint32_t)n->place_count) != 0)
        return NULL;
    struct native_place place = modules_place(&n->native.modules, pc, t->s->native_once);
    n->places[n->place_count] = (struct native_seen){
        .frame = native_frame_id(t, &place),
        .runs_python = strncmp(place.function, EVAL, sizeof(EVAL) - 1) == 0,
    };
    return &n->places[n->place_count++];
}

/* Runs of Python frames ------------------------------------------------------------------------------- */

/* What the call of the evaluation loop that runs the next run has on its own stack; 0: not known. */
static uint64_t next_entry(const struct merger *m)
{
    return m->left ? m->python->frames[m->left - 1].entry : 0;
}

/* From 3.12 on the call is the one whose native frame holds the entry; before, it is known by its name. */
static bool runs_next(const struct merger *m, size_t i)
{
    const struct native_frame *f = &m->stack->frames[i];
    uint64_t entry = next_entry(m);
    if (entry)
        return entry >= f->sp && (i + 1 == m->stack->depth || entry < f[1].sp);
    const struct native_seen *place = m->left ? place_at(m->t, f->pc) : NULL;
    return place && place->runs_python;
}

/* Runs that are outside of what was unwound. */
static size_t count_outer_runs(const struct merger *m)
{
    size_t evals = 0, runs = count_runs(m);
    if (m->stack->whole || next_entry(m))
        return 0;
    for (size_t i = 0; i < m->stack->depth; i++)
        evals += runs_next(m, i);
    return runs > evals ? runs - evals : 0;
}

static void push_outer_runs(struct merger *m)
{
    uint64_t end = m->stack->frames[m->stack->depth - 1].sp;
    for (size_t runs = count_outer_runs(m); runs; runs--)
        push_run(m);
    /* Of several that lie beyond the last native frame, that one can run the innermost. */
    while (!m->stack->whole && next_entry(m) >= end) {
        size_t i = m->left;
        do
            i--;
        while (!ends_run(m->t, m->python, i));
        if (!i || m->python->frames[i - 1].entry < end)
            return;
        push_run(m);
    }
}

/* What the thread waits in is its innermost frame: the call, and what its descriptor stands for. */
static void push_syscall(struct merger *m, const struct thread *thread)
{
    static const char *const of_descriptor[] = {
        "read",     "pread64", "readv",      "write",       "pwrite64", "writev",
        "recvfrom", "recvmsg", "sendto",     "fsync",       "sendmsg",  "accept",
        "accept4",  "connect", "epoll_wait", "epoll_pwait", "flock",    "fdatasync",
    };
    char what[PROC_PATH_MAX] = "";
    const char *name = thread->blocked ? proc_syscall_name(thread->syscall) : NULL;
    if (!name)
        return;
    for (size_t i = 0; i < ARRAY_LEN(of_descriptor); i++) {
        if (strcmp(name, of_descriptor[i]) == 0)
            proc_fd_target(m->t->pid, (int)thread->syscall_arg, what, sizeof(what));
    }
    push_frame(m, REC_SYSCALL, name, what);
}

static void merge(struct merger *m)
{
    const struct native_stack *stack = m->stack;
    push_outer_runs(m);
    for (size_t i = stack->depth; i-- > 0;) {
        const struct native_seen *place;
        if (runs_next(m, i))
            push_run(m);
        else if ((place = place_at(m->t, stack->frames[i].pc)))
            m->node = rec_push(m->t->s->writer, m->node, place->frame);
    }
    m->t->s->mismatches += m->left > 0;
    while (m->left)
        push_run(m);
}

/* The recording numbers places anew in each of its epochs. */
static void keep_up(struct target *t)
{
    struct natives *n = &t->natives;
    if (n->epoch == rec_epoch(t->s->writer))
        return;
    n->epoch = rec_epoch(t->s->writer);
    map_clear(&n->place_of);
    map_clear(&n->seen_of);
    n->place_count = n->seen_count = 0;
}

/* Code of no file that is known may be of a library that was loaded since. */
static void unwind(struct target *t, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    struct cfi_cache *cfi = &n->native.cfi;
    native_unwind(&n->native, &n->moment, &n->stack);
    if (!cfi->unmapped || now_ns - n->refreshed_ns < n->refresh_pause_ns)
        return;
    n->refreshed_ns = now_ns;
    modules_refresh(&n->native.modules);
    cfi_forget(cfi);
    map_clear(&n->place_of);
    n->place_count = 0;
    cfi->unmapped = false;
    native_unwind(&n->native, &n->moment, &n->stack);
    n->refresh_pause_ns =
        cfi->unmapped ? min_u64(2 * n->refresh_pause_ns, REFRESH_LAST_NS) : REFRESH_FIRST_NS;
}

/* Looks between native ones --------------------------------------------------------------------------- */

static void remember(struct target *t, uint32_t node, uint32_t merged)
{
    struct natives *n = &t->natives;
    uint32_t index = map_get(&n->seen_of, node);
    if (index == MAP_NONE) {
        if (n->seen_count == n->seen_cap) {
            size_t cap = n->seen_cap ? 2 * n->seen_cap : 256;
            struct native_recent *seen = realloc(n->seen, cap * sizeof(*seen));
            if (!seen)
                return;
            n->seen = seen;
            n->seen_cap = cap;
        }
        index = (uint32_t)n->seen_count;
        if (map_put(&n->seen_of, node, index) != 0)
            return;
        n->seen[n->seen_count++] = (struct native_recent){0};
    }
    struct native_recent *recent = &n->seen[index];
    recent->nodes[recent->count++ % RECENT_MAX] = merged;
}

/* One of the last stacks that were seen at this Python stack, by turns: so their shares are kept. */
static uint32_t recall(struct target *t, uint32_t node)
{
    struct natives *n = &t->natives;
    if (n->epoch != rec_epoch(t->s->writer))
        return node;
    uint32_t index = map_get(&n->seen_of, node);
    if (index == MAP_NONE)
        return node;
    struct native_recent *recent = &n->seen[index];
    return recent->nodes[recent->next++ % min_u64(recent->count, RECENT_MAX)];
}

uint32_t target_native_node(struct target *t, struct thread *thread, const struct py_stack *stack,
                            uint32_t node, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    if (!n->taken)
        return n->open && !thread->blocked ? recall(t, node) : node;
    n->taken = false;
    keep_up(t);
    unwind(t, now_ns);
    if (n->stack.whole)
        thread->stack_end = n->stack.frames[n->stack.depth - 1].sp + START_BYTES;
    struct merger m = {.t = t,
                       .python = stack,
                       .stack = &n->stack,
                       .left = stack->depth,
                       .node = REC_NO_STACK,
                       .now_ns = now_ns};
    merge(&m);
    push_syscall(&m, thread);
    if (!thread->blocked)
        remember(t, node, m.node);
    return m.node;
}
