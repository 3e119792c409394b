/* look: the stacks of a target's threads at one moment, as nodes of the recording's trie.
 *
 * Threads that did not run since the last look keep their stack without a read. The others are planned
 * into batches; what was missed or torn is planned again, by itself, up to ATTEMPTS times.
 *
 * A stack with an edge that can be torn is never thrown away: fast code would be lost with it. It is shown as
 * one of the two moments that it was joined of, and then only watched, to learn whether the edge is real.
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

/* Looks in a row that show the same doubtful edge: by then it is real. A torn one comes again in at most 1
 * of 10. */
#define WATCHES 5

/* A doubtful edge, and the activation of the callee that it was seen in; at 0: none. */
struct doubt {
    uint64_t at;
    uint32_t place, callee;
};

/* What a look found: the innermost node, whether it stands on a call of C code, and what is doubtful in it.
 */
struct finding {
    uint32_t node;
    bool in_call;
    struct doubt doubt;
};

/* A thread in a batch. With a doubt it has been looked at, and is watched. */
struct pending {
    struct thread *thread;
    struct py_look look;
    unsigned attempts, watched;
    struct finding found;
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

/* A stack on its way to a node. cut: its inner frames are of another moment than the outer ones, and left
 * out. */
struct ascent {
    struct target *t;
    struct py_stack *stack;
    struct checks checks;
    struct doubt doubt; /* the outermost */
    bool cut;
    bool unchecked;  /* a frame was taken on a comparison of its code before this look */
    bool last;       /* no further attempt follows: take what there is */
    bool one_moment; /* the thread stood still while it was read: no edge is torn */
    uint64_t now_ns;
};

static const struct memo_ids no_caller = {.callers = REC_NO_STACK, .place = PY_NO_ID, .code = PY_NO_ID};

/* The edge from the caller to the frame at index i, counted; EDGES_NONE when memory is short. */
static uint32_t edge_of(struct ascent *a, size_t i, struct memo_ids caller, uint32_t callee)
{
    struct target *t = a->t;
    uint32_t edge = edges_find(&t->edges, caller.place, callee);
    if (edge == EDGES_NONE) {
        /* Between the two there may be shims, which stand on calls themselves. */
        bool calls = target_frame_calls(t, &a->stack->frames[i + 1], a->now_ns);
        edge = edges_add(&t->edges, caller.place, caller.code, callee, calls);
    }
    if (edge != EDGES_NONE)
        edges_see(&t->edges, edge);
    return edge;
}

/* The caller's place, seen with the callee at index i. An edge that can be torn joins a caller with what was
 * called when it had moved on: then it stands where else it calls this function. If it never does, the stack
 * is of the moment of the caller, and what that had called is not known. */
static uint32_t caller_place(struct ascent *a, size_t i, struct memo_ids caller, uint32_t callee)
{
    struct py_frame *frame = &a->stack->frames[i];
    if (caller.code == PY_NO_ID || callee == PY_NO_ID || frame->from_c)
        return caller.place;
    uint32_t edge = edge_of(a, i, caller, callee);
    if (edge == EDGES_NONE || a->one_moment || !edges_doubtful(&a->t->edges, edge))
        return caller.place;
    if (!a->doubt.at)
        a->doubt = (struct doubt){.at = frame->at, .place = caller.place, .callee = callee};
    uint32_t place = edges_place(&a->t->edges, edge);
    a->cut = place == EDGES_NONE;
    return a->cut ? caller.place : place;
}

static uint32_t push(struct ascent *a, uint32_t callers, uint32_t place)
{
    return place == PY_NO_ID ? callers : rec_push(a->t->s->writer, callers, place);
}

/* The frame at index i, called from `caller`. -EAGAIN: look again. */
static int ascend(struct ascent *a, size_t i, struct memo_ids caller, struct memo_ids *ids)
{
    struct target *t = a->t;
    struct py_frame *frame = &a->stack->frames[i];
    struct py_code *code;
    uint32_t place = target_frame_id(t, frame, &code, a->now_ns);
    if (place == PY_NO_ID && !a->last)
        return -EAGAIN;
    if (code && code->shim) {
        *ids = caller;
        return 0;
    }
    *ids = (struct memo_ids){.place = code ? place : target_unreadable_frame(t),
                             .code = code ? code->id : PY_NO_ID};
    ids->callers = push(a, caller.callers, caller_place(a, i, caller, ids->code));
    if (code && code->checked_ns + CODE_FRESH_NS < a->now_ns)
        a->checks.list[a->checks.count++] = code;
    else if (code && code->checked_ns != a->now_ns)
        a->unchecked = true;
    return a->checks.count == MEMORY_PIECES_MAX ? run_checks(t, &a->checks, a->now_ns) : 0;
}

/* Keeps the frames from the index `inner` outwards for the next look; their ids are there already. */
static void keep_stack(struct ascent *a, struct memo *m, size_t inner, size_t common)
{
    m->depth = a->stack->depth - inner;
    memcpy(m->frames, a->stack->frames + inner, m->depth * sizeof(*m->frames));
    memmove(m->ids, m->ids + inner, m->depth * sizeof(*m->ids));
    m->record_epoch = rec_epoch(a->t->s->writer);
    m->code_epoch = a->t->codes.epoch;
    if (!common)
        m->unchecked_ns = 0;
    if (a->unchecked && !m->unchecked_ns)
        m->unchecked_ns = a->now_ns;
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
    /* The common frames stay at the end of the array, which moves when the depth changes. */
    memmove(m->ids + (depth - common), m->ids + (m->depth - common), common * sizeof(*m->ids));
    m->depth = 0;
    size_t inner = depth - common;
    struct memo_ids caller = common ? m->ids[inner] : no_caller;
    int err = 0;
    while (inner > 0 && !err) {
        err = ascend(a, inner - 1, caller, &m->ids[inner - 1]);
        if (t->codes.epoch != epoch)
            return -EAGAIN;
        if (a->cut)
            break;
        caller = m->ids[--inner];
    }
    if (!err)
        err = run_checks(t, &a->checks, a->now_ns);
    if (err && !a->last)
        return -EAGAIN;
    keep_stack(a, m, inner, common);
    *node = push(a, caller.callers, caller.place);
    return 0;
}

static void lose(struct target *t, enum rec_loss_kind kind, uint64_t count)
{
    t->s->losses[kind] += count;
}

/* A thread whose stack is known: its sample. */
static void settle(struct target *t, struct pending *p, uint64_t now_ns)
{
    struct thread *thread = p->thread;
    target_take_locals(t, thread, now_ns);
    target_let_go(t);
    uint8_t state = state_of(t, thread, p->found.in_call);
    uint32_t node = target_native_node(t, thread, &t->s->stack, p->found.node, state, now_ns);
    thread->resting = thread->blocked;
    thread_add(thread, t->s->writer, now_ns, node, state);
    t->s->samples++;
}

/* Is the doubtful edge still there, in the same activation? */
static bool still_there(struct target *t, const struct py_stack *stack, const struct doubt *doubt,
                        uint64_t now_ns)
{
    struct py_code *code;
    size_t i = 0;
    while (i < stack->depth && stack->frames[i].at != doubt->at)
        i++;
    if (i == stack->depth || target_frame_id(t, &stack->frames[i], &code, now_ns) == PY_NO_ID ||
        code->id != doubt->callee)
        return false;
    while (++i < stack->depth) {
        uint32_t place = target_frame_id(t, &stack->frames[i], &code, now_ns);
        if (!code || !code->shim)
            return place == doubt->place;
    }
    return false;
}

static bool is_last(const struct pending *p)
{
    return p->attempts + 1 >= ATTEMPTS;
}

/* The stack of s->stack as what is found at this attempt. -EAGAIN: look again. */
static int find_node(struct target *t, struct pending *p, uint64_t now_ns)
{
    struct py_stack *stack = &t->s->stack;
    struct ascent ascent = {
        .t = t, .stack = stack, .last = is_last(p), .one_moment = t->natives.taken, .now_ns = now_ns};
    uint32_t node;
    int err = stack_to_node(&ascent, p->thread, &node);
    if (err)
        return err;
    p->found = (struct finding){.node = node,
                                .in_call = !ascent.cut && stack->depth &&
                                           target_frame_calls(t, &stack->frames[0], now_ns),
                                .doubt = ascent.doubt};
    return 0;
}

/* A further look at a thread whose stack had a doubtful edge. True when it is done with. */
static bool watch(struct target *t, struct pending *p, enum py_taken taken, uint64_t now_ns)
{
    const struct doubt *doubt = &p->found.doubt;
    bool there = taken == PY_TAKEN && still_there(t, &t->s->stack, doubt, now_ns);
    if (there && ++p->watched < WATCHES)
        return false;
    uint32_t edge = there ? edges_find(&t->edges, doubt->place, doubt->callee) : EDGES_NONE;
    if (edge != EDGES_NONE) {
        edges_confirm(&t->edges, edge);
        find_node(t, p, now_ns);
    }
    settle(t, p, now_ns);
    return true;
}

/* The result of a look that was read. True when the thread is done with. */
static bool take(struct target *t, struct pending *p, uint64_t now_ns)
{
    struct sampling *s = t->s;
    enum py_taken taken =
        py_look_take(s->walker, &t->runtime, &p->look, p->attempts >= PATIENT_FROM, &s->stack);
    t->list_stale |= taken == PY_NO_THREAD;
    if (taken == PY_TAKEN && !target_confirm_native(t, p->thread, is_last(p), now_ns))
        return false;
    if (p->found.doubt.at)
        return watch(t, p, taken, now_ns);
    if (taken == PY_NO_THREAD)
        return true;
    int err = taken == PY_TAKEN ? find_node(t, p, now_ns) : -EAGAIN;
    if (err || p->found.doubt.at)
        lose(t, REC_LOSS_TORN, taken != PY_MISSED);
    if (err)
        return false;
    lose(t, REC_LOSS_TRUNCATED, s->stack.truncated);
    if (p->found.doubt.at)
        return false;
    settle(t, p, now_ns);
    return true;
}

/* No attempt is left, or none that could be read. */
static void give_up(struct target *t, struct pending *p, bool was_read, uint64_t now_ns)
{
    if (p->found.doubt.at)
        settle(t, p, now_ns);
    else
        lose(t, was_read ? REC_LOSS_DROPPED : REC_LOSS_UNREADABLE, 1);
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
            give_up(t, p, was_read, now_ns);
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

/* Threads are held one at a time, each while it is read. */
static int look_natively(struct target *t, struct thread *thread, uint64_t now_ns)
{
    struct pending pending = {.thread = thread};
    target_take_native(t, thread, now_ns);
    int err = look_at(t, &pending, 1, now_ns);
    target_end_native(t);
    return err;
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
        if (t->s->native && (thread->blocked || t->s->native_now)) {
            err = look_natively(t, thread, now_ns);
            continue;
        }
        list[count++] = (struct pending){.thread = thread};
        if (count == BATCH_THREADS) {
            err = look_at(t, list, count, now_ns);
            count = 0;
        }
    }
    return !err && count ? look_at(t, list, count, now_ns) : err;
}
