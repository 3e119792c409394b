/* frame: what one frame of Python says, out of a copy of its memory or out of that memory itself. Shared by
 * who looks from outside (stack.h) and by the agent, which looks at its own thread: knows neither.
 */
#ifndef ZOND_PYTHON_FRAME_H
#define ZOND_PYTHON_FRAME_H

#include "python/layout.h"

struct py_frame {
    uint64_t at;    /* address of the frame: tells one activation from another */
    uint64_t code;  /* address of the code object */
    uint64_t instr; /* 3.11+: address of the current instruction · before: its offset in bytes */
    int32_t tlbc;   /* free-threaded 3.14+: which copy of the bytecode runs; else 0 */
    bool from_c;    /* 3.11+: C code stands between this frame and the one outside of it */
    uint64_t entry; /* 3.12+: then the address of the frame that the C code left on its own stack; else 0 */
};

/* The frame at `at`, out of a copy of its first layout.frame.size bytes. */
struct py_frame py_frame_of(const struct layout *l, uint64_t at, const uint8_t *copy);

/* No frame of a function: one that stands between C and Python. */
bool py_frame_is_shim(const struct layout *l, const uint8_t *copy);

/* Has the frame been left? Later versions clear its code then, up to 3.10 its state tells. */
bool py_frame_was_left(const struct layout *l, const struct py_frame *frame, const uint8_t *copy);

/* The instruction's offset in bytes from the start of its code, where tlbc is 0. An instruction before the
 * first one is a frame that has not begun: it counts as the first. Nothing is checked: memory that makes no
 * sense gives an offset beyond the code. */
uint64_t py_frame_offset(const struct layout *l, const struct py_frame *frame);

#endif
