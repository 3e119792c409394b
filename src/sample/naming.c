/* naming: what the recording calls a target's threads.
 *
 * Python's name wins over the kernel's, and the main interpreter's over those of others, where a thread that
 * only visits has a name too. A thread is registered and named a little after it starts, and may be renamed
 * at any time: so its name is looked up as it is found, then at growing intervals, up to NAME_AGAIN_NS.
 */
#include <stdlib.h>
#include <string.h>

#include "sample/target_state.h"

#define NAME_SOON_NS (50 * NS_PER_MS)
#define NAME_AGAIN_NS (5 * NS_PER_S)

/* The threads whose name is due, and the names found so far (0: none). */
struct due {
    struct rec_writer *writer;
    struct map by_ident; /* to the position in both lists */
    struct thread **threads;
    uint32_t *names;
    size_t count;
};

static bool wants(void *ctx, uint64_t ident)
{
    const struct due *due = ctx;
    return map_get(&due->by_ident, ident) != MAP_NONE;
}

static int take(void *ctx, uint64_t ident, const char *name, size_t len)
{
    struct due *due = ctx;
    due->names[map_get(&due->by_ident, ident)] = rec_string(due->writer, name, len);
    return 0;
}

/* What to call a thread that threading does not know. */
static uint32_t other_name(const struct target *t, const struct thread *thread)
{
    static const char main_thread[] = "MainThread";
    struct rec_writer *w = t->s->writer;
    char comm[64] = "";
    if (thread->tid == t->pid)
        return rec_string(w, main_thread, sizeof(main_thread) - 1);
    source_comm(&t->source, thread->tid, comm, sizeof(comm));
    return rec_string(w, comm, strlen(comm));
}

static void set_name(struct target *t, struct thread *thread, uint32_t name, uint64_t now_ns)
{
    struct naming *naming = &thread->naming;
    uint64_t age = now_ns - naming->born_ns;
    naming->due_ns = now_ns + min_u64(max_u64(age, NAME_SOON_NS), NAME_AGAIN_NS);
    naming->of_python |= name != 0;
    if (!name)
        name = naming->of_python ? naming->name : other_name(t, thread);
    if (name != naming->name)
        rec_thread_name(t->s->writer, thread->index, name);
    naming->name = name;
}

static bool collect(struct target *t, uint64_t now_ns, struct due *due)
{
    for (struct thread *thread = t->threads; thread; thread = thread->next) {
        if (thread->naming.due_ns > now_ns ||
            map_put(&due->by_ident, thread->ident, (uint32_t)due->count) != 0)
            continue;
        due->threads[due->count++] = thread;
    }
    return due->count;
}

void target_name_threads(struct target *t, uint64_t now_ns)
{
    struct due due = {.writer = t->s->writer,
                      .threads = calloc(t->thread_count + 1, sizeof(struct thread *)),
                      .names = calloc(t->thread_count + 1, sizeof(*due.names))};
    map_init(&due.by_ident);
    if (due.threads && due.names && collect(t, now_ns, &due)) {
        struct py_names_user user = {.wants = wants, .take = take, .ctx = &due};
        /* The main interpreter is the last. Where threading is not imported, nothing is found. */
        for (size_t i = 0; i < t->interp_count; i++)
            py_thread_names(&t->names, &t->runtime, t->interps[i].address, now_ns, &user);
        for (size_t i = 0; i < due.count; i++)
            set_name(t, due.threads[i], due.names[i], now_ns);
    }
    map_release(&due.by_ident);
    free(due.threads);
    free(due.names);
}
