/* unwind: the native stack of one thread, from its registers and a copy of its stack.
 *
 * By call frame information (cfi.h). Where there is none for an address, by what the stack looks like: such
 * frames are marked as guessed. One object per process, used by one thread. Knows nothing of Python, and
 * stops nothing: whoever stopped the thread took the copy.
 */
#ifndef ZOND_NATIVE_UNWIND_H
#define ZOND_NATIVE_UNWIND_H

#include "native/cfi.h"
#include "native/jit.h"
#include "native/modules.h"
#include "os/memory.h"
#include "os/stop.h"

/* A stack is cut to so many of its innermost frames. */
#define NATIVE_DEPTH_MAX 10000
/* Of a thread's stack, at most this much is copied from its pointer on; what is deeper is read when it is
 * needed. */
#define NATIVE_COPY_MAX (256u << 10)
/* What is beyond the copy is read in pieces of so many bytes. */
#define NATIVE_WINDOW 4096

struct native {
    struct modules modules;
    struct jit jit;
    struct cfi_cache cfi;
    struct memory memory;
    uint64_t window_from;
    size_t window_len;
    uint8_t window[NATIVE_WINDOW];
};

/* Its maps and files are read now. 0 or a negative errno; n needs no release then. */
int native_init(struct native *n, const struct source *source);
void native_release(struct native *n);
/* Looks again at what is mapped and was compiled. What was found at addresses before is void. */
void native_refresh(struct native *n);
/* The function that was compiled to an address in no module; NULL: none is known there. A perf map may claim
 * what it likes: files come first. */
const struct jit_code *native_jitted(struct native *n, uint64_t address);

/* A moment of a thread. copy: memory from `copied_from` on; owned by whoever made it. */
struct moment {
    pid_t tid;
    struct registers registers;
    uint64_t copied_from;
    size_t copied;
    uint8_t *copy; /* room for NATIVE_COPY_MAX */
};

/* Copies the stack, up to `end`; 0: where it ends is not known. */
int native_copy_stack(struct native *n, struct moment *m, uint64_t end);

/* pc: within the instruction that is executed, or that calls. sp: the frame lies from here up to the sp of
 * the next. guessed: it was found without call frame information of the function inside of it. */
struct native_frame {
    uint64_t pc, sp;
    bool guessed;
};

/* A stack, innermost frame first. whole: the unwinding ended at the thread's start. frames has room for
 * NATIVE_DEPTH_MAX. */
struct native_stack {
    struct native_frame *frames;
    size_t depth;
    bool whole;
    bool truncated;
};

/* There is at least one frame. */
void native_unwind(struct native *n, const struct moment *m, struct native_stack *out);

#endif
