/* asyncio: the tasks of an event loop and what they wait for (3.14+).
 *
 * Tasks are read from outside while they come and go: a list can end early, and a task that makes no sense is
 * left out. Only tasks of the C implementation are found. docs/cpython-notes.md describes the layout.
 */
#ifndef ZOND_PYTHON_ASYNCIO_H
#define ZOND_PYTHON_ASYNCIO_H

#include "base/buf.h"
#include "python/stack.h"

/* Coroutines of one task, each awaited by the one before it. */
#define PY_AWAITS_MAX 1000
/* Types whose meaning is remembered. */
#define PY_AWAITABLES 16

/* An asyncio in a process, and the types that it was seen to await. */
struct py_asyncio {
    struct layout_asyncio layout;
    struct {
        uint64_t type;
        uint8_t kind;
    } known[PY_AWAITABLES];
    size_t known_count;
};

struct py_task {
    uint64_t address;
    uint64_t name, coro;
    uint64_t awaited_by; /* the task that waits for it; of several one; 0: none */
};

/* Is asyncio's C part imported in this interpreter? */
bool py_asyncio_imported(struct py_runtime *rt, uint64_t interp);

/* The tasks that a thread state's loop has and does not run at this moment, the first `max` of them. */
size_t py_tasks(struct py_runtime *rt, const struct py_asyncio *a, uint64_t tstate, struct py_task *out,
                size_t max);

/* Appends the name that the program gave to the task. -ENOENT: it gave none, and asyncio calls it Task-N. */
int py_task_name(struct py_runtime *rt, struct py_asyncio *a, const struct py_task *task, struct buf *out);

/* The frames of a task that waits, outermost first; room for PY_AWAITS_MAX. -EAGAIN: it runs, has ended, or
 * changed meanwhile. */
int py_task_frames(struct py_runtime *rt, struct py_asyncio *a, const struct py_task *task,
                   struct py_frame *frames, size_t *count);

#endif
