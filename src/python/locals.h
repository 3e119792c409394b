/* locals: the local variables of a frame: arguments, variables, those in cells, those of outer functions.
 *
 * They stand in one array in the frame, their names in its code object. A module and the body of a class keep
 * theirs in a dict: they have none here. The frame has to be one as long as it is read: seeing to it that its
 * thread does not run is the caller's business.
 */
#ifndef ZOND_PYTHON_LOCALS_H
#define ZOND_PYTHON_LOCALS_H

#include "python/stack.h"
#include "python/value.h"

/* Variables of a frame that are given; how many slots are looked through for such as are bound. */
#define PY_LOCALS_MAX 50
#define PY_LOCAL_SLOTS_MAX 500

/* UTF-8, not ended by NUL. Other than 0 ends the walk with it. */
typedef int (*py_local_take)(void *ctx, const char *name, size_t name_len, const char *value,
                             size_t value_len);

/* Gives the variables that are bound, in the order of CPython: arguments first; *more: how many further ones
 * were left out. An error: the memory makes no sense; what was given until then holds. */
int py_locals(struct py_values *v, const struct py_frame *frame, py_local_take take, void *ctx, size_t *more);

/* Do these frames, innermost first, stand on the stack of a thread state? The thread must not run
 * meanwhile. */
bool py_frames_stand(struct py_runtime *rt, uint64_t tstate, const struct py_frame *frames, size_t n);

#endif
