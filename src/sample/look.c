/* look: the stacks of a target's threads at one moment, as nodes of the recording's trie.
 *
 * Threads that did not run since the last look keep their stack without a read. The others are planned
 * into batches; what was missed or torn is planned again, by itself, up to ATTEMPTS times.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "sample/target_state.h"

#define ATTEMPTS 12
/* From this attempt on a stack that does not fit the plan is taken after a comparison. */
#define PATIENT_FROM 3
/* A code object is compared with the target's memory when the last time is longer ago: for so long another
 * one can stand at its address unseen. Each look would pay a third more without this. */
#define CODE_FRESH_NS (5 * NS_PER_MS)
/* Threads looked at by one read. */
#define BATCH_THREADS 32
/* A thread that did not run for so many looks is asked only at every CALM_STRIDE-th look, where a process
 * has more than CALM_CROWD threads. */
#define CALM_AFTER 16
#define CALM_STRIDE 4
#define CALM_CROWD 16
/* Interpreters whose state is read by one call. */
#define INTERPS_MAX 8

/* An edge that is not trusted, and the activation of the callee that it was seen in; at 0: none. */
struct doubt {
    uint64_t at;
    uint32_t place, callee;
};

/* A thread in a batch. */
struct pending {
    struct thread *thread;
    struct py_look look;
    unsigned attempts;
    struct doubt doubt; /* of the attempt before */
};

static const struct py_interp_now *now_of(const struct target *t, const struct thread *thread)
{
    static const struct py_interp_now nothing;
    for (size_t i = 0; i < t->interp_count; i++) {
        if (t->interps[i].address == thread->current.interp)
            return &t->now[i];
    }
    return &nothing;
}

static bool waits_for_gil(const struct target *t, const struct thread *thread)
{
    if (!thread->blocked || thread->syscall != SYS_futex)
        return false;
    for (size_t i = 0; i < t->interp_count; i++) {
        const struct py_interp *interp = &t->interps[i];
        if (thread->syscall_arg >= interp->gil && thread->syscall_arg < interp->gil_end)
            return true;
    }
    return false;
}

static uint8_t state_of(const struct target *t, const struct thread *thread, bool in_call)
{
    bool on_cpu = thread->running;
    const struct py_interp_now *now = now_of(t, thread);
    bool holds = now->gil_holder == thread->current.tstate;
    bool has_gil = !t->runtime.layout.free_threaded || now->gil_holder;
    uint8_t state = on_cpu ? REC_ON_CPU : 0;
    if (holds)
        state |= REC_GIL_HELD;
    else if (waits_for_gil(t, thread))
        state |= REC_GIL_WAIT;
    if (now->collecting && (holds || (!has_gil && on_cpu)))
        state |= REC_IN_GC;
    /* Running without the GIL is running C code, whatever the frame stands on. */
    if (in_call || (on_cpu && has_gil && !holds))
        state |= REC_IN_C;
    return state;
}

static bool memo_reserve(struct memo *m, size_t depth)
{
    if (m->cap && depth <= m->cap)
        return true;
    size_t cap = depth + depth / 2 + 16;
    struct py_frame *frames = realloc(m->frames, cap * sizeof(*frames));
    if (frames)
        m->frames = frames;
    struct memo_ids *ids = realloc(m->ids, cap * sizeof(*ids));
    if (ids)
        m->ids = ids;
    if (!frames || !ids)
        return false;
    m->cap = cap;
    return true;
}

static bool same_frame(const struct py_frame *a, const struct py_frame *b)
{
    return a->at == b->at && a->code == b->code && a->instr == b->instr && a->tlbc == b->tlbc;
}

/* How many of the outermost frames are the same as at the last look. None when one of them was taken on an
 * old comparison of its code: it is time to compare all. */
static size_t common_frames(const struct target *t, const struct memo *m, const struct py_stack *stack,
                            uint64_t now_ns)
{
    if (m->record_epoch != rec_epoch(t->s->writer) || m->code_epoch != t->codes.epoch)
        return 0;
    if (m->unchecked_ns && now_ns - m->unchecked_ns > CODE_FRESH_NS)
        return 0;
    size_t most = min_u64(m->depth, stack->depth), n = 0;
    /* Both lists have the outermost frame last. */
    while (n < most && same_frame(&m->frames[m->depth - 1 - n], &stack->frames[stack->depth - 1 - n]))
        n++;
    return n;
}

/* Code objects whose identity is to be compared, collected over one stack. */
struct checks {
    struct py_code *list[MEMORY_PIECES_MAX];
    size_t count;
};

static int run_checks(struct target *t, struct checks *checks, uint64_t now_ns)
{
    int err = checks->count ? py_codes_check(&t->runtime, checks->list, checks->count, now_ns) : 0;
    checks->count = 0;
    return err;
}

/* A stack on its way to a node. */
struct ascent {
    struct target *t;
    struct py_stack *stack;
    struct checks checks;
    struct doubt before, *doubt; /* of the attempt before, and of this one */
    bool unchecked;              /* a frame was taken on a comparison of its code before this look */
    bool last;                   /* no further attempt follows: take what there is */
    uint64_t now_ns;
};

/* An edge that is not trusted yet: is it sound for now? If not, it is the doubt of this attempt. */
static bool weigh_edge(struct ascent *a, size_t i, uint32_t place, uint32_t callee)
{
    struct py_frame *frames = a->stack->frames;
    struct doubt doubt = {.at = frames[i].at, .place = place, .callee = callee};
    bool again = memcmp(&doubt, &a->before, sizeof(doubt)) == 0;
    bool calls = target_frame_calls(a->t, &frames[i + 1], a->now_ns);
    bool sound = edges_sound(&a->t->edges, place, callee, calls, again);
    if (!sound)
        *a->doubt = doubt;
    return sound;
}

/* The frame at index i, called from `caller` (ids of the frame outside of it). -EAGAIN: look again. */
static int ascend(struct ascent *a, size_t i, struct memo_ids caller, struct memo_ids *ids)
{
    struct target *t = a->t;
    struct py_frame *frame = &a->stack->frames[i];
    struct py_code *code;
    ids->place = target_frame_id(t, frame, &code, a->now_ns);
    if (ids->place == PY_NO_ID && !a->last)
        return -EAGAIN;
    if (ids->place == PY_NO_ID)
        ids->place = target_unreadable_frame(t);
    if (code && code->shim) {
        *ids = caller;
        return 0;
    }
    if (code && caller.node != REC_NO_STACK && !edges_trusted(&t->edges, caller.place, code->id) &&
        !weigh_edge(a, i, caller.place, code->id) && !a->last)
        return -EAGAIN;
    if (code && code->checked_ns + CODE_FRESH_NS < a->now_ns)
        a->checks.list[a->checks.count++] = code;
    else if (code && code->checked_ns != a->now_ns)
        a->unchecked = true;
    ids->node = rec_push(t->s->writer, caller.node, ids->place);
    return a->checks.count == MEMORY_PIECES_MAX ? run_checks(t, &a->checks, a->now_ns) : 0;
}

/* Turns the stack into a node: only the frames that changed since the last look are looked up. */
static int stack_to_node(struct ascent *a, struct thread *thread, uint32_t *node)
{
    struct target *t = a->t;
    struct memo *m = &thread->memo;
    size_t depth = a->stack->depth, common = common_frames(t, m, a->stack, a->now_ns);
    if (!memo_reserve(m, depth + common))
        return -ENOMEM;
    uint32_t epoch = t->codes.epoch;
    struct memo_ids caller = common ? m->ids[m->depth - common] : (struct memo_ids){.node = REC_NO_STACK};
    /* The common frames stay at the end of the array, which moves when the depth changes. */
    memmove(m->ids + (depth - common), m->ids + (m->depth - common), common * sizeof(*m->ids));
    m->depth = 0;
    int err = 0;
    for (size_t i = depth - common; i-- > 0 && !err;) {
        err = ascend(a, i, caller, &m->ids[i]);
        if (t->codes.epoch != epoch)
            return -EAGAIN;
        caller = m->ids[i];
    }
    if (!err)
        err = run_checks(t, &a->checks, a->now_ns);
    if (err && !a->last)
        return -EAGAIN;
    memcpy(m->frames, a->stack->frames, depth * sizeof(*m->frames));
    m->depth = depth;
    m->record_epoch = rec_epoch(t->s->writer);
    m->code_epoch = epoch;
    if (!common)
        m->unchecked_ns = 0;
    if (a->unchecked && !m->unchecked_ns)
        m->unchecked_ns = a->now_ns;
    *node = caller.node;
    return 0;
}

static void lose(struct target *t, enum rec_loss_kind kind, uint64_t count)
{
    t->s->losses[kind] += count;
}

/* A thread whose stack is known (or given up): its sample. */
static void settle(struct target *t, struct pending *p, uint32_t node, bool in_call, uint64_t now_ns)
{
    struct thread *thread = p->thread;
    uint8_t state = state_of(t, thread, in_call);
    thread->resting = thread->blocked;
    thread_add(thread, t->s->writer, now_ns, node, state);
    t->s->samples++;
}

/* The result of a look that was read. True when the thread is done with. */
static bool take(struct target *t, struct pending *p, uint64_t now_ns)
{
    struct sampling *s = t->s;
    uint32_t node = REC_NO_STACK;
    enum py_taken taken =
        py_look_take(s->walker, &t->runtime, &p->look, p->attempts >= PATIENT_FROM, &s->stack);
    if (taken == PY_NO_THREAD) {
        t->list_stale = true;
        return true;
    }
    struct ascent ascent = {.t = t,
                            .stack = &s->stack,
                            .before = p->doubt,
                            .doubt = &p->doubt,
                            .last = p->attempts + 1 >= ATTEMPTS,
                            .now_ns = now_ns};
    p->doubt = (struct doubt){0};
    int err = taken == PY_TAKEN ? stack_to_node(&ascent, p->thread, &node) : -EAGAIN;
    if (err) {
        lose(t, REC_LOSS_TORN, taken != PY_MISSED);
        return false;
    }
    lose(t, REC_LOSS_TRUNCATED, s->stack.truncated);
    settle(t, p, node, s->stack.depth && target_frame_calls(t, &s->stack.frames[0], now_ns), now_ns);
    return true;
}

/* The guesses of a look led to memory that is not there: start without any. */
static void forget_guesses(struct py_spot *spot)
{
    spot->extra_count = 0;
    spot->cframe = 0;
    memset(spot->chunks, 0, sizeof(spot->chunks));
}

static void take_interps(struct target *t, const struct py_interp_look *looks, size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct py_interp_now now = py_interp_take(&looks[i]);
        t->list_stale |= now.threads_head != t->now[first + i].threads_head;
        t->now[first + i] = now;
    }
}

/* What one read brings: the states of interpreters [first_interp, + interps), and threads. */
struct round {
    struct pending *list;
    size_t count;   /* threads that wait for a look */
    size_t planned; /* the first of them are in this read */
    struct py_interp_look looks[INTERPS_MAX];
    size_t first_interp, interps;
};

static void plan_round(struct target *t, struct round *r)
{
    struct py_batch *batch = &t->s->batch;
    py_batch_clear(batch);
    r->first_interp += r->interps;
    r->interps = min_u64(t->interp_count - r->first_interp, INTERPS_MAX);
    for (size_t i = 0; i < r->interps; i++)
        py_interp_plan(&t->runtime, &t->interps[r->first_interp + i], batch, &r->looks[i]);
    r->planned = 0;
    /* A thread's state refers to its interpreter's: threads wait until all interpreters are known. */
    if (r->first_interp + r->interps < t->interp_count)
        return;
    while (r->planned < r->count &&
           py_look_plan(&t->runtime, &r->list[r->planned].thread->spot, batch, &r->list[r->planned].look))
        r->planned++;
}

/* Goes through the threads of a round after the read; those that are done with leave the list. */
static void finish_round(struct target *t, struct round *r, size_t whole, uint64_t now_ns)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct pending *p = &r->list[i];
        bool planned = i < r->planned;
        bool was_read = planned && p->look.end_piece <= whole;
        if (was_read && take(t, p, now_ns))
            continue;
        if (planned && !was_read && p->look.first_piece <= whole)
            forget_guesses(&p->thread->spot);
        p->attempts += planned;
        if (p->attempts >= ATTEMPTS)
            lose(t, was_read ? REC_LOSS_DROPPED : REC_LOSS_UNREADABLE, 1);
        else
            r->list[kept++] = *p;
    }
    r->count = kept;
}

static int look_at(struct target *t, struct pending *list, size_t count, uint64_t now_ns)
{
    bool fresh = now_ns - t->interps_ns < STATE_FRESH_NS;
    struct round r = {.list = list, .count = count, .first_interp = fresh ? t->interp_count : 0};
    t->interps_ns = fresh ? t->interps_ns : now_ns;
    while (r.count || r.first_interp + r.interps < t->interp_count) {
        size_t whole;
        plan_round(t, &r);
        int err = memory_readv(&t->runtime.memory, t->s->batch.pieces, t->s->batch.count, &whole);
        if (err && err != -EFAULT)
            return err;
        /* The interpreters stand first in the batch: without them the process is another one by now. */
        if (err && r.interps && whole < (r.planned ? list[0].look.first_piece : t->s->batch.count))
            return -ESRCH;
        take_interps(t, r.looks, r.first_interp, r.interps);
        finish_round(t, &r, whole, now_ns);
    }
    return 0;
}

/* Does the thread rest as it did at the last look? Then its stretch goes on without a read. */
static bool rests(struct target *t, struct thread *thread, uint64_t now_ns)
{
    if (!thread->resting || !thread->blocked || thread->memo.record_epoch != rec_epoch(t->s->writer))
        return false;
    stretches_rest(&thread->stretches, now_ns);
    t->s->samples++;
    return true;
}

/* Which of its thread states is the thread in now? */
static void find_current(struct target *t, struct thread *thread)
{
    uint64_t tstates[PY_INTERPS_MAX];
    size_t n = min_u64(thread->state_count, PY_INTERPS_MAX), which = 0;
    for (size_t i = 0; i < n; i++)
        tstates[i] = thread->states[i].tstate;
    if (n > 1 && py_current(&t->runtime, tstates, n, &which) != 0)
        t->list_stale = true;
    thread_enter(thread, thread->states[which]);
}

/* Is it this calm thread's turn to be asked? */
static bool is_turn(const struct target *t, const struct thread *thread, size_t position)
{
    if (t->thread_count <= CALM_CROWD || thread->calm < CALM_AFTER)
        return true;
    return (t->looks + position) % CALM_STRIDE == 0;
}

int target_look_threads(struct target *t, uint64_t now_ns)
{
    struct pending list[BATCH_THREADS];
    size_t count = 0, position = 0;
    int err = 0;
    t->looks++;
    for (struct thread *thread = t->threads; thread && !err; thread = thread->next, position++) {
        if (!is_turn(t, thread, position))
            continue;
        if (thread_look(thread, now_ns, t->s->tick_ns) != 0) {
            thread->gone = t->list_stale = true;
            continue;
        }
        if (rests(t, thread, now_ns))
            continue;
        find_current(t, thread);
        list[count++] = (struct pending){.thread = thread};
        if (count == BATCH_THREADS) {
            err = look_at(t, list, count, now_ns);
            count = 0;
        }
    }
    return !err && count ? look_at(t, list, count, now_ns) : err;
}
