/* thread: see thread.h. */
#include "sample/thread.h"

#include <errno.h>
#include <stdlib.h>

struct thread *thread_new(pid_t pid, pid_t tid, uint64_t tstate, uint64_t native_tid, int *err)
{
    struct thread *t = calloc(1, sizeof(*t));
    *err = t ? 0 : -ENOMEM;
    if (!t)
        return NULL;
    t->tid = tid;
    t->memo.record_epoch = UINT32_MAX;
    t->tstate = tstate;
    t->syscall = REC_NO_SYSCALL;
    py_spot_init(&t->spot, tstate, native_tid);
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
    free(t->memo.nodes);
    free(t);
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
static uint64_t estimate(const struct thread *t, const struct proc_sched *now, uint64_t elapsed_ns, uint64_t tick_ns)
{
    uint64_t ran = t->account.ran;
    if (!t->blocked)
        ran = min_u64(ran + elapsed_ns, now->run_ns + tick_ns);
    ran = max_u64(ran, now->run_ns);
    return max_u64(ran, t->account.ran);
}

int thread_look(struct thread *t, uint64_t now_ns, const uint64_t *exact_ns, uint64_t tick_ns, uint64_t *cpu_ns)
{
    struct proc_sched now = {.run_ns = exact_ns ? *exact_ns : 0};
    int err = exact_ns ? 0 : proc_thread_sched(&t->files, &now);
    if (err)
        return -ESRCH;
    if (t->account.exact != (exact_ns != NULL))
        t->account = (struct account){.seen = now, .ran = now.run_ns, .exact = exact_ns != NULL};
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
    *cpu_ns = ran > t->account.ran ? ran - t->account.ran : 0;
    t->account.ran = ran;
    t->account.seen = now;
    return 0;
}

static bool extends(const struct stretch *s, uint32_t stack, uint8_t state, uint16_t syscall)
{
    return s->count && s->stack == stack && s->state == state && s->syscall == syscall;
}

void thread_add(struct thread *t, struct rec_writer *w, uint64_t now_ns, uint64_t cpu_ns, uint32_t stack,
                uint8_t state, uint16_t syscall)
{
    if (!extends(&t->open, stack, state, syscall)) {
        thread_flush(t, w);
        t->open = (struct stretch){.start_ns = t->last_ns, .stack = stack, .state = state, .syscall = syscall};
    }
    t->open.end_ns = now_ns;
    t->open.cpu_ns += cpu_ns;
    t->open.count++;
    t->last_ns = now_ns;
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
