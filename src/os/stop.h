/* stop: holding one running thread of another process still for some microseconds.
 *
 * By PTRACE_SEIZE and PTRACE_INTERRUPT: no signal is sent, and one that arrives meanwhile is delivered when
 * the thread goes on. A thread that waits in a system call is not to be stopped; one that began to wait
 * meanwhile begins its call anew, and sees no EINTR, and a write that was broken off is finished (rest.h). If
 * zond dies meanwhile the kernel lets the thread go on. One thread at a time is held, by the thread of ours
 * that stopped it. The end of a child of our own is left for child_poll.
 */
#ifndef ZOND_OS_STOP_H
#define ZOND_OS_STOP_H

#include <sys/types.h>

#include "base/base.h"
#include "os/rest.h"

/* Registers of x86-64 in the order of DWARF (System V psABI, figure 3.36): rax, rdx, rcx, rbx, rsi, rdi, rbp,
 * rsp, r8 to r15, then the address of the next instruction. known: bit i is that of register i. */
#define REGISTER_COUNT 17
#define REGISTER_FP 6
#define REGISTER_SP 7
#define REGISTER_PC 16

struct registers {
    uint64_t value[REGISTER_COUNT];
    uint32_t known;
};

/* All of them, from the kernel's order. */
struct user_regs_struct;
struct registers stop_registers_of(const struct user_regs_struct *r);

/* What a system call returns within the kernel (include/linux/errno.h) that was interrupted: the first and
 * the last of them; one that is begun anew, unless a handler is to run, which sees EINTR; and one that
 * restart_syscall goes on with. */
#define ERESTARTSYS 512
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516

/* late: it is still ours, though it is not held. It was asked to stop and did not in time: it does when it
 * gets a CPU next, or leaves the kernel. Or it was killed while it was held: then its end is ours to take, or
 * its process could not end. Or it `writes` what its stop broke off. */
struct stopped {
    pid_t pid;  /* of its process */
    pid_t tid;  /* 0: none is held */
    int signal; /* to be delivered when it goes on; 0: none */
    uint64_t since_ns;
    bool late;
    bool interrupted; /* by us: it stands for no other reason */
    bool writes;
    struct rest rest;
    bool read;            /* its registers were: */
    int64_t call, result; /* the system call that it is in, or negative, and what that is about to return */
};

/* Stops the thread, and waits for that up to patience_ns. -EPERM: not allowed, or another tracer (a debugger,
 * strace) has it. -ESRCH: it is gone. -EAGAIN: it is late. */
int stop_thread(pid_t pid, pid_t tid, uint64_t patience_ns, struct stopped *s);
int stop_registers(struct stopped *s, struct registers *out);
/* Lets it go on; nothing where none is held or it is late. Returns for how long it was held, ns. If s has it
 * still, it is late. */
uint64_t stop_end(struct stopped *s);

/* The threads that are late. Beyond the maximum none is stopped. */
#define LATE_THREADS_MAX 16
struct late {
    struct stopped threads[LATE_THREADS_MAX];
    size_t count;
};

/* May the thread be stopped now? It is none of those that are late, and no other is on its way to a stop. */
bool late_allows(const struct late *l, pid_t tid);
/* s is late: it is moved here. There is room if late_allows it. */
void late_add(struct late *l, struct stopped *s);
/* Lets go on whatever has arrived at its stop: to be called as soon as SIGCHLD arrives. */
void late_poll(struct late *l);
/* Would a wait for the process `pid`, a child of ours, take a stop that is to be taken here? */
bool late_claims(const struct late *l, pid_t pid);
/* Those that write are stopped, and what they have written is all. */
void late_interrupt(struct late *l);

#endif
