/* stack: the Python frames of one thread, out of memory that changes while it is read.
 *
 * A thread is looked at in one system call: its thread state, the pointer to its innermost frame, the part
 * of its data stack that is in use, and the few frames that live elsewhere (generators, frames of C calls;
 * up to 3.10 all of them) at the addresses where they were last time. When a guess was wrong the look is
 * repeated with a better one. A batch takes the looks at several threads into the same call.
 *
 * Nothing stops the target, so a copy can be torn. What is accepted and why: docs/architecture.md, "Torn
 * reads".
 */
#ifndef ZOND_PYTHON_STACK_H
#define ZOND_PYTHON_STACK_H

#include "python/find.h"
#include "python/frame.h"

/* A stack is cut to so many of its innermost frames. */
#define PY_DEPTH_MAX 10000

/* Bytes of one batch: the looks that fit are read together. One thread never needs more than half of it. */
#define PY_BATCH_BYTES (1u << 20)
/* Of a data stack, at most this is planned into a batch; what is deeper is read afterwards. */
#define PY_CHUNK_BYTES (64u << 10)
#define PY_CHUNKS 8
/* Single frames planned into a batch for one thread. */
#define PY_EXTRAS 96

/* A stack, innermost frame first. frames has room for PY_DEPTH_MAX. */
struct py_stack {
    struct py_frame *frames;
    size_t depth;
    bool truncated;
};

/* Where a thread's stack was the last time: guesses for the next look. extras is owned. */
struct py_spot {
    uint64_t tstate;
    uint64_t native_tid; /* 3.11+; 0: not compared */
    uint64_t cframe;
    struct {
        uint64_t base;
        size_t len;
    } chunks[PY_CHUNKS]; /* innermost first; base 0 ends the list */
    uint64_t *extras;    /* addresses of frames outside of the chunks, innermost first */
    size_t extra_count;
};

void py_spot_init(struct py_spot *s, uint64_t tstate, uint64_t native_tid);
void py_spot_release(struct py_spot *s);

/* Pieces to be read in one call, and the memory that they land in. */
struct py_batch {
    struct piece pieces[MEMORY_PIECES_MAX];
    size_t count;
    uint8_t *arena; /* PY_BATCH_BYTES */
    size_t used;
};

int py_batch_init(struct py_batch *b);
void py_batch_release(struct py_batch *b);
void py_batch_clear(struct py_batch *b);
/* A place for len bytes from `at`, filled by the next memory_readv; NULL when the batch is full. */
uint8_t *py_batch_add(struct py_batch *b, uint64_t at, size_t len);

/* One planned look; points into the batch. Copies are valid until the batch is cleared. */
struct py_look {
    struct py_spot *spot;
    size_t first_piece, end_piece;
    uint8_t *tstate;
    uint8_t *innermost; /* 3.11-3.12: the word in the cframe */
    struct py_copy {
        uint64_t at;
        size_t len;
        uint8_t *bytes;
    } chunks[PY_CHUNKS]; /* innermost first */
    size_t chunk_count;
    uint8_t *extras; /* the first extra_count extras of the spot, PY_FRAME_ROOM bytes each */
    size_t extra_count;
};

/* Adds the pieces of a look. False when they do not fit any more: read the batch first. */
bool py_look_plan(const struct py_runtime *rt, struct py_spot *spot, struct py_batch *batch,
                  struct py_look *look);

enum py_taken {
    PY_TAKEN,    /* *stack is set */
    PY_MISSED,   /* a guess was wrong; the spot is better now: plan and read again */
    PY_TORN,     /* the memory changed while it was read: again */
    PY_BROKEN,   /* the memory makes no sense */
    PY_NO_THREAD /* the thread state is another thread's or none */
};

struct py_walker;
int py_walker_new(struct py_walker **out);
void py_walker_free(struct py_walker *w);

/* After the batch was read whole: the stack. `patient` takes a stack that was not found with the guesses
 * alone, after comparing it with the memory once more; without it PY_MISSED asks for a new look. */
enum py_taken py_look_take(struct py_walker *w, struct py_runtime *rt, struct py_look *look, bool patient,
                           struct py_stack *stack);

#endif
