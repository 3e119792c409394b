/* unwind: the native stack of one thread, from its registers and a copy of its stack, and what its frames
 * are.
 *
 * By libdwfl (decisions/0021): call frame information of the executable, the libraries and the vDSO, found in
 * their .eh_frame or .debug_frame; where there is none, frame pointers. One object per process, used by one
 * thread. Knows nothing of Python, and stops nothing: whoever stopped the thread took the copy.
 */
#ifndef ZOND_NATIVE_UNWIND_H
#define ZOND_NATIVE_UNWIND_H

#include "os/memory.h"
#include "os/stop.h"

/* A stack is cut to so many of its innermost frames. */
#define NATIVE_DEPTH_MAX 10000
/* Of a thread's stack, at most this much is copied from its pointer on; what is deeper is read when it is
 * needed. */
#define NATIVE_COPY_MAX (256u << 10)

struct native;

/* pid: its maps and files are read now. 0 or a negative errno. */
int native_new(pid_t pid, struct native **out);
void native_free(struct native *n);

/* A moment of a thread. copy: memory from `copied_from` on; owned by whoever made it. */
struct moment {
    pid_t tid;
    struct registers registers;
    uint64_t copied_from;
    size_t copied;
    uint8_t *copy; /* room for NATIVE_COPY_MAX */
};

/* Copies the registers that are known and the stack. */
int native_copy_stack(struct native *n, struct moment *m);

/* pc: within the instruction that is executed, or that calls. sp: the frame lies from here up to the sp of
 * the next; 0: not known. */
struct native_frame {
    uint64_t pc, sp;
};

/* A stack, innermost frame first. whole: the unwinding ended at the thread's start. frames has room for
 * NATIVE_DEPTH_MAX. */
struct native_stack {
    struct native_frame *frames;
    size_t depth;
    bool whole;
    bool truncated;
};

/* 0, or a negative errno when not even the innermost frame is known. */
int native_unwind(struct native *n, const struct moment *m, struct native_stack *out);

/* What is at an address. function: as the symbol table has it, "" when there is none there; module: path of
 * the file, and where in it that is mapped; source and line where there is debug information, else NULL and
 * 0. Valid until native_free. */
struct native_place {
    const char *function;
    const char *module;
    uint64_t offset;
    const char *source;
    int line;
};
struct native_place native_place(struct native *n, uint64_t address);

#endif
