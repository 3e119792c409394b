/* stop: see stop.h. */
#include "os/stop.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

/* A running thread stops within microseconds, for which we spin; one that waits for its CPU stops when it
 * gets it, and loses nothing while we wait. */
#define SPIN_NS 200000
#define GLANCE_NS 20000
#define PATIENCE_NS NS_PER_S

/* Waits for the stop. The status is that of a stop by ourselves, by a signal, or by job control. */
static int wait_for_stop(pid_t tid, int *status)
{
    uint64_t begun_ns = clock_ns();
    const struct timespec glance = {.tv_nsec = GLANCE_NS};
    for (;;) {
        pid_t got = waitpid(tid, status, __WALL | WNOHANG);
        if (got == tid)
            return WIFSTOPPED(*status) ? 0 : -ESRCH;
        if (got < 0 && errno != EINTR)
            return -errno;
        uint64_t waited_ns = clock_ns() - begun_ns;
        if (waited_ns > PATIENCE_NS)
            return -EAGAIN;
        if (waited_ns > SPIN_NS)
            nanosleep(&glance, NULL);
    }
}

int stop_thread(pid_t tid, struct stopped *s)
{
    int status = 0;
    *s = (struct stopped){0};
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0)
        return errno == EPERM || errno == ESRCH ? -errno : -EPERM;
    uint64_t since_ns = clock_ns();
    ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
    int err = wait_for_stop(tid, &status);
    if (err)
        return err;
    /* Stopped by a signal that arrived, not by the interrupt: it is delivered when the thread goes on. */
    s->signal = status >> 16 ? 0 : WSTOPSIG(status);
    s->tid = tid;
    s->since_ns = since_ns;
    return 0;
}

int stop_registers(const struct stopped *s, struct registers *out)
{
    struct user_regs_struct r;
    struct iovec to = {.iov_base = &r, .iov_len = sizeof(r)};
    if (ptrace(PTRACE_GETREGSET, s->tid, (void *)NT_PRSTATUS, &to) < 0)
        return -errno;
    *out = (struct registers){.value = {r.rax, r.rdx, r.rcx, r.rbx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8, r.r9,
                                        r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rip},
                              .known = (1u << REGISTER_COUNT) - 1};
    return 0;
}

uint64_t stop_end(struct stopped *s)
{
    if (!s->tid)
        return 0;
    ptrace(PTRACE_DETACH, s->tid, NULL, (void *)(intptr_t)s->signal);
    uint64_t held_ns = clock_ns() - s->since_ns;
    *s = (struct stopped){0};
    return held_ns;
}
