/* thread: one thread of a target, and what the sampler knows of it from look to look. */
#ifndef ZOND_SAMPLE_THREAD_H
#define ZOND_SAMPLE_THREAD_H

#include "os/source.h"
#include "python/stack.h"
#include "sample/stretches.h"

/* What the scheduler says of a thread, and the state of the interpreters, is read again after this time:
 * without a pause between looks it would take a third of each. */
#define STATE_FRESH_NS (50 * NS_PER_US)

/* For so long looks are held before they become samples: most waits for a CPU are shorter. */
#define HOLD_NS (16 * NS_PER_MS)

/* The stack of the last look, outermost frame last, with the trie's node for each frame: frames that are
 * still there need no lookup. epoch: of the writer and the codes for which the nodes hold. A caller's place
 * stands in the node of its callee, since it can be another one there than in the copy (look.c). */
struct memo {
    struct py_frame *frames;
    struct memo_ids {
        uint32_t callers; /* node of the trie, for the stack outside of this frame */
        uint32_t place;   /* the frame's id in the recording; PY_NO_ID: none */
        uint32_t code;    /* that of its code; PY_NO_ID: of no readable one */
    } * ids;
    size_t depth, cap;
    uint64_t unchecked_ns; /* since when a frame's code was not compared with memory; 0: all were */
    uint32_t record_epoch, code_epoch;
};

/* A thread state, and the interpreter that it belongs to. */
struct thread_state {
    uint64_t tstate, interp;
};

/* What the recording calls the thread. A name that Python gave stays when Python forgets the thread, which it
 * does a little before the end. */
struct naming {
    uint64_t born_ns, due_ns; /* when the thread was found; when its name is looked up next */
    uint32_t name;            /* string id; 0 until one is known */
    bool of_python;
};

/* A kernel thread that Python knows. It has a thread state in each interpreter that it has entered, newest
 * interpreter first; `current` is the one that was looked at last, to which `spot` belongs. So what the
 * thread does counts once, whatever it runs. Owned by its target. */
struct thread {
    struct thread *next;
    struct thread_state *states;
    size_t state_count, state_cap;
    struct thread_state current;
    uint64_t ident;      /* pthread_t */
    pid_t tid;           /* in our namespace */
    uint64_t native_tid; /* in the target's */
    uint32_t index;      /* in the recording */
    struct naming naming;
    bool seen; /* has a thread state, at the last listing */
    bool gone;
    const struct core_thread *dead; /* of a core; NULL: it lives, and these are its files: */
    struct proc_thread files;
    struct proc_sched account; /* lags by up to a tick of the kernel's while the thread runs */
    uint64_t read_ns;          /* when it was read last, */
    uint64_t unread_ns;        /* how long after the time before, and */
    uint64_t moved_ns;         /* when it had moved last */
    uint64_t queued_ns;        /* for how long, by it, the thread had waited for a CPU, since the last look */
    struct py_spot spot;
    struct memo memo;
    struct stretches stretches;
    bool running;         /* has a CPU or waits for one, as far as is known */
    bool blocked;         /* waits in a system call, and did not run since it was found there */
    bool resting;         /* blocked, and the open stretch is of that time */
    uint16_t syscall;     /* in which it waits, or REC_NO_SYSCALL */
    uint64_t syscall_arg; /* the call's first argument */
    uint64_t sp, pc;      /* where it waits */
    uint64_t stack_end;   /* of its native stack; 0: not known */
    uint64_t outer_code;  /* code object of its outermost Python frame when it was seen natively, */
    uint32_t outer;       /* node of the native frames outside of that, in outer_epoch */
    uint32_t outer_epoch; /* of the recording; 0: there is none */
    uint32_t calm;        /* looks in a row at which it had not run */
};

/* Opens the files of the thread, or finds it in the core; NULL with *err set when it is gone or memory is
 * short. It has no thread state yet. */
struct thread *thread_new(const struct source *source, pid_t tid, uint64_t native_tid, int *err);
void thread_free(struct thread *t);

/* Adds a thread state behind the others. 0 or -ENOMEM. */
int thread_add_state(struct thread *t, struct thread_state state);
/* Makes a thread state the one that is looked at. */
void thread_enter(struct thread *t, struct thread_state state);

/* What the scheduler says now. Sets running, blocked and syscall. -ESRCH when the thread is gone. */
int thread_look(struct thread *t, uint64_t now_ns, uint64_t tick_ns);

/* Adds a look at now_ns. */
void thread_add(struct thread *t, struct rec_writer *w, uint64_t now_ns, uint32_t stack, uint8_t state);
/* Writes what is held of the looks so far. */
void thread_flush(struct thread *t, struct rec_writer *w);
/* The same where no more looks follow. */
void thread_end(struct thread *t, struct rec_writer *w);

#endif
