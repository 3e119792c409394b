/* listing: which thread states a target has, and which kernel threads they run on.
 *
 * The recording knows kernel threads: one that is in several interpreters has several thread states, and one
 * that leaves Python and comes back, or whose thread state is replaced as it starts, gets another.
 *
 * The list is walked again when an interpreter's head of it moved, when a thread ended, and every 100 ms
 * in case a thread was replaced by another at the same address.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "sample/target_state.h"

struct listing {
    struct target *t;
    uint64_t now_ns;
    uint64_t interp;
    struct thread *near; /* found last: the next is mostly behind it */
    struct map places;   /* native tid -> index in known; empty until it is needed */
    struct thread **known;
    size_t known_count, known_cap;
    struct thread **end; /* where a new thread is linked in */
    struct map *tids;    /* tid in the target's PID namespace -> ours; NULL when they are the same */
};

static int index_thread(struct listing *l, struct thread *thread)
{
    struct thread **known = list_room(l->known, &l->known_cap, l->known_count, sizeof(struct thread *));
    if (!known)
        return -ENOMEM;
    l->known = known;
    l->known[l->known_count] = thread;
    return map_put(&l->places, thread->native_tid, (uint32_t)l->known_count++);
}

/* The thread states come in the order of the last listing, mostly: so the next thread is mostly the next, and
 * the index is made when it is not. *out: NULL for a new one. */
static int find_thread(struct listing *l, uint64_t native_tid, struct thread **out)
{
    struct thread *next = l->near ? l->near->next : l->t->threads;
    if (next && next->native_tid == native_tid && !next->gone) {
        *out = l->near = next;
        return 0;
    }
    if (!l->places.count) {
        for (struct thread *thread = l->t->threads; thread; thread = thread->next) {
            int err = thread->gone ? 0 : index_thread(l, thread);
            if (err)
                return err;
        }
    }
    uint32_t place = map_get(&l->places, native_tid);
    *out = place == MAP_NONE ? NULL : l->known[place];
    l->near = *out ? *out : l->near;
    return 0;
}

/* The name follows at the end of the listing. */
static void announce(struct target *t, struct thread *thread, uint64_t now_ns)
{
    struct rec_thread entry = {.process = t->index, .tid = (uint32_t)thread->native_tid, .start_ns = now_ns};
    if (!target_adopt_foreign(t, thread->tid, &thread->index))
        thread->index = rec_thread(t->s->writer, &entry);
    thread->naming.born_ns = thread->moved_ns = now_ns;
    stretches_init(&thread->stretches, now_ns, thread->account.run_ns);
}

static int add_thread(struct listing *l, const struct py_thread *state, struct thread **out)
{
    uint32_t tid = (uint32_t)state->native_tid;
    *out = NULL;
    if (l->tids && (tid = map_get(l->tids, state->native_tid)) == MAP_NONE)
        return 0;
    int err;
    struct thread *thread = thread_new(&l->t->source, (pid_t)tid, state->native_tid, &err);
    if (!thread) {
        /* Ended meanwhile, most often; or we may not open more files. */
        l->t->s->losses[REC_LOSS_UNREADABLE] += err == -EMFILE || err == -ENFILE;
        return err == -ENOMEM ? err : 0;
    }
    announce(l->t, thread, l->now_ns);
    *l->end = *out = thread;
    l->end = &thread->next;
    l->t->thread_count++;
    return l->places.count ? index_thread(l, thread) : 0;
}

/* A thread state goes to its kernel thread, whether that was known by another one or is new. Of two in one
 * interpreter the newer waits for a thread that has not started. */
static int list_one(void *ctx, const struct py_thread *state)
{
    struct listing *l = ctx;
    struct thread_state entry = {state->tstate, l->interp};
    l->t->list_soon |= !state->native_tid;
    if (!state->native_tid)
        return 0;
    struct thread *thread;
    int err = find_thread(l, state->native_tid, &thread);
    if (!err && !thread)
        err = add_thread(l, state, &thread);
    if (err || !thread)
        return err;
    if (!thread->seen)
        thread->state_count = 0;
    thread->seen = true;
    thread->ident = state->ident;
    size_t n = thread->state_count;
    if (!n || thread->states[n - 1].interp != l->interp)
        return thread_add_state(thread, entry);
    thread->states[n - 1] = entry;
    l->t->list_soon = true;
    return 0;
}

static int add_tid(void *ctx, pid_t tid)
{
    pid_t inner;
    if (proc_ns_tid(tid, tid, &inner) == 0)
        return map_put(ctx, (uint64_t)inner, (uint32_t)tid);
    return 0;
}

static int list_interps(struct target *t, struct listing *l)
{
    struct py_interp interps[PY_INTERPS_MAX];
    size_t count;
    int err = py_interps(&t->runtime, interps, &count);
    if (err)
        return err;
    memcpy(t->interps, interps, count * sizeof(*interps));
    t->interp_count = count;
    t->interps_ns = 0;
    for (size_t i = 0; i < count && !err; i++) {
        l->interp = interps[i].address;
        err = py_threads(&t->runtime, l->interp, list_one, l);
    }
    return err;
}

void target_drop_threads(struct target *t)
{
    for (struct thread **at = &t->threads; *at;) {
        struct thread *thread = *at;
        if (!thread->gone) {
            at = &thread->next;
            continue;
        }
        thread_end(thread, t->s->writer);
        *at = thread->next;
        thread_free(thread);
        t->thread_count--;
    }
}

int target_list_threads(struct target *t, uint64_t now_ns)
{
    struct map tids;
    map_init(&tids);
    struct listing l = {.t = t, .now_ns = now_ns, .end = &t->threads, .tids = t->same_pid_ns ? NULL : &tids};
    uint64_t begun_ns = clock_ns();
    map_init(&l.places);
    t->list_soon = false;
    for (struct thread *thread = t->threads; thread; thread = thread->next) {
        thread->seen = false;
        l.end = &thread->next;
    }
    int err = t->same_pid_ns ? 0 : source_threads(&t->source, add_tid, &tids);
    if (!err)
        err = list_interps(t, &l);
    map_release(&l.places);
    free(l.known);
    map_release(&tids);
    /* A list that changed while it was walked is complete enough to add threads, not to drop any. */
    for (struct thread *thread = t->threads; thread && !err; thread = thread->next)
        thread->gone |= !thread->seen;
    target_drop_threads(t);
    t->list_stale = err == -EAGAIN;
    t->listed_ns = now_ns;
    target_name_threads(t, now_ns);
    if (t->s->native)
        target_list_foreign(t, now_ns);
    t->list_took_ns = clock_ns() - begun_ns;
    return err == -EAGAIN || err == -EFAULT ? 0 : err;
}
