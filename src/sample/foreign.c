/* foreign: threads of a target that its Python does not know: workers of OpenBLAS, of numba, of any library.
 *
 * Looked at when native stacks are due, for they have no others. What a thread ran since the last time is
 * known exactly, by the scheduler, and is given to what it is found at; so its samples are of time on a CPU
 * alone, and there are gaps between them: nobody asks what the idle workers of a pool wait for. One that
 * never runs is not in the recording. What a young one is found at is kept until it is clear that it does not
 * become one of Python's, and forgotten if it does.
 */
#include <stdlib.h>
#include <string.h>

#include "os/proc.h"
#include "sample/target_state.h"

/* A thread that was not so old yet when Python's were listed last may still become one of them. */
#define YOUNG_NS (50 * NS_PER_MS)
/* Threads of one process beyond are not looked at: a loss, told once. */
#define FOREIGN_MAX 1024

/* Looks at a young thread that are kept: beyond, the last one gets the time of those that follow. */
#define KEPT_MAX 64

/* It ran `ran_ns` of the time before `end_ns`, at `node` of the recording's epoch `epoch`. */
struct found {
    uint64_t end_ns, ran_ns;
    uint32_t node, epoch;
};

struct kept {
    size_t count;
    struct found found[KEPT_MAX];
};

struct foreign {
    struct foreign *next;
    struct thread *thread;
    bool seen, announced;
    uint64_t told_ns, until_ns; /* of its running time so much was found; when it was looked at last */
    uint32_t node;              /* where it was found last, in the recording's epoch */
    uint32_t epoch;
    struct kept *kept; /* ours, NULL unless young */
};

struct search {
    struct target *t;
    struct map pythons; /* tids, ours */
    uint64_t now_ns;
    size_t count;
};

static struct foreign *known(struct target *t, pid_t tid)
{
    for (struct foreign *f = t->foreign; f; f = f->next) {
        if (f->thread->tid == tid)
            return f;
    }
    return NULL;
}

static void foreign_free(struct foreign *f)
{
    if (f->thread)
        thread_free(f->thread);
    free(f->kept);
    free(f);
}

static void add(struct target *t, pid_t tid, uint64_t now_ns)
{
    int err;
    pid_t inner = tid;
    struct foreign *f = calloc(1, sizeof(*f));
    if (!f)
        return;
    if (!t->same_pid_ns)
        proc_ns_tid(tid, tid, &inner);
    f->kept = calloc(1, sizeof(*f->kept));
    f->thread = f->kept ? thread_new(&t->source, tid, (uint64_t)inner, &err) : NULL;
    if (!f->thread) {
        foreign_free(f);
        return;
    }
    f->seen = true;
    f->thread->naming.born_ns = f->until_ns = now_ns;
    f->told_ns = f->thread->account.run_ns;
    f->next = t->foreign;
    t->foreign = f;
}

static int take_tid(void *ctx, pid_t tid)
{
    struct search *s = ctx;
    struct foreign *f = known(s->t, tid);
    if (map_get(&s->pythons, (uint64_t)tid) != MAP_NONE)
        return 0;
    if (++s->count > FOREIGN_MAX)
        return 0;
    if (f)
        f->seen = true;
    else
        add(s->t, tid, s->now_ns);
    return 0;
}

static void drop_unseen(struct target *t)
{
    for (struct foreign **at = &t->foreign; *at;) {
        struct foreign *f = *at;
        if (f->seen) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        foreign_free(f);
    }
}

bool target_adopt_foreign(struct target *t, pid_t tid, uint32_t *index)
{
    struct foreign *f = known(t, tid);
    if (!f)
        return false;
    bool announced = f->announced;
    *index = f->thread->index;
    f->seen = false;
    drop_unseen(t);
    return announced;
}

void target_forget_foreign(struct target *t)
{
    for (struct foreign *f = t->foreign; f; f = f->next)
        f->seen = false;
    drop_unseen(t);
}

/* Are there others than those that are known? */
static bool is_complete(const struct target *t)
{
    struct proc_stat st;
    size_t count = t->thread_count;
    if (t->source.core)
        return false;
    for (const struct foreign *f = t->foreign; f; f = f->next)
        count++;
    return proc_stat(t->pid, &st) != 0 || (size_t)st.threads == count;
}

void target_list_foreign(struct target *t, uint64_t now_ns)
{
    struct search s = {.t = t, .now_ns = now_ns};
    if (is_complete(t))
        return;
    map_init(&s.pythons);
    for (const struct thread *thread = t->threads; thread; thread = thread->next)
        map_put(&s.pythons, (uint64_t)thread->tid, 0);
    for (struct foreign *f = t->foreign; f; f = f->next)
        f->seen = false;
    source_threads(&t->source, take_tid, &s);
    drop_unseen(t);
    map_release(&s.pythons);
    if (s.count > FOREIGN_MAX && !t->foreign_told)
        target_note(t, REC_LOSS_UNREADABLE, now_ns,
                    "process %d: of %zu threads that Python does not know %d are looked at", t->pid, s.count,
                    FOREIGN_MAX);
    t->foreign_told |= s.count > FOREIGN_MAX;
}

static void announce(struct target *t, struct foreign *f, uint64_t now_ns)
{
    char comm[64] = "";
    source_comm(&t->source, f->thread->tid, comm, sizeof(comm));
    struct rec_thread entry = {.process = t->index,
                               .tid = (uint32_t)f->thread->native_tid,
                               .start_ns = now_ns,
                               .name = rec_string(t->s->writer, comm, strlen(comm))};
    f->thread->index = rec_thread(t->s->writer, &entry);
    f->announced = true;
}

static void sample(struct target *t, struct foreign *f, const struct found *found)
{
    struct rec_sample s = {.stack = found->epoch == rec_epoch(t->s->writer) ? found->node : REC_NO_STACK,
                           .end_ns = found->end_ns,
                           .wall_ns = found->ran_ns,
                           .cpu_ns = found->ran_ns,
                           .count = 1,
                           .syscall = REC_NO_SYSCALL,
                           .state = REC_ON_CPU | REC_IN_C};
    /* At one look only there is none before. */
    if (t->s->native_once) {
        s.wall_ns = NS_PER_MS;
        s.state = f->thread->blocked ? 0 : s.state;
        s.syscall = f->thread->syscall;
    }
    if (!f->announced)
        announce(t, f, s.end_ns - s.wall_ns);
    s.thread = f->thread->index;
    rec_sample(t->s->writer, &s);
    t->s->samples++;
}

/* What it ran since the last look; the account may be ahead of the clock by a little, which the next one
 * gets. */
static struct found since(struct foreign *f, uint64_t now_ns)
{
    struct found found = {.end_ns = now_ns,
                          .ran_ns = min_u64(f->thread->account.run_ns - f->told_ns, now_ns - f->until_ns),
                          .node = f->node,
                          .epoch = f->epoch};
    f->told_ns += found.ran_ns;
    f->until_ns = now_ns;
    return found;
}

static void keep(struct kept *kept, const struct found *found)
{
    uint64_t before_ns = 0;
    if (kept->count == KEPT_MAX)
        before_ns = kept->found[--kept->count].ran_ns;
    kept->found[kept->count] = *found;
    kept->found[kept->count++].ran_ns += before_ns;
}

static void come_of_age(struct target *t, struct foreign *f)
{
    struct kept *kept = f->kept;
    f->kept = NULL;
    for (size_t i = 0; kept && i < kept->count; i++)
        sample(t, f, &kept->found[i]);
    free(kept);
}

/* Threads are listed again when one has come of age. */
static bool is_young(struct target *t, const struct foreign *f, uint64_t now_ns)
{
    uint64_t grown_ns = f->thread->naming.born_ns + YOUNG_NS;
    t->list_stale |= now_ns >= grown_ns && t->listed_ns < grown_ns;
    return t->listed_ns < grown_ns;
}

/* A thread that waits by now is not unwound, but for the one look: where it waits is not where it ran. */
static void look_at(struct target *t, struct foreign *f, uint64_t now_ns)
{
    static const struct py_stack no_python = {0};
    struct thread *thread = f->thread;
    if (thread_look(thread, now_ns, t->s->tick_ns) != 0) {
        f->seen = false;
        return;
    }
    bool once = t->s->native_once;
    if (once || !is_young(t, f, now_ns))
        come_of_age(t, f);
    if (!once && thread->account.run_ns == f->told_ns)
        return;
    if (!thread->blocked || once) {
        target_take_native(t, thread, now_ns);
        target_confirm_native(t, thread, true, now_ns);
        if (t->natives.taken) {
            f->node = target_native_node(t, thread, &no_python, REC_NO_STACK, 0, now_ns);
            f->epoch = rec_epoch(t->s->writer);
        }
        target_end_native(t);
    }
    struct found found = since(f, now_ns);
    if (f->kept)
        keep(f->kept, &found);
    else
        sample(t, f, &found);
}

void target_look_foreign(struct target *t, uint64_t now_ns)
{
    if (!t->s->native || !t->s->native_now)
        return;
    for (struct foreign *f = t->foreign; f; f = f->next)
        look_at(t, f, now_ns);
    drop_unseen(t);
}
