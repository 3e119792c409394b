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
    t->account.ran = t->account.seen.run_ns;
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
    t->blocked = !err && call.number >= 0;
    t->syscall = t->blocked ? (uint16_t)call.number : REC_NO_SYSCALL;
    t->syscall_arg = call.arg0;
    return 0;
}

/* The account ran ahead of the scheduler's: back within what can be true. */
static uint64_t estimate(const struct thread *t, const struct proc_sched *now, uint64_t elapsed_ns,
                         uint64_t tick_ns)
{
    uint64_t ran = t->account.ran;
    /* It woke at some moment since the last look: half of the time, for want of better. */
    uint64_t ahead = t->was_blocked ? elapsed_ns / 2 : elapsed_ns;
    if (!t->blocked)
        ran = min_u64(ran + ahead, now->run_ns + tick_ns);
    ran = max_u64(ran, now->run_ns);
    return max_u64(ran, t->account.ran);
}

int thread_look(struct thread *t, uint64_t now_ns, const uint64_t *exact_ns, uint64_t tick_ns,
                uint64_t *cpu_ns)
{
    struct proc_sched now = {.run_ns = exact_ns ? *exact_ns : 0};
    int err = exact_ns ? 0 : proc_thread_sched(&t->files, &now);
    if (err)
        return -ESRCH;
    if (t->account.exact != (exact_ns != NULL))
        t->account = (struct account){.seen = now, .ran = now.run_ns, .exact = exact_ns != NULL};
    t->was_blocked = t->blocked;
    bool moved = now.run_ns != t->account.seen.run_ns || now.slices != t->account.seen.slices;
    if (moved) {
        t->blocked = t->resting = false;
        t->syscall = REC_NO_SYSCALL;
        t->calm = 0;
    }
    /* Known to wait, and nothing happened: it still waits. */
    if (!t->blocked && !(moved && exact_ns)) {
        err = ask_syscall(t);
        if (err)
            return err;
    }
    if (!moved)
        t->calm++;
    uint64_t ran = exact_ns ? *exact_ns : estimate(t, &now, now_ns - t->last_ns, tick_ns);
    t->owed_ns += ran > t->account.ran ? ran - t->account.ran : 0;
    *cpu_ns = t->owed_ns;
    t->account.ran = ran;
    t->account.seen = now;
    return 0;
}

static bool extends(const struct stretch *s, uint32_t stack, uint8_t state, uint16_t syscall)
{
    return s->count && s->stack == stack && s->state == state && s->syscall == syscall;
}

/* When the thread began or ceased to wait, between the last look and now; last_ns when it did neither. */
static uint64_t turning_point(const struct thread *t, uint64_t now_ns, uint64_t cpu_ns)
{
    uint64_t ran = min_u64(cpu_ns, now_ns - t->last_ns);
    if (!t->open.count || t->was_blocked == t->blocked)
        return t->last_ns;
    return t->blocked ? t->last_ns + ran : now_ns - ran;
}

void thread_add(struct thread *t, struct rec_writer *w, uint64_t now_ns, uint64_t cpu_ns, uint32_t stack,
                uint8_t state, uint16_t syscall)
{
    uint64_t turn_ns = turning_point(t, now_ns, cpu_ns);
    if (turn_ns > t->last_ns) {
        t->open.end_ns = t->last_ns = turn_ns;
        t->open.cpu_ns += t->blocked ? cpu_ns : 0;
        cpu_ns = t->blocked ? 0 : cpu_ns;
    }
    if (!extends(&t->open, stack, state, syscall)) {
        thread_flush(t, w);
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
