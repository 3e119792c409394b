/* tasks: what a target's asyncio tasks wait for, as samples of their own kind (REC_TASK).
 *
 * A task that another task waits for stands in that one's chain: the chain of a sample goes from the task
 * that nobody waits for to the one that waits for no task, each headed by a frame that names it. So each wait
 * weighs once, where it is waited. Of several tasks that wait for one, one is in its chain; the others have
 * samples of their own, which end at that await.
 *
 * A chain is read while the program runs: one that changes meanwhile is left out, and is met again at the
 * next look.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sample/target_state.h"

/* Tasks wait long and there can be many of them: looking ten times a second shows where. When a look takes
 * long, the next is put off, so that tasks never take more than a part of the sampler's time. */
#define TASKS_PAUSE_NS (100 * NS_PER_MS)
#define TASKS_PART 20
/* asyncio may be imported late; looking for its module is a few reads. */
#define SEARCH_PAUSE_NS (100 * NS_PER_MS)
#define SEARCH_FAILED_PAUSE_NS (5 * NS_PER_S)
/* Of one event loop, so many tasks are looked at; bounds a look to a few ms. */
#define TASKS_MAX 1000
/* Tasks in one chain. */
#define CHAIN_MAX 64
/* Longer names are as good as none. */
#define TITLE_BYTES_MAX 256
/* Names of tasks that go into the recording, from one target: a program that names each task by its request
 * would fill the recording's tables. */
#define TITLES_MAX 1000

#define NOBODY UINT32_MAX

/* A task in a look. */
struct waiting {
    struct py_task task;
    uint32_t parent; /* the task that waits for it, or NOBODY */
    bool has_child;
    bool done;     /* node is known */
    uint32_t node; /* the end of its chain */
};

/* The tasks of one event loop. */
struct loop {
    struct target *t;
    uint64_t now_ns;
    struct waiting *list;
    size_t count;
};

static bool find_asyncio(struct target *t, uint64_t now_ns)
{
    struct tasks *tasks = &t->tasks;
    tasks->due_ns = now_ns + SEARCH_PAUSE_NS;
    bool imported = false;
    for (size_t i = 0; i < t->interp_count && !imported; i++)
        imported = py_asyncio_imported(&t->runtime, t->interps[i].address);
    if (!imported)
        return false;
    tasks->found = py_find_asyncio(t->s->finder, &t->source, &tasks->asyncio.layout) == 0;
    if (!tasks->found)
        tasks->due_ns = now_ns + SEARCH_FAILED_PAUSE_NS;
    return tasks->found;
}

static int list_tasks(struct loop *loop, uint64_t tstate)
{
    struct target *t = loop->t;
    struct py_task *tasks = malloc(TASKS_MAX * sizeof(*tasks));
    struct map by_address;
    map_init(&by_address);
    loop->count = tasks ? py_tasks(&t->runtime, &t->tasks.asyncio, tstate, tasks, TASKS_MAX) : 0;
    loop->list = calloc(loop->count + 1, sizeof(*loop->list));
    int err = tasks && loop->list ? 0 : -ENOMEM;
    for (size_t i = 0; i < loop->count && !err; i++) {
        loop->list[i] = (struct waiting){.task = tasks[i], .parent = NOBODY};
        err = map_put(&by_address, tasks[i].address, (uint32_t)i);
    }
    for (size_t i = 0; i < loop->count && !err; i++) {
        uint32_t parent = tasks[i].awaited_by ? map_get(&by_address, tasks[i].awaited_by) : MAP_NONE;
        if (parent == MAP_NONE)
            continue;
        loop->list[i].parent = parent;
        loop->list[parent].has_child = true;
    }
    map_release(&by_address);
    free(tasks);
    return err;
}

/* FNV-1a. */
static uint64_t hash_of(const uint8_t *bytes, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

/* The frame that stands for the task itself: "task NAME", or "task" for those without a name of their own,
 * which their coroutines tell apart well enough. */
static uint32_t title(struct target *t, const struct py_task *task)
{
    static const char prefix[] = "task ";
    struct rec_writer *w = t->s->writer;
    struct map *titles = &t->tasks.titles;
    struct buf text;
    buf_init(&text, TITLE_BYTES_MAX);
    buf_put_str(&text, prefix);
    bool named = titles->count < TITLES_MAX &&
                 py_task_name(&t->runtime, &t->tasks.asyncio, task, &text) == 0 && !text.error;
    const void *says = named ? text.data : (const void *)prefix;
    size_t len = named ? text.len : sizeof(prefix) - 2;
    uint64_t hash = hash_of(says, len);
    uint32_t frame = map_get(titles, hash);
    if (frame == MAP_NONE) {
        struct rec_code code = {.name = rec_string(w, says, len), .kind = REC_PYTHON};
        frame = rec_frame(w, &(struct rec_frame){.code = rec_code(w, &code)});
        map_put(titles, hash, frame);
    }
    buf_release(&text);
    return frame;
}

/* Pushes one frame of a task. -EAGAIN when it makes no sense. */
static int push_frame(struct loop *loop, const struct py_frame *frame, uint32_t *node)
{
    struct target *t = loop->t;
    struct py_code *code;
    uint32_t id = target_frame_id(t, frame, &code, loop->now_ns);
    if (id == PY_NO_ID)
        return -EAGAIN;
    /* As look.c: the address may hold another code object by now. Once for each in a look. */
    if (code->checked_ns != loop->now_ns && py_codes_check(&t->runtime, &code, 1, loop->now_ns) != 0)
        return -EAGAIN;
    *node = rec_push(t->s->writer, *node, id);
    return 0;
}

/* Puts a task's frames behind those of the task that waits for it. */
static int push_task(struct loop *loop, struct waiting *w)
{
    struct target *t = loop->t;
    struct py_frame frames[PY_AWAITS_MAX];
    size_t count;
    uint32_t node = w->parent == NOBODY ? REC_NO_STACK : loop->list[w->parent].node;
    int err = py_task_frames(&t->runtime, &t->tasks.asyncio, &w->task, frames, &count);
    if (err)
        return err;
    node = rec_push(t->s->writer, node, title(t, &w->task));
    for (size_t i = 0; i < count && !err; i++)
        err = push_frame(loop, &frames[i], &node);
    w->node = node;
    w->done = !err;
    return err;
}

/* Makes the chain that ends with this task. Parents that others have too are made once. */
static int push_chain(struct loop *loop, uint32_t last)
{
    uint32_t path[CHAIN_MAX];
    size_t depth = 0;
    for (uint32_t at = last; at != NOBODY && !loop->list[at].done; at = loop->list[at].parent) {
        if (depth == CHAIN_MAX)
            return -ELOOP;
        path[depth++] = at;
    }
    int err = 0;
    while (depth && !err)
        err = push_task(loop, &loop->list[path[--depth]]);
    return err;
}

/* Tasks beyond TASKS_MAX; told once for each process. */
static void note_cut(struct target *t, uint64_t now_ns)
{
    target_note(
        t, REC_LOSS_DROPPED, now_ns,
        "process %d has an event loop with %d waiting tasks or more: what further ones wait for was not "
        "looked at",
        t->pid, TASKS_MAX);
    t->tasks.cut = true;
}

static void look_at_loop(struct loop *loop, const struct thread *thread, uint64_t wall_ns)
{
    struct rec_sample sample = {.thread = thread->index,
                                .end_ns = loop->now_ns,
                                .wall_ns = wall_ns,
                                .count = 1,
                                .syscall = REC_NO_SYSCALL,
                                .state = REC_TASK};
    if (loop->count == TASKS_MAX && !loop->t->tasks.cut)
        note_cut(loop->t, loop->now_ns);
    for (size_t i = 0; i < loop->count; i++) {
        if (loop->list[i].has_child || push_chain(loop, (uint32_t)i) != 0)
            continue;
        sample.stack = loop->list[i].node;
        rec_sample(loop->t->s->writer, &sample);
    }
}

static void look_at_threads(struct target *t, uint64_t now_ns)
{
    for (const struct thread *thread = t->threads; thread; thread = thread->next) {
        uint64_t since_ns = max_u64(t->tasks.last_ns, thread->naming.born_ns);
        for (size_t i = 0; i < thread->state_count && !thread->gone && since_ns < now_ns; i++) {
            struct loop loop = {.t = t, .now_ns = now_ns};
            if (list_tasks(&loop, thread->states[i].tstate) == 0)
                look_at_loop(&loop, thread, now_ns - since_ns);
            free(loop.list);
        }
    }
}

void target_look_tasks(struct target *t, uint64_t now_ns)
{
    struct tasks *tasks = &t->tasks;
    if (now_ns < tasks->due_ns || t->runtime.layout.generator.iframe == ABSENT)
        return;
    if (!tasks->found && !find_asyncio(t, now_ns))
        return;
    uint64_t started_ns = clock_ns();
    if (tasks->last_ns)
        look_at_threads(t, now_ns);
    tasks->last_ns = now_ns;
    tasks->due_ns = now_ns + max_u64(TASKS_PAUSE_NS, (clock_ns() - started_ns) * TASKS_PART);
}

void target_forget_tasks(struct target *t)
{
    map_release(&t->tasks.titles);
    t->tasks = (struct tasks){0};
}
