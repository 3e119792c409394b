/* stop: see stop.h. */
#include "os/stop.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/proc.h"

/* A running thread stops within microseconds, for which we spin: a CPU that slept, here or there, wakes late,
 * on a virtual machine by milliseconds. One that waits for its CPU, which may be ours, stops when it gets it,
 * and loses nothing while we nap. */
#define SPIN_NS 200000
#define GLANCE_NS 20000

static bool is_own_child(pid_t tid)
{
    struct proc_stat st;
    pid_t leader;
    return proc_tgid(tid, &leader) == 0 && leader == tid && proc_stat(tid, &st) == 0 && st.ppid == getpid();
}

/* A child of our own that ended is left for child_poll; any other thread that ended while it was traced must
 * be reaped here, or its process could not end. */
static int take_end(pid_t tid)
{
    siginfo_t info;
    if (!is_own_child(tid))
        waitid(P_PID, (id_t)tid, &info, WEXITED | WNOHANG | __WALL);
    return -ESRCH;
}

static bool is_ours(pid_t tid)
{
    pid_t tracer;
    return proc_tracer(tid, &tracer) == 0 && tracer == getpid();
}

/* There is no such thread of ours any more. One that execed has the number of its process now: the only one
 * there that we hold. */
static bool has_execed(struct stopped *s)
{
    if (s->tid == s->pid || !is_ours(s->pid))
        return false;
    s->tid = s->pid;
    return true;
}

/* Is there a stop? 0 and what it was by; -EAGAIN: not yet; -ESRCH: the thread ended. */
static int take_stop(struct stopped *s, int *cause)
{
    siginfo_t info = {0};
    int what = WSTOPPED | WEXITED | WNOHANG | __WALL;
    if (waitid(P_PID, (id_t)s->tid, &info, what | WNOWAIT) < 0)
        return errno == EINTR ? -EAGAIN : has_execed(s) ? take_stop(s, cause) : -ESRCH;
    if (!info.si_pid)
        return -EAGAIN;
    if (info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED)
        return take_end(s->tid);
    *cause = info.si_status;
    return waitid(P_PID, (id_t)s->tid, &info, WSTOPPED | WNOHANG | __WALL) < 0 ? -ESRCH : 0;
}

static int wait_for_stop(struct stopped *s, uint64_t patience_ns, int *cause)
{
    uint64_t begun_ns = clock_ns();
    const struct timespec glance = {.tv_nsec = GLANCE_NS};
    for (;;) {
        int err = take_stop(s, cause);
        if (err != -EAGAIN)
            return err;
        uint64_t waited_ns = clock_ns() - begun_ns;
        if (waited_ns > patience_ns)
            return -EAGAIN;
        if (waited_ns > SPIN_NS)
            nanosleep(&glance, NULL);
    }
}

/* Our interrupt's stop has this cause (ptrace(2), PTRACE_EVENT_STOP). */
#define INTERRUPTED (SIGTRAP | PTRACE_EVENT_STOP << 8)

/* The signal to go on with: that of a stop by a signal that arrived, not by our interrupt, by job control or
 * at a system call. */
static int signal_of(int cause)
{
    return cause > SIGRTMAX ? 0 : cause;
}

/* Refused because it is over, or because of the rights? */
static int refused(pid_t tid, int err)
{
    struct proc_stat st;
    bool over = err == ESRCH || proc_stat(tid, &st) != 0 || st.state == 'Z' || st.state == 'X';
    return over ? -ESRCH : -EPERM;
}

int stop_thread(pid_t pid, pid_t tid, uint64_t patience_ns, struct stopped *s)
{
    int cause = 0;
    *s = (struct stopped){0};
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0)
        return refused(tid, errno);
    *s = (struct stopped){.pid = pid, .tid = tid, .since_ns = clock_ns()};
    ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
    int err = wait_for_stop(s, patience_ns, &cause);
    s->signal = signal_of(cause);
    s->interrupted = cause == INTERRUPTED;
    s->late = err == -EAGAIN;
    if (err && !s->late)
        *s = (struct stopped){0};
    return err;
}

struct registers stop_registers_of(const struct user_regs_struct *r)
{
    return (struct registers){.value = {r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi, r->rbp, r->rsp, r->r8,
                                        r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->rip},
                              .known = (1u << REGISTER_COUNT) - 1};
}

int stop_registers(struct stopped *s, struct registers *out)
{
    struct user_regs_struct r;
    struct iovec to = {.iov_base = &r, .iov_len = sizeof(r)};
    if (ptrace(PTRACE_GETREGSET, s->tid, (void *)NT_PRSTATUS, &to) < 0)
        return -errno;
    s->read = true;
    s->call = (int64_t)r.orig_rax;
    s->result = (int64_t)r.rax;
    *out = stop_registers_of(&r);
    return 0;
}

/* It arrived at a stop after all, and goes on. */
static void arrive(struct stopped *s, int cause)
{
    if (s->writes && !rest_step(s->tid, &s->rest, cause))
        return;
    s->interrupted = !s->writes && cause == INTERRUPTED;
    s->late = s->writes = false;
    s->signal = signal_of(cause);
    stop_end(s);
}

/* The second call of a thread that writes begins at once, which is a stop. */
static void begin_to_write(struct stopped *s)
{
    int cause = 0, err = wait_for_stop(s, SPIN_NS, &cause);
    if (err == -ESRCH)
        *s = (struct stopped){0};
    else if (!err)
        arrive(s, cause);
}

/* A call that waits and that the stop broke off. The kernel begins most anew by itself. Of those that return
 * EINTR we ask for it: they have done nothing yet, but for close: what it closed is closed. So we do where
 * the program has confined itself by seccomp: its filter need not know restart_syscall. */
static bool is_to_begin_anew(const struct stopped *s)
{
    if (s->result == -ERESTART_RESTARTBLOCK)
        return proc_confined(s->tid);
    return s->result == -EINTR && s->call >= 0 && s->call != SYS_close;
}

/* A thread that ran when it was looked at can be in such a call by now. */
static void begin_call_anew(struct stopped *s)
{
    struct registers unused;
    void *result = (void *)(offsetof(struct user, regs) + offsetof(struct user_regs_struct, rax));
    if (!s->read && stop_registers(s, &unused) != 0)
        return;
    if (is_to_begin_anew(s))
        ptrace(PTRACE_POKEUSER, s->tid, result, (void *)(intptr_t)-ERESTARTNOHAND);
}

uint64_t stop_end(struct stopped *s)
{
    if (!s->tid || s->late)
        return 0;
    begin_call_anew(s);
    s->writes = s->interrupted && s->call >= 0 && rest_begin(s->tid, &s->rest);
    s->late = s->writes || ptrace(PTRACE_DETACH, s->tid, NULL, (void *)(intptr_t)s->signal) < 0;
    uint64_t held_ns = clock_ns() - s->since_ns;
    if (s->writes)
        begin_to_write(s);
    if (!s->late)
        *s = (struct stopped){0};
    return held_ns;
}

/* Late ------------------------------------------------------------------------------------------------- */

/* Another thread's exec ends a thread of which we hear no more: its number is that thread's then. */
static void poll_one(struct stopped *s)
{
    int cause = 0, err = take_stop(s, &cause);
    if (err == -EAGAIN && is_ours(s->tid))
        return;
    if (err)
        *s = (struct stopped){0};
    else
        arrive(s, cause);
}

bool late_allows(const struct late *l, pid_t tid)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->threads[i].tid == tid || !l->threads[i].writes)
            return false;
    }
    return l->count < LATE_THREADS_MAX;
}

void late_add(struct late *l, struct stopped *s)
{
    l->threads[l->count++] = *s;
    *s = (struct stopped){0};
}

void late_poll(struct late *l)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        poll_one(&l->threads[i]);
        if (l->threads[i].tid)
            l->threads[kept++] = l->threads[i];
    }
    l->count = kept;
}

bool late_claims(const struct late *l, pid_t pid)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->threads[i].tid == pid || !l->threads[i].writes)
            return true;
    }
    return false;
}

void late_interrupt(struct late *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->threads[i].writes)
            ptrace(PTRACE_INTERRUPT, l->threads[i].tid, NULL, NULL);
    }
}
