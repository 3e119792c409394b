/* state: interpreters, thread states, and who holds the GIL or collects garbage. */
#ifndef ZOND_PYTHON_STATE_H
#define ZOND_PYTHON_STATE_H

#include "python/stack.h"

#define PY_INTERPS_MAX 256
/* Longer lists of thread states are a sign of torn memory or a cycle. */
#define PY_THREADS_MAX 100000

/* An interpreter. Up to 3.11 all share one GIL, later each can have its own. */
struct py_interp {
    uint64_t address;
    uint64_t gil; /* struct _gil_runtime_state; a thread that waits for the GIL blocks on a word in it */
    uint64_t gil_end;
};

/* All interpreters, newest first, the main one last; at most PY_INTERPS_MAX. -EAGAIN: the list is being
 * changed (a new interpreter is its head before it knows the next). */
int py_interps(struct py_runtime *rt, struct py_interp *out, size_t *count);

struct py_thread {
    uint64_t tstate;
    uint64_t native_tid; /* kernel's tid in the target's namespace; 0 when it cannot be told */
    uint64_t ident;      /* pthread_t: by it the thread's name is known */
};

/* Calls `each` for each thread state of the interpreter, newest first. One that is made for a thread that has
 * not started has no thread yet or, up to 3.10, that of who made it. -ELOOP: more than PY_THREADS_MAX, or the
 * list bites its tail. */
int py_threads(struct py_runtime *rt, uint64_t interp, int (*each)(void *ctx, const struct py_thread *t),
               void *ctx);

/* A kernel thread has a thread state in each interpreter that it has entered. Which of n >= 1, in the order
 * that py_interps and py_threads gave them, is current on it? The one that may run Python code; while the
 * thread waits and none may, the one in the newest interpreter that has frames. *which is set also on an
 * error. */
int py_current(struct py_runtime *rt, const uint64_t *tstates, size_t n, size_t *which);

/* What of an interpreter is read at every look; points into the batch. */
struct py_interp_look {
    const uint8_t *threads_head, *holder, *locked, *enabled, *collecting;
};

struct py_interp_now {
    uint64_t threads_head; /* moves when a thread is made */
    uint64_t gil_holder;   /* thread state, or 0: free, or there is no GIL */
    bool collecting;       /* the garbage collector runs */
};

/* False when it does not fit into the batch. */
bool py_interp_plan(const struct py_runtime *rt, const struct py_interp *interp, struct py_batch *batch,
                    struct py_interp_look *look);
struct py_interp_now py_interp_take(const struct py_interp_look *look);

#endif
