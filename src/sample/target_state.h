/* The body of struct target, for the files that make it up: target.c (its life), listing.c (which threads
 * there are), foreign.c (those that Python does not know), naming.c (their names), look.c (their stacks),
 * native.c (their native stacks), locals.c (their variables), merge.c (how the two become one), places.c and
 * frames.c (what is in them) and tasks.c (what asyncio waits for). Not for others. */
#ifndef ZOND_SAMPLE_TARGET_STATE_H
#define ZOND_SAMPLE_TARGET_STATE_H

#include "native/unwind.h"
#include "os/proc.h"
#include "python/asyncio.h"
#include "python/names.h"
#include "sample/edges.h"
#include "sample/target.h"

/* What is known of a target's asyncio tasks. last_ns 0: they were not looked at yet. titles: frames that
 * stand for tasks, by the hash of what they say. */
struct tasks {
    struct py_asyncio asyncio;
    bool found;
    bool cut; /* it was told that there are more tasks than are looked at */
    struct map titles;
    uint64_t due_ns, last_ns;
};

/* What a native frame is to Python. */
enum native_role {
    ROLE_NONE,
    ROLE_EVALUATES, /* the evaluation loop: Python frames stand for it */
    ROLE_COLLECTS,  /* garbage: a frame of that kind stands for it */
    ROLE_WRAPS,     /* what a compiler made to call the function of the same name from Python */
    ROLE_JUMPS,     /* CPython's trampoline for perf, around each call of the evaluation loop: nothing */
};

struct native_seen {
    uint32_t frame; /* its id in the recording */
    enum native_role role;
};

/* The last merged stacks of one Python stack of threads that ran: a ring, in which count goes on. */
#define RECENT_MAX 8
struct native_recent {
    uint32_t nodes[RECENT_MAX];
    uint32_t count, next;
};

/* Native stacks of a target's threads. open: native can be used, from the first time that a stack is wanted;
 * failed: there can be none (told). moment: of the thread that is looked at, when `taken`; held: that thread,
 * while it is stopped. places and seen hold what the recording calls things, in its epoch; place_of leads to
 * them by address, seen_of by the node of the Python stack; jit_frames has the frame of a function by its
 * name in jit's texts. */
struct natives {
    struct native native;
    bool open, failed, taken;
    unsigned told; /* what cannot be had, bit by bit (native.c) */
    uint64_t refreshed_ns, refresh_pause_ns;
    struct moment moment;
    struct stopped held;
    struct native_stack stack;
    uint32_t epoch;
    struct map place_of, jit_frames, seen_of;
    struct native_seen *places; /* room for all that there can be */
    size_t place_count;
    struct native_recent *seen;
    size_t seen_count, seen_cap;
    char main_file[PROC_PATH_MAX]; /* of __main__; "" until it was seen */
    uint32_t *path;                /* while a stack is put on another root */
    size_t path_cap;
};

/* Invariants: runtime, interps and codes mean something only in TARGET_PYTHON. threads is ordered as the
 * interpreters list them; calm threads stay in it. */
struct target {
    struct sampling *s;
    struct source source;
    pid_t pid, ppid;
    uint32_t index; /* in the recording */
    enum target_phase phase;
    enum py_found found;
    struct proc_stat born; /* unless of a core; tells this program from the one after an exec */
    uint64_t searched_ns, search_pause_ns; /* when a Python was looked for last, and how long to wait */
    uint64_t checked_ns;                   /* when we looked for an exec last */
    struct py_runtime runtime;
    struct py_interp interps[PY_INTERPS_MAX];
    struct py_interp_now now[PY_INTERPS_MAX];
    size_t interp_count;
    uint64_t interps_ns; /* when their state was read last; 0: it must be */
    bool same_pid_ns;
    struct py_names names;
    struct tasks tasks;
    struct py_codes codes;
    struct edges edges;
    struct natives natives;
    struct thread *threads;
    size_t thread_count;
    struct foreign *foreign; /* threads that Python does not know */
    bool foreign_told;       /* that there are too many */
    bool list_stale;         /* the list of threads must be made anew */
    bool list_soon;          /* a thread state waits for its thread to start: listed again soon */
    uint64_t listed_ns, list_took_ns;
    uint64_t looks;
    uint64_t cpu_ns; /* of the whole process, when it was read last */
};

/* A loss of one thing, with a sentence for people. */
__attribute__((format(printf, 4, 5))) void target_note(struct target *t, enum rec_loss_kind kind,
                                                       uint64_t now_ns, const char *fmt, ...);

/* Makes the list of threads fit the thread states of all interpreters. -ESRCH: the process is gone. */
int target_list_threads(struct target *t, uint64_t now_ns);
/* Looks up the names that are due; part of a listing. */
void target_name_threads(struct target *t, uint64_t now_ns);
/* Makes the list of threads that Python does not know; after target_list_threads. */
void target_list_foreign(struct target *t, uint64_t now_ns);
/* Looks at those that ran, when native stacks are due. */
void target_look_foreign(struct target *t, uint64_t now_ns);
/* The thread is one of Python's from now on. True: the recording knows it already, as *index. */
bool target_adopt_foreign(struct target *t, pid_t tid, uint32_t *index);
void target_forget_foreign(struct target *t);
/* Drops threads that are marked gone. */
void target_drop_threads(struct target *t);

/* The frame's id in the recording, or PY_NO_ID when the copy makes no sense. *code is as of py_codes_get,
 * NULL for PY_NO_ID. */
uint32_t target_frame_id(struct target *t, const struct py_frame *frame, struct py_code **code,
                         uint64_t now_ns);
/* Reads the local variables of the frames that were just found, if they are wanted. */
void target_take_locals(struct target *t, const struct thread *thread, uint64_t now_ns);
/* What a frame is shown as whose code object cannot be made sense of, after all attempts. */
uint32_t target_unreadable_frame(struct target *t);
/* Does the frame stand on a call? */
bool target_frame_calls(struct target *t, const struct py_frame *frame, uint64_t now_ns);

/* Takes the registers and the stack of a thread that is about to be looked at. One that runs is held from now
 * on, so that its Python frames are of the same moment; one that waits is not touched. */
void target_take_native(struct target *t, struct thread *thread, uint64_t now_ns);
/* Its Python frames are copied, too, and it goes on, unless its local variables are wanted. True when they
 * are of the same moment, or when there is nothing native; else it was taken again, and its Python frames
 * must be read again. last: not again. */
bool target_confirm_native(struct target *t, struct thread *thread, bool last, uint64_t now_ns);
/* Lets it go on, if it is held. */
void target_let_go(struct target *t);
/* Its frame in the recording, and its role; NULL: no memory. Valid until the next call. */
const struct native_seen *target_place_of(struct target *t, const struct native_frame *f);
/* The recording gave new numbers, or addresses stand for other things than before. */
void target_forget_places(struct target *t);
/* The recording's id of a frame that is neither Python's nor in a module. first_line: where the function
 * begins; 0: not known. */
uint32_t target_named_frame(struct target *t, enum rec_kind kind, const char *name, const char *file,
                            uint32_t first_line);
/* Turns what was taken and the Python frames, of which `node` is, into a node. When nothing was taken of a
 * thread that runs: one that was found at the same Python stack lately; `node` when there is none. */
uint32_t target_native_node(struct target *t, struct thread *thread, const struct py_stack *stack,
                            uint32_t node, uint8_t state, uint64_t now_ns);
/* It goes on whatever came of it, and what was taken is of the past. */
void target_end_native(struct target *t);
void target_forget_native(struct target *t);

/* Looks at the asyncio tasks that wait, if it is time to. */
void target_look_tasks(struct target *t, uint64_t now_ns);
void target_forget_tasks(struct target *t);

/* Looks at all threads once. -ESRCH when the process is gone. */
int target_look_threads(struct target *t, uint64_t now_ns);

#endif
