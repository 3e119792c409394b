/* listing: which thread states a target has, and which kernel threads they run on.
 *
 * The list is walked again when an interpreter's head of it moved, when a thread ended, and every 100 ms
 * in case a thread was replaced by another at the same address.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sample/target_state.h"

struct listing {
    struct target *t;
    uint64_t now_ns;
    uint64_t interp;
    struct thread **end; /* where a new thread is linked in */
    struct map *tids;    /* tid in the target's PID namespace -> ours; NULL when they are the same */
};

static struct thread *find_thread(struct target *t, const struct py_thread *state)
{
    for (struct thread *thread = t->threads; thread; thread = thread->next) {
        if (thread->tstate == state->tstate && thread->spot.native_tid == state->native_tid && !thread->gone)
            return thread;
    }
    return NULL;
}

static void announce(struct target *t, struct thread *thread, uint64_t now_ns)
{
    char name[64] = "";
    proc_comm(t->pid, thread->tid, name, sizeof(name));
    struct rec_thread entry = {.process = t->index,
                               .tid = (uint32_t)thread->spot.native_tid,
                               .start_ns = now_ns,
                               .name = rec_string(t->s->writer, name, strlen(name))};
    thread->index = rec_thread(t->s->writer, &entry);
    thread->last_ns = now_ns;
}

static int list_one(void *ctx, const struct py_thread *state)
{
    struct listing *l = ctx;
    struct thread *known = find_thread(l->t, state);
    if (known) {
        known->seen = true;
        return 0;
    }
    uint32_t tid = (uint32_t)state->native_tid;
    if (l->tids && (tid = map_get(l->tids, state->native_tid)) == MAP_NONE)
        return 0;
    int err;
    struct thread *thread = thread_new(l->t->pid, (pid_t)tid, state->tstate, state->native_tid, &err);
    if (!thread)
        return err == -ENOMEM ? err : 0; /* ended meanwhile, or the state is not bound to a thread yet */
    thread->interp = l->interp;
    thread->seen = true;
    announce(l->t, thread, l->now_ns);
    *l->end = thread;
    l->end = &thread->next;
    l->t->thread_count++;
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
    int err = py_interps(&t->runtime, t->interps, &t->interp_count);
    for (size_t i = 0; i < t->interp_count && !err; i++) {
        l->interp = t->interps[i].address;
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
        thread_flush(thread, t->s->writer);
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
    for (struct thread *thread = t->threads; thread; thread = thread->next) {
        thread->seen = false;
        l.end = &thread->next;
    }
    int err = t->same_pid_ns ? 0 : proc_threads(t->pid, add_tid, &tids);
    if (!err)
        err = list_interps(t, &l);
    map_release(&tids);
    /* A list that changed while it was walked is complete enough to add threads, not to drop any. */
    for (struct thread *thread = t->threads; thread && !err; thread = thread->next)
        thread->gone |= !thread->seen;
    target_drop_threads(t);
    t->list_stale = err == -EAGAIN;
    t->listed_ns = now_ns;
    struct proc_stat st;
    if (proc_stat(t->pid, &st) == 0)
        t->kernel_threads = st.threads;
    return err == -EAGAIN || err == -EFAULT ? 0 : err;
}
