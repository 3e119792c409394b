/* native: taking a target's native stacks.
 *
 * A thread that runs is held while its registers, its stack and its Python frames are copied, and unwound
 * after it went on (merge.c). One that waits is read through /proc: its stack pointer and address are known,
 * the other registers are not, and what needs them ends its stack early.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/proc.h"
#include "sample/target_state.h"

/* How often a thread that is woken all the time is copied, to find it waiting before and after. */
#define ATTEMPTS 4

/* What cannot be had. */
enum lack { NO_MODULES, NO_STOP, NO_REST, NO_STACK };

static const char *const lacks[] = {
    [NO_MODULES] = "what it has mapped cannot be read, so its stacks are shown without native frames",
    [NO_STOP] =
        "it may not be stopped (a debugger or strace has it?): threads that run have no native frames",
    [NO_REST] = "a thread did not stand still to be copied: it is shown without native frames",
    [NO_STACK] = "the core does not have each thread's stack (some gdb write zeros), so stacks end early",
};

/* Each is told once for a process. */
static void note(struct target *t, uint64_t now_ns, enum lack what)
{
    if (!(t->natives.told & 1u << what))
        target_note(t, REC_LOSS_UNREADABLE, now_ns, "process %d: %s", t->pid, lacks[what]);
    t->natives.told |= 1u << what;
}

static bool begin(struct target *t, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    if (n->open || n->failed)
        return n->open;
    n->moment.copy = malloc(NATIVE_COPY_MAX);
    n->stack.frames = malloc(NATIVE_DEPTH_MAX * sizeof(*n->stack.frames));
    n->open = n->moment.copy && n->stack.frames && native_init(&n->native, &t->source) == 0;
    n->failed = !n->open;
    if (n->failed)
        note(t, now_ns, NO_MODULES);
    return n->open;
}

void target_let_go(struct target *t)
{
    struct stopped *held = &t->natives.held;
    if (held->tid)
        histogram_add(&t->s->pauses, stop_end(held), 1);
    if (held->tid)
        late_add(&t->s->late, held);
}

void target_forget_native(struct target *t)
{
    struct natives *n = &t->natives;
    target_let_go(t);
    if (n->open)
        native_release(&n->native);
    free(n->moment.copy);
    free(n->stack.frames);
    map_release(&n->place_of);
    map_release(&n->jit_frames);
    free(n->places);
    map_release(&n->seen_of);
    free(n->seen);
    free(n->path);
    *n = (struct natives){0};
}

/* Taking ---------------------------------------------------------------------------------------------- */

/* A thread that waits, at `where`. True when it still waited as it did after its stack was copied. */
static bool take_waiting(struct natives *n, const struct thread *thread, struct proc_syscall *where)
{
    struct registers *r = &n->moment.registers;
    struct proc_syscall before = *where;
    *r = (struct registers){.known = 1u << REGISTER_SP | 1u << REGISTER_PC};
    r->value[REGISTER_SP] = before.sp;
    r->value[REGISTER_PC] = before.pc;
    return before.sp && native_copy_stack(&n->native, &n->moment, thread->stack_end) == 0 &&
           proc_thread_syscall(&thread->files, where) == 0 && !where->running && where->sp == before.sp &&
           where->pc == before.pc;
}

static bool take_running(struct target *t, struct thread *thread, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    struct sampling *s = t->s;
    if (!late_allows(&s->late, thread->tid))
        return false;
    int err = stop_thread(t->pid, thread->tid, s->patience_ns, &n->held);
    if (err == -EPERM)
        note(t, now_ns, NO_STOP);
    if (err == -EAGAIN)
        late_add(&s->late, &n->held);
    if (err)
        return false;
    s->stops++;
    return stop_registers(&n->held, &n->moment.registers) == 0 &&
           native_copy_stack(&n->native, &n->moment, thread->stack_end) == 0;
}

/* Takes a thread that is `where`; it may go from waiting to running and back meanwhile. */
static void take_moment(struct target *t, struct thread *thread, struct proc_syscall where, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    n->taken = false;
    for (int i = 0; i < ATTEMPTS && !where.running && !n->taken; i++)
        n->taken = take_waiting(n, thread, &where);
    if (where.running && t->s->native_now)
        n->taken = take_running(t, thread, now_ns);
}

/* At its end a stack has glibc's struct pthread, of more bytes than this: they are of the stack. */
#define BLANK_BYTES 2048

static bool is_blank(const uint8_t *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

/* Of a core all registers are there. What the core lacks of the stack ends it early. */
static void take_dead(struct target *t, const struct thread *thread, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    n->moment.registers = thread->dead->registers;
    if (native_copy_stack(&n->native, &n->moment, thread->stack_end) != 0)
        n->moment.copied = 0;
    if (is_blank(n->moment.copy, min_u64(n->moment.copied, BLANK_BYTES)))
        note(t, now_ns, NO_STACK);
    n->taken = true;
}

void target_take_native(struct target *t, struct thread *thread, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    n->taken = false;
    if (!begin(t, now_ns))
        return;
    n->moment.tid = thread->tid;
    if (thread->dead) {
        take_dead(t, thread, now_ns);
        return;
    }
    take_moment(t, thread,
                (struct proc_syscall){.running = !thread->blocked, .sp = thread->sp, .pc = thread->pc},
                now_ns);
    if (!n->taken && t->s->native_once)
        note(t, now_ns, NO_REST);
}

bool target_confirm_native(struct target *t, struct thread *thread, bool last, uint64_t now_ns)
{
    struct natives *n = &t->natives;
    const uint64_t *taken = n->moment.registers.value;
    struct proc_syscall where;
    if (!n->taken || n->held.tid || thread->dead) {
        if (!t->s->locals)
            target_let_go(t);
        return true;
    }
    if (proc_thread_syscall(&thread->files, &where) != 0)
        n->taken = false;
    else if (where.running || where.sp != taken[REGISTER_SP] || where.pc != taken[REGISTER_PC])
        last ? (void)(n->taken = false) : take_moment(t, thread, where, now_ns);
    else
        return true;
    return !n->taken;
}

void target_end_native(struct target *t)
{
    target_let_go(t);
    t->natives.taken = false;
}
