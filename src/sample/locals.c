/* locals: the local variables of a thread's frames, at the look that found them.
 *
 * A frame is only what it was as long as its thread does not run: a call that returns leaves what looks like
 * a frame behind, and the next one writes over it. So variables are read of threads that stand still: of one
 * that is still held for its native stack, and of one that waits, has its frames still, and by the
 * scheduler's account was put on no CPU until the last of them was read. Other threads may change what the
 * variables hold: python/value sees to that.
 */
#include <stdio.h>
#include <string.h>

#include "python/locals.h"
#include "sample/target_state.h"

/* Of a thread, the variables of so many frames are read, the innermost. */
#define FRAMES_MAX 100
/* A thread that waits for the GIL runs every 5 ms, to look whether it gets it: then it is read again. */
#define ATTEMPTS 5
/* Reads of memory for one thread: each takes about a microsecond, and the thread may be held. */
#define READS_MAX 10000

/* The frames of a thread, innermost first. frames[i] is the number[i]th Python frame of its stack. */
struct found {
    struct py_frame frames[FRAMES_MAX];
    uint32_t number[FRAMES_MAX];
    size_t count;
    bool cut; /* there are more */
};

/* CPython's own frames are no frames of the recording; one that is unreadable is. */
static void find_frames(struct target *t, const struct memo *m, struct found *found, uint64_t now_ns)
{
    uint32_t number = 0;
    for (size_t i = 0; i < m->depth && !found->cut; i++) {
        struct py_code *code = NULL;
        bool readable = py_codes_get(&t->codes, &t->runtime, m->frames[i].code, now_ns, &code) == 0;
        if (readable && code->shim)
            continue;
        found->cut = found->count == FRAMES_MAX;
        if (readable && !found->cut) {
            found->frames[found->count] = m->frames[i];
            found->number[found->count++] = number;
        }
        number++;
    }
}

static int take(void *ctx, const char *name, size_t name_len, const char *value, size_t value_len)
{
    return rec_locals_add(ctx, name, name_len, value, value_len);
}

static void say(struct rec_locals *locals, const char *text)
{
    rec_locals_add(locals, REC_LOCALS_REST, strlen(REC_LOCALS_REST), text, strlen(text));
}

static int take_frame(struct rec_locals *locals, struct py_values *values, uint32_t thread,
                      const struct py_frame *frame, uint32_t number)
{
    size_t more;
    int err = rec_locals_begin(locals, thread, number);
    if (err)
        return err;
    err = py_locals(values, frame, take, locals, &more);
    if (err)
        say(locals, "unreadable");
    if (more) {
        char text[32];
        snprintf(text, sizeof(text), "%zu more", more);
        say(locals, text);
    }
    return 0;
}

/* The frames have no variables, and why. */
static void forget_frames(struct rec_locals *locals, uint32_t thread, const struct found *found)
{
    for (size_t i = found->count; i-- > 0;) {
        if (rec_locals_begin(locals, thread, found->number[i]) != 0)
            return;
    }
    say(locals, "the thread runs: not read");
}

static void take_frames(struct target *t, uint32_t thread, const struct found *found)
{
    struct memory *memory = &t->runtime.memory;
    struct py_values values;
    int err = py_values_init(&values, &t->runtime, t->codes.code_type, memory->reads + READS_MAX);
    for (size_t i = 0; i < found->count && !err; i++)
        err = take_frame(t->s->locals, &values, thread, &found->frames[i], found->number[i]);
}

/* How often the thread was put on a CPU, if it waits. */
static bool waits(const struct thread *thread, uint64_t *slices)
{
    struct proc_sched sched;
    struct proc_syscall call;
    bool known = proc_thread_sched(&thread->files, &sched) == 0 &&
                 proc_thread_syscall(&thread->files, &call) == 0 && !call.running;
    *slices = known ? sched.slices : 0;
    return known;
}

/* Reads what a thread that is not held has, while it waits. False: it ran meanwhile, or its frames are others
 * by now. */
static bool take_waiting(struct target *t, const struct thread *thread, const struct found *found)
{
    uint64_t before, after;
    if (!waits(thread, &before) ||
        !py_frames_stand(&t->runtime, thread->current.tstate, found->frames, found->count))
        return false;
    take_frames(t, thread->index, found);
    return waits(thread, &after) && after == before;
}

void target_take_locals(struct target *t, const struct thread *thread, uint64_t now_ns)
{
    struct found found = {0};
    if (!t->s->locals)
        return;
    find_frames(t, &thread->memo, &found, now_ns);
    if (!found.count)
        return;
    bool taken = t->natives.held.tid != 0 || thread->dead;
    if (taken)
        take_frames(t, thread->index, &found);
    for (int i = 0; i < ATTEMPTS && !taken; i++)
        taken = take_waiting(t, thread, &found);
    if (!taken)
        forget_frames(t->s->locals, thread->index, &found);
    else if (found.cut)
        target_note(t, REC_LOSS_TRUNCATED, now_ns,
                    "thread %d of process %d: local variables are shown of its %d innermost frames",
                    (int)thread->tid, (int)t->pid, FRAMES_MAX);
}
