/* thread: one thread of a target, and what the sampler knows of it from look to look. */
#ifndef ZOND_SAMPLE_THREAD_H
#define ZOND_SAMPLE_THREAD_H

#include "os/proc.h"
#include "python/stack.h"
#include "record/writer.h"

/* The stack of the last look, outermost frame last, with the trie's node for each frame: frames that are
 * still there need no lookup. epoch: of the writer and the codes for which the nodes hold. */
struct memo {
    struct py_frame *frames;
    uint32_t *nodes;
    size_t depth, cap;
    uint32_t record_epoch, code_epoch;
};

/* The stretch that is not written yet, as the next look may extend it. count 0: none. */
struct stretch {
    uint64_t start_ns, end_ns, cpu_ns;
    uint32_t stack, count;
    uint16_t syscall;
    uint8_t state;
};

/* CPU time of a thread. The scheduler's account of a running thread lags by up to one kernel tick, so `ran`
 * runs ahead of it while the thread is seen to run, and waits for it otherwise: sums stay exact to within a
 * tick. */
struct account {
    struct proc_sched seen;
    uint64_t ran;
    bool exact; /* the last look was by the process's clock */
};

/* A thread state that is looked at. Owned by its target. */
struct thread {
    struct thread *next;
    uint64_t tstate;
    uint64_t interp;
    pid_t tid;       /* in our namespace */
    uint32_t index;  /* in the recording */
    bool seen;       /* still in the list of thread states, at the last listing */
    bool gone;
    struct proc_thread files;
    struct account account;
    struct py_spot spot;
    struct memo memo;
    struct stretch open;
    uint64_t last_ns;  /* the last look: where the next stretch begins */
    bool blocked;         /* waits in a system call, and did not run since it was found there */
    bool resting;         /* blocked, and the open stretch is of that time */
    uint16_t syscall;     /* in which it waits, or REC_NO_SYSCALL */
    uint64_t syscall_arg; /* the call's first argument */
    uint32_t calm;     /* looks in a row at which it had not run */
};

/* Opens the files of the thread; NULL with *err set when it is gone or memory is short. */
struct thread *thread_new(pid_t pid, pid_t tid, uint64_t tstate, uint64_t native_tid, int *err);
void thread_free(struct thread *t);

/* What the scheduler says now. `exact_ns`: the process's CPU clock when the thread is its only one, else
 * NULL. Sets blocked and syscall, and *cpu_ns to what it ran since the last look.
 * -ESRCH when the thread is gone. */
int thread_look(struct thread *t, uint64_t now_ns, const uint64_t *exact_ns, uint64_t tick_ns, uint64_t *cpu_ns);

/* Adds a look that ends at now_ns: extends the open stretch or writes it and opens another. */
void thread_add(struct thread *t, struct rec_writer *w, uint64_t now_ns, uint64_t cpu_ns, uint32_t stack,
                uint8_t state, uint16_t syscall);
/* Writes the open stretch, if any. */
void thread_flush(struct thread *t, struct rec_writer *w);

#endif
