/* thread: see thread.h. */
#include "sample/thread.h"

#include <errno.h>
#include <stdlib.h>

struct thread *thread_new(pid_t pid, pid_t tid, uint64_t native_tid, int *err)
{
    struct thread *t = calloc(1, sizeof(*t));
    *err = t ? 0 : -ENOMEM;
    if (!t)
        return NULL;
    t->tid = tid;
    t->native_tid = native_tid;
    t->memo.record_epoch = UINT32_MAX;
    t->syscall = REC_NO_SYSCALL;
    proc_thread_init(&t->files);
    *err = proc_thread_open(&t->files, pid, tid);
    if (!*err)
        *err = proc_thread_sched(&t->files, &t->account.seen);
    if (*err) {
        thread_free(t);
        return NULL;
    }
    t->account.now_ns = t->account.given_ns = t->account.seen.run_ns;
    return t;
}

void thread_free(struct thread *t)
{
    if (!t)
        return;
    proc_thread_close(&t->files);
    py_spot_release(&t->spot);
    free(t->memo.frames);
    free(t->memo.ids);
    free(t->states);
    free(t);
}

int thread_add_state(struct thread *t, struct thread_state state)
{
    if (t->state_count == t->state_cap) {
        size_t cap = t->state_cap ? 2 * t->state_cap : 1;
        struct thread_state *states = realloc(t->states, cap * sizeof(*states));
        if (!states)
            return -ENOMEM;
        t->states = states;
        t->state_cap = cap;
    }
    t->states[t->state_count++] = state;
    return 0;
}

void thread_enter(struct thread *t, struct thread_state state)
{
    if (t->current.tstate != state.tstate) {
        py_spot_release(&t->spot);
        py_spot_init(&t->spot, state.tstate, t->native_tid);
    }
    t->current = state;
}

/* A thread that did not run since the last look: in which system call is it, if in any? */
static int ask_syscall(struct thread *t)
{
    struct proc_syscall call;
    int err = proc_thread_syscall(&t->files, &call);
    if (err == -ESRCH)
        return err;
    t->blocked = !err && !call.running;
    t->syscall = t->blocked && call.number >= 0 ? (uint16_t)call.number : REC_NO_SYSCALL;
    t->syscall_arg = call.arg0;
    return 0;
}

/* Where the scheduler's account would stand if it were brought up to date now. The kernel does so at its
 * ticks and when the thread leaves its CPU: at some moment since the last look, if the account moved; so half
 * of that time is added, for want of better, and all of it where the account did not move. */
static uint64_t estimate(const struct thread *t, const struct proc_sched *before, uint64_t elapsed_ns,
                         uint64_t tick_ns)
{
    const struct account *a = &t->account;
    bool moved = a->seen.run_ns != before->run_ns, new_slice = a->seen.slices != before->slices;
    if (t->blocked || (moved && new_slice && !t->was_blocked))
        return a->seen.run_ns;
    uint64_t ran = moved || new_slice ? a->seen.run_ns + elapsed_ns / 2 : a->now_ns + elapsed_ns;
    return min_u64(ran, a->seen.run_ns + tick_ns);
}

/* What was given out once is not taken back: an estimate that was too high is made up for by giving less. */
static void advance(struct thread *t, const struct proc_sched *before, uint64_t elapsed_ns, uint64_t tick_ns)
{
    struct account *a = &t->account;
    a->now_ns = estimate(t, before, elapsed_ns, tick_ns);
    if (a->now_ns > a->given_ns) {
        t->owed_ns += a->now_ns - a->given_ns;
        a->given_ns = a->now_ns;
    }
}

/* Reads what the scheduler says, and, unless the thread is known to wait and did nothing since, whether it
 * waits. */
static int read_account(struct thread *t, uint64_t now_ns)
{
    struct account *a = &t->account;
    struct proc_sched before = a->seen;
    if (proc_thread_sched(&t->files, &a->seen) != 0)
        return -ESRCH;
    a->read_ns = now_ns;
    if (a->seen.run_ns == before.run_ns && a->seen.slices == before.slices) {
        t->calm++;
    } else {
        t->blocked = t->resting = false;
        t->syscall = REC_NO_SYSCALL;
        t->calm = 0;
    }
    return t->blocked ? 0 : ask_syscall(t);
}

int thread_look(struct thread *t, uint64_t now_ns, uint64_t tick_ns, uint64_t *cpu_ns)
{
    struct proc_sched before = t->account.seen;
    t->was_blocked = t->blocked;
    int err = now_ns - t->account.read_ns >= STATE_FRESH_NS ? read_account(t, now_ns) : 0;
    if (err)
        return err;
    advance(t, &before, now_ns - t->last_ns, tick_ns);
    *cpu_ns = t->owed_ns;
    return 0;
}

static bool extends(const struct stretch *s, uint32_t stack, uint8_t state, uint16_t syscall)
{
    return s->count && s->stack == stack && s->state == state && s->syscall == syscall;
}

/* Where, between the last look and now, what was seen last gave way to what is seen now: when the thread
 * began or ceased to wait, its CPU time tells; else halfway. (Giving the whole time to the later of the two
 * would favour what ends in a wait, whose end is known, over what begins after one.) */
static uint64_t turning_point(const struct thread *t, uint64_t now_ns, uint64_t cpu_ns)
{
    uint64_t ran = min_u64(cpu_ns, now_ns - t->last_ns);
    if (t->was_blocked == t->blocked)
        return t->last_ns + (now_ns - t->last_ns) / 2;
    return t->blocked ? t->last_ns + ran : now_ns - ran;
}

/* Ends the open stretch where it gave way to the next. Returns the CPU time that is left for that. */
static uint64_t close_stretch(struct thread *t, struct rec_writer *w, uint64_t now_ns, uint64_t cpu_ns)
{
    if (t->open.count) {
        uint64_t before = t->was_blocked == t->blocked ? cpu_ns / 2 : t->blocked ? cpu_ns : 0;
        t->open.end_ns = t->last_ns = turning_point(t, now_ns, cpu_ns);
        t->open.cpu_ns += before;
        cpu_ns -= before;
    }
    thread_flush(t, w);
    return cpu_ns;
}

void thread_add(struct thread *t, struct rec_writer *w, uint64_t now_ns, uint64_t cpu_ns, uint32_t stack,
                uint8_t state, uint16_t syscall)
{
    if (!extends(&t->open, stack, state, syscall)) {
        cpu_ns = close_stretch(t, w, now_ns, cpu_ns);
        t->open =
            (struct stretch){.start_ns = t->last_ns, .stack = stack, .state = state, .syscall = syscall};
    }
    t->open.end_ns = now_ns;
    t->open.cpu_ns += cpu_ns;
    t->open.count++;
    t->last_ns = now_ns;
    t->owed_ns = 0;
}

void thread_flush(struct thread *t, struct rec_writer *w)
{
    const struct stretch *s = &t->open;
    if (!s->count)
        return;
    struct rec_sample sample = {.thread = t->index,
                                .stack = s->stack,
                                .end_ns = s->end_ns,
                                .wall_ns = s->end_ns - s->start_ns,
                                .cpu_ns = s->cpu_ns,
                                .count = s->count,
                                .syscall = s->syscall,
                                .state = s->state};
    rec_sample(w, &sample);
    t->open.count = 0;
}
