/* merge: how native stacks and Python frames become one stack.
 *
 * Each call of CPython's evaluation loop runs some Python frames: from one that C code called up to the next
 * such one; up to 3.10, one. Its native frame is replaced by them. So the functions that are implemented in C
 * stand under the Python line that called them, and what runs the interpreter stands outside of it all.
 */
#include <string.h>

#include "base/list.h"
#include "os/proc.h"
#include "sample/target_state.h"

/* What a thread's first frame has on the stack above its own. */
#define START_BYTES 16
/* Libraries that were loaded meanwhile are looked for so often at most; half as often when there were none.
 */
#define REFRESH_FIRST_NS (50 * NS_PER_MS)
#define REFRESH_LAST_NS (64 * NS_PER_S)
#define COLLECTION "(garbage collection)"

/* python: its frames from index `left` inwards were not pushed yet. outer: what stands outside of them
 * all. collects: the garbage collector was at work; collected: there is a frame for it;
 * finalizes: it called a finalizer. */
struct merger {
    struct target *t;
    const struct py_stack *python;
    const struct native_stack *stack;
    size_t left;
    uint32_t node, outer;
    bool collects, collected, finalizes;
    bool began, by_runpy; /* a frame was pushed; the outermost one was runpy's */
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

static bool is_finalizer(const struct py_code *code)
{
    const char *dot = strrchr(code->name, '.');
    return strcmp(dot ? dot + 1 : code->name, "__del__") == 0;
}

/* A module that is outermost is __main__, or the outermost that runpy runs (python -m). Before it, others are
 * imported by site. What was looked for beside it without knowing it is to be looked for again. */
static void note_main(struct merger *m, const struct py_code *code)
{
    struct target *t = m->t;
    struct natives *n = &t->natives;
    bool module = strcmp(code->name, "<module>") == 0, outermost = !m->began;
    m->began = true;
    m->by_runpy |= outermost && strcmp(code->name, "_run_module_as_main") == 0;
    if (n->main_file[0] || !module || !(outermost || m->by_runpy) || code->file[0] != '/' ||
        strlen(code->file) >= sizeof(n->main_file))
        return;
    memcpy(n->main_file, code->file, strlen(code->file) + 1);
    target_forget_places(t);
}

/* The next run, from the outside. */
static void push_run(struct merger *m)
{
    struct target *t = m->t;
    if (m->left == m->python->depth)
        m->outer = m->node;
    while (m->left) {
        size_t i = --m->left;
        struct py_code *code;
        uint32_t place = target_frame_id(t, &m->python->frames[i], &code, m->now_ns);
        if (place == PY_NO_ID)
            place = target_unreadable_frame(t);
        if (code && !code->shim)
            note_main(m, code);
        m->finalizes |= code && is_finalizer(code);
        if (!code || !code->shim)
            m->node = rec_push(t->s->writer, m->node, place);
        if (ends_run(t, m->python, i))
            return;
    }
}

static void push_frame(struct merger *m, enum rec_kind kind, const char *name, const char *file)
{
    m->node = rec_push(m->t->s->writer, m->node, target_named_frame(m->t, kind, name, file, 0));
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
    const struct native_seen *place = m->left ? target_place_of(m->t, f) : NULL;
    return place && place->role == ROLE_EVALUATES;
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
            source_fd_target(&m->t->source, (int)thread->syscall_arg, what, sizeof(what));
    }
    push_frame(m, REC_SYSCALL, name, what);
}

/* Does a wrapper call the function that it is for? */
static bool wraps(struct merger *m, size_t i, const struct native_seen *place)
{
    const struct native_seen *inner = i ? target_place_of(m->t, &m->stack->frames[i - 1]) : NULL;
    return inner && inner->frame == place->frame;
}

static void push_native(struct merger *m, size_t i)
{
    const struct native_seen *found = target_place_of(m->t, &m->stack->frames[i]);
    struct native_seen place = found ? *found : (struct native_seen){.role = ROLE_JUMPS};
    if (place.role == ROLE_COLLECTS) {
        push_frame(m, REC_GC, COLLECTION, "");
        m->collected = true;
    } else if (place.role != ROLE_JUMPS && !(place.role == ROLE_WRAPS && wraps(m, i, &place))) {
        m->node = rec_push(m->t->s->writer, m->node, place.frame);
    }
}

static void merge(struct merger *m)
{
    const struct native_stack *stack = m->stack;
    push_outer_runs(m);
    for (size_t i = stack->depth; i-- > 0;) {
        if (runs_next(m, i))
            push_run(m);
        else
            push_native(m, i);
    }
    /* Where names are lacking, what collects is inside of all that has one. */
    if (m->collects && !m->collected && !m->finalizes && (!stack->depth || !runs_next(m, 0)))
        push_frame(m, REC_GC, COLLECTION, "");
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
    target_forget_places(t);
    map_clear(&n->seen_of);
    n->seen_count = 0;
}

/* Code of no file that is known may be of a library that was loaded since. */
static void unwind_moment(struct target *t, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    struct cfi_cache *cfi = &n->native.cfi;
    native_unwind(&n->native, &n->moment, &n->stack);
    if (!cfi->unmapped || now_ns - n->refreshed_ns < n->refresh_pause_ns)
        return;
    n->refreshed_ns = now_ns;
    native_refresh(&n->native);
    target_forget_places(t);
    cfi->unmapped = false;
    native_unwind(&n->native, &n->moment, &n->stack);
    n->refresh_pause_ns =
        cfi->unmapped ? min_u64(2 * n->refresh_pause_ns, REFRESH_LAST_NS) : REFRESH_FIRST_NS;
}

/* Looks between native ones --------------------------------------------------------------------------- */

/* What a Python stack does in C is another matter when that is to collect garbage. Threads without a Python
 * frame have nothing in common. */
static uint64_t seen_key(const struct thread *thread, uint32_t node, uint8_t state)
{
    uint64_t where = node == REC_NO_STACK ? UINT64_C(1) << 32 | thread->index : node;
    return where << 1 | !!(state & REC_IN_GC);
}

static void remember(struct target *t, uint64_t key, uint32_t merged)
{
    struct natives *n = &t->natives;
    uint32_t index = map_get(&n->seen_of, key);
    if (index == MAP_NONE) {
        struct native_recent *seen = list_room(n->seen, &n->seen_cap, n->seen_count, sizeof(*seen));
        if (!seen)
            return;
        n->seen = seen;
        index = (uint32_t)n->seen_count;
        if (map_put(&n->seen_of, key, index) != 0)
            return;
        n->seen[n->seen_count++] = (struct native_recent){0};
    }
    struct native_recent *recent = &n->seen[index];
    recent->nodes[recent->count++ % RECENT_MAX] = merged;
}

/* The same frames on what stands outside of the thread's Python frames. */
static uint32_t put_on(struct target *t, uint32_t node, uint32_t outer)
{
    struct natives *n = &t->natives;
    size_t depth = 0;
    for (struct rec_node at = {.parent = node}; at.parent != REC_NO_STACK; depth++) {
        uint32_t *path = list_room(n->path, &n->path_cap, depth, sizeof(*path));
        if (!path)
            return node;
        n->path = path;
        at = rec_pushed(t->s->writer, at.parent);
        path[depth] = at.frame;
    }
    while (depth)
        outer = rec_push(t->s->writer, outer, n->path[--depth]);
    return outer;
}

/* One of the last stacks that were seen at this Python stack, by turns: so their shares are kept. Of one that
 * was not seen natively yet, what stands outside of it is known. */
static uint32_t recall(struct target *t, const struct thread *thread, const struct py_stack *stack,
                       uint32_t node, uint8_t state)
{
    struct natives *n = &t->natives;
    uint32_t epoch = rec_epoch(t->s->writer);
    uint32_t index = n->epoch == epoch ? map_get(&n->seen_of, seen_key(thread, node, state)) : MAP_NONE;
    if (index != MAP_NONE) {
        struct native_recent *recent = &n->seen[index];
        return recent->nodes[recent->next++ % min_u64(recent->count, RECENT_MAX)];
    }
    if (thread->outer_epoch == epoch && stack->depth &&
        thread->outer_code == stack->frames[stack->depth - 1].code)
        return put_on(t, node, thread->outer);
    t->s->native_soon = true;
    return node;
}

uint32_t target_native_node(struct target *t, struct thread *thread, const struct py_stack *stack,
                            uint32_t node, uint8_t state, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    if (!n->taken)
        return n->open && !thread->blocked ? recall(t, thread, stack, node, state) : node;
    n->taken = false;
    keep_up(t);
    unwind_moment(t, now_ns);
    if (n->stack.whole)
        thread->stack_end = n->stack.frames[n->stack.depth - 1].sp + START_BYTES;
    struct merger m = {.t = t,
                       .python = stack,
                       .stack = &n->stack,
                       .left = stack->depth,
                       .node = REC_NO_STACK,
                       .collects = state & REC_IN_GC,
                       .now_ns = now_ns};
    merge(&m);
    if (n->stack.whole && stack->depth) {
        thread->outer_code = stack->frames[stack->depth - 1].code;
        thread->outer = m.outer;
        thread->outer_epoch = n->epoch;
    }
    push_syscall(&m, thread);
    if (!thread->blocked)
        remember(t, seen_key(thread, node, state), m.node);
    return m.node;
}
