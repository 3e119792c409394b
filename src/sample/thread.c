/* thread: see thread.h. */
#include "sample/thread.h"

#include <errno.h>
#include <stdlib.h>

#include "base/list.h"

/* In which system call it waits, if it does. */
static void set_where(struct thread *t, const struct proc_syscall *call)
{
    t->blocked = !call->running;
    t->syscall = t->blocked && call->number >= 0 ? (uint16_t)call->number : REC_NO_SYSCALL;
    t->syscall_arg = call->arg0;
    t->sp = call->sp;
    t->pc = call->pc;
}

/* What stands in a core stands there for good: it is asked once. */
static int find_dead(struct thread *t, const struct core *core)
{
    t->dead = core_thread(core, t->tid);
    if (!t->dead)
        return -ESRCH;
    set_where(t, &t->dead->where);
    t->running = !t->blocked;
    return 0;
}

static int find_living(struct thread *t, pid_t pid)
{
    int err = proc_thread_open(&t->files, pid, t->tid);
    return err ? err : proc_thread_sched(&t->files, &t->account);
}

struct thread *thread_new(const struct source *source, pid_t tid, uint64_t native_tid, int *err)
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
    *err = source->core ? find_dead(t, source->core) : find_living(t, source->pid);
    if (*err) {
        thread_free(t);
        return NULL;
    }
    return t;
}

void thread_free(struct thread *t)
{
    if (!t)
        return;
    proc_thread_close(&t->files);
    py_spot_release(&t->spot);
    stretches_release(&t->stretches);
    free(t->memo.frames);
    free(t->memo.ids);
    free(t->states);
    free(t);
}

int thread_add_state(struct thread *t, struct thread_state state)
{
    struct thread_state *states = list_room(t->states, &t->state_cap, t->state_count, sizeof(*states));
    if (!states)
        return -ENOMEM;
    t->states = states;
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
    call.running |= err != 0;
    set_where(t, &call);
    return 0;
}

/* Reads what the scheduler says, and, unless the thread is known to wait and did nothing since, whether it
 * waits. */
static int read_account(struct thread *t, uint64_t now_ns, uint64_t tick_ns)
{
    struct proc_sched before = t->account;
    if (proc_thread_sched(&t->files, &t->account) != 0 || t->account.run_ns < before.run_ns)
        return -ESRCH; /* it ended; another one may have its id by now */
    t->unread_ns = min_u64(now_ns - t->read_ns, tick_ns);
    t->read_ns = now_ns;
    t->queued_ns += t->account.queued_ns - before.queued_ns;
    if (t->account.run_ns == before.run_ns && t->account.slices == before.slices) {
        t->calm++;
    } else {
        t->blocked = t->resting = false;
        t->syscall = REC_NO_SYSCALL;
        t->calm = 0;
        t->moved_ns = now_ns;
    }
    int err = t->blocked ? 0 : ask_syscall(t);
    t->running = !t->blocked && now_ns - t->moved_ns <= 2 * tick_ns;
    return err;
}

int thread_look(struct thread *t, uint64_t now_ns, uint64_t tick_ns)
{
    return !t->dead && now_ns - t->read_ns >= STATE_FRESH_NS ? read_account(t, now_ns, tick_ns) : 0;
}

/* Brings the CPU times given so far to the account: when the thread waits, that is exact; when it moved at
 * the last reading, then at some moment since the one before, by a tick or a switch: half of that time is
 * added. */
static void reckon(struct thread *t, uint64_t now_ns)
{
    if (t->read_ns != now_ns)
        return;
    if (t->blocked)
        stretches_reckon(&t->stretches, t->account.run_ns);
    else if (t->moved_ns == t->read_ns)
        stretches_reckon(&t->stretches, t->account.run_ns + t->unread_ns / 2);
}

void thread_add(struct thread *t, struct rec_writer *w, uint64_t now_ns, uint32_t stack, uint8_t state)
{
    struct looked looked = {.stack = stack,
                            .syscall = t->syscall,
                            .state = state,
                            .running = t->running,
                            .queued_ns = t->queued_ns};
    if (stretches_add(&t->stretches, now_ns, &looked) != 0)
        return;
    t->queued_ns = 0;
    reckon(t, now_ns);
    stretches_settle(&t->stretches, w, t->index, t->blocked ? now_ns : now_ns - HOLD_NS);
}

void thread_flush(struct thread *t, struct rec_writer *w)
{
    stretches_flush(&t->stretches, w, t->index);
}

void thread_end(struct thread *t, struct rec_writer *w)
{
    stretches_end(&t->stretches, w, t->index);
}
