/* asyncio: see asyncio.h.
 *
 * A coroutine's frame is part of the coroutine; what it awaits lies on top of the frame's stack. What an
 * awaited object is, the name of its type tells: another coroutine, something that only stands before one, or
 * the end of the chain.
 */
#include "python/asyncio.h"

#include <errno.h>
#include <string.h>

#include "python/dict.h"
#include "python/text.h"

/* Bytes of a coroutine with the fixed part of its frame. */
#define CORO_MAX 512
/* Entries of a set of waiters that are looked at. */
#define WAITERS_MAX 64
#define TYPE_NAME_MAX 32

enum kind {
    KIND_OTHER,
    KIND_FRAME, /* has a frame of its own, like a coroutine */
    KIND_STEP,  /* its first field is the object that it stands for */
    KIND_TEXT,
};

static const struct {
    const char *name;
    enum kind kind;
} kinds[] = {
    {"coroutine", KIND_FRAME},
    {"generator", KIND_FRAME},
    {"async_generator", KIND_FRAME},
    {"coroutine_wrapper", KIND_STEP},
    {"async_generator_asend", KIND_STEP},
    {"async_generator_athrow", KIND_STEP},
    {"str", KIND_TEXT},
};

static uint64_t word_at(const uint8_t *copy, uint32_t offset)
{
    uint64_t value;
    memcpy(&value, copy + offset, sizeof(value));
    return value;
}

bool py_asyncio_imported(struct py_runtime *rt, uint64_t interp)
{
    uint64_t module;
    return py_module(rt, interp, "_asyncio", &module) == 0;
}

/* Types are named once; when more than are remembered were met, the oldest give way. */
static enum kind kind_of(struct py_runtime *rt, struct py_asyncio *a, uint64_t type)
{
    uint64_t at;
    char name[TYPE_NAME_MAX] = "";
    enum kind kind = KIND_OTHER;
    size_t filled = min_u64(a->known_count, PY_AWAITABLES);
    for (size_t i = 0; i < filled; i++) {
        if (a->known[i].type == type)
            return a->known[i].kind;
    }
    if (memory_read_u64(&rt->memory, type + rt->layout.object.type_name, &at) != 0)
        return KIND_OTHER;
    for (size_t i = 0; i < ARRAY_LEN(kinds) && kind == KIND_OTHER; i++) {
        size_t len = strlen(kinds[i].name) + 1;
        if (memory_read(&rt->memory, at, name, len) == 0 && memcmp(name, kinds[i].name, len) == 0)
            kind = kinds[i].kind;
    }
    size_t slot = a->known_count++ % PY_AWAITABLES;
    a->known[slot].type = type;
    a->known[slot].kind = (uint8_t)kind;
    return kind;
}

/* Is there a task at this address, or a plain future? */
static bool is_task(struct py_runtime *rt, const struct py_asyncio *a, uint64_t address)
{
    uint8_t flag;
    return memory_read(&rt->memory, address + a->layout.task_is_task, &flag, 1) == 0 && flag == 1;
}

/* The first task in a set of waiters; 0: none. Deleted entries hold an object that is neither. */
static uint64_t first_waiter(struct py_runtime *rt, const struct py_asyncio *a, uint64_t set)
{
    const struct layout *l = &rt->layout;
    uint64_t table, mask, entries[WAITERS_MAX][2];
    struct piece pieces[] = {{set + l->set.table, &table, 8}, {set + l->set.mask, &mask, 8}};
    if (memory_readv(&rt->memory, pieces, ARRAY_LEN(pieces), NULL) != 0)
        return 0;
    size_t count = min_u64(mask, WAITERS_MAX - 1) + 1;
    if (memory_read(&rt->memory, table, entries, count * sizeof(entries[0])) != 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i][0] && is_task(rt, a, entries[i][0]))
            return entries[i][0];
    }
    return 0;
}

static uint64_t waiter_of(struct py_runtime *rt, const struct py_asyncio *a, const uint8_t *task)
{
    uint64_t waiter = word_at(task, a->layout.task_awaited_by);
    if (!waiter)
        return 0;
    if (task[a->layout.task_awaited_by_is_set])
        return first_waiter(rt, a, waiter);
    return is_task(rt, a, waiter) ? waiter : 0;
}

size_t py_tasks(struct py_runtime *rt, const struct py_asyncio *a, uint64_t tstate, struct py_task *out,
                size_t max)
{
    const struct layout_asyncio *l = &a->layout;
    uint8_t task[LAYOUT_TASK_MAX + 8];
    uint64_t running, node, head = tstate + l->thread_tasks_head;
    struct piece pieces[] = {{tstate + l->thread_running_task, &running, 8}, {head, &node, 8}};
    size_t count = 0;
    if (memory_readv(&rt->memory, pieces, ARRAY_LEN(pieces), NULL) != 0)
        return 0;
    while (count < max && node && node != head) {
        uint64_t address = node - l->task_node;
        if (memory_read(&rt->memory, address, task, l->task_size) != 0 || task[l->task_is_task] != 1)
            break;
        node = word_at(task, l->task_node);
        if (address == running)
            continue;
        out[count++] = (struct py_task){.address = address,
                                        .name = word_at(task, l->task_name),
                                        .coro = word_at(task, l->task_coro),
                                        .awaited_by = waiter_of(rt, a, task)};
    }
    return count;
}

/* "Task-" and digits. */
static bool is_numbered(const char *name, size_t len)
{
    static const char prefix[] = "Task-";
    size_t i = sizeof(prefix) - 1;
    if (len <= i || memcmp(name, prefix, i) != 0)
        return false;
    while (i < len && name[i] >= '0' && name[i] <= '9')
        i++;
    return i == len;
}

int py_task_name(struct py_runtime *rt, struct py_asyncio *a, const struct py_task *task, struct buf *out)
{
    uint64_t type;
    size_t start = out->len;
    int err = task->name ? memory_read_u64(&rt->memory, task->name + rt->layout.object.type, &type) : -ENOENT;
    if (!err && kind_of(rt, a, type) != KIND_TEXT)
        err = -ENOENT;
    if (!err)
        err = py_read_str(rt, task->name, out);
    if (!err && is_numbered((const char *)out->data + start, out->len - start)) {
        out->len = start;
        err = -ENOENT;
    }
    return err;
}

/* What the frame of a coroutine awaits: an object's address; 0: nothing, it has not begun or it stands at a
 * `yield`. Before a state of waiting come, in every version, the one of standing at a yield and the one of
 * not having begun; those behind it run or have ended. */
static int awaited_object(struct py_runtime *rt, const uint8_t *coro, uint64_t *object)
{
    const struct layout *l = &rt->layout;
    int8_t state = (int8_t)coro[l->generator.frame_state];
    *object = 0;
    if (state > l->generator.awaiting || state < l->generator.awaiting - 2)
        return -EAGAIN;
    if (state != l->generator.awaiting)
        return 0;
    uint64_t top = word_at(coro, l->generator.iframe + l->frame.stackpointer);
    if (!top || top % 8 != 0)
        return -EAGAIN;
    int err = memory_read_u64(&rt->memory, top - 8ull * l->generator.awaited_slot, object);
    *object &= ~(uint64_t)l->frame.code_tag_mask;
    return err;
}

int py_task_frames(struct py_runtime *rt, struct py_asyncio *a, const struct py_task *task,
                   struct py_frame *frames, size_t *count)
{
    const struct layout *l = &rt->layout;
    uint8_t coro[CORO_MAX];
    size_t size = max_u64(l->generator.iframe + l->frame.size, l->generator.frame_state + 1);
    uint64_t at = task->coro;
    int err = size <= sizeof(coro) ? 0 : -ERANGE;
    *count = 0;
    for (size_t steps = 0; !err && at && steps < 2 * PY_AWAITS_MAX && *count < PY_AWAITS_MAX; steps++) {
        if (memory_read(&rt->memory, at, coro, l->object.var_size + 8) != 0)
            return *count ? 0 : -EAGAIN;
        enum kind kind = kind_of(rt, a, word_at(coro, l->object.type));
        if (kind == KIND_STEP) {
            at = word_at(coro, l->object.var_size);
            continue;
        }
        if (kind != KIND_FRAME)
            break;
        if (memory_read(&rt->memory, at, coro, size) != 0)
            return -EAGAIN;
        frames[(*count)++] = py_frame_of(l, at + l->generator.iframe, coro + l->generator.iframe);
        err = awaited_object(rt, coro, &at);
    }
    return err ? err : *count ? 0 : -EAGAIN;
}
