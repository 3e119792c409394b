/* state: see state.h. */
#include "python/state.h"

#include <errno.h>
#include <string.h>

/* `tid` in glibc's struct pthread on x86-64: behind tcbhead_t and its padding (704 bytes) and the list of
 * stacks. The same since glibc 2.4. */
#define PTHREAD_TID 0x2d0

static int find_gil(struct py_runtime *rt, struct py_interp *interp)
{
    const struct layout *l = &rt->layout;
    int err = 0;
    if (l->interp.gil_pointer != ABSENT)
        err = memory_read_u64(&rt->memory, interp->address + l->interp.gil_pointer, &interp->gil);
    else
        interp->gil = rt->address + l->runtime.gil;
    interp->gil_end = interp->gil ? interp->gil + l->gil.size : 0;
    return err;
}

int py_interps(struct py_runtime *rt, struct py_interp *out, size_t *count)
{
    const struct layout *l = &rt->layout;
    uint64_t at, main_interp;
    *count = 0;
    int err = memory_read_u64(&rt->memory, rt->address + l->runtime.interpreters_head, &at);
    if (!err)
        err = memory_read_u64(&rt->memory, rt->address + l->runtime.interpreters_main, &main_interp);
    while (!err && at && *count < PY_INTERPS_MAX) {
        struct py_interp *interp = &out[*count];
        *interp = (struct py_interp){.address = at};
        err = find_gil(rt, interp);
        if (!err)
            err = memory_read_u64(&rt->memory, at + l->interp.next, &at);
        if (!err)
            ++*count;
    }
    bool whole = *count == PY_INTERPS_MAX || (*count && out[*count - 1].address == main_interp);
    return err ? err : whole ? 0 : -EAGAIN;
}

static uint64_t word_at(const uint8_t *copy, uint32_t offset)
{
    uint64_t value;
    memcpy(&value, copy + offset, sizeof(value));
    return value;
}

/* Up to 3.10 a thread state knows only its pthread_t; the C library keeps the tid inside of it. */
static uint64_t native_tid(struct py_runtime *rt, const uint8_t *tstate)
{
    const struct layout *l = &rt->layout;
    if (l->tstate.native_thread_id != ABSENT)
        return word_at(tstate, l->tstate.native_thread_id);
    uint32_t tid;
    uint64_t pthread = word_at(tstate, l->tstate.thread_id);
    if (!pthread || memory_read(&rt->memory, pthread + PTHREAD_TID, &tid, sizeof(tid)) != 0)
        return 0;
    return tid;
}

int py_threads(struct py_runtime *rt, uint64_t interp, int (*each)(void *, const struct py_thread *),
               void *ctx)
{
    const struct layout *l = &rt->layout;
    uint8_t tstate[LAYOUT_TSTATE_MAX];
    uint64_t at;
    int err = memory_read_u64(&rt->memory, interp + l->interp.threads_head, &at);
    for (size_t n = 0; !err && at; n++) {
        if (n == PY_THREADS_MAX)
            return -ELOOP;
        err = memory_read(&rt->memory, at, tstate, l->tstate.size);
        if (err)
            return err;
        if (word_at(tstate, l->tstate.interp) != interp)
            return -EAGAIN; /* freed or moved while we looked */
        struct py_thread thread = {.tstate = at,
                                   .native_tid = native_tid(rt, tstate),
                                   .ident = word_at(tstate, l->tstate.thread_id)};
        err = each(ctx, &thread);
        at = word_at(tstate, l->tstate.next);
    }
    return err;
}

/* Is this the thread state that may run Python code on its thread? `holder`: see runtime.tstate_current. */
static bool is_current(const struct layout *l, uint64_t at, const uint8_t *tstate, uint64_t holder)
{
    uint32_t status;
    if (l->tstate.status == ABSENT)
        return at == holder;
    memcpy(&status, tstate + l->tstate.status, sizeof(status));
    return status & TSTATE_ACTIVE;
}

static bool has_frames(struct py_runtime *rt, const uint8_t *tstate)
{
    const struct layout *l = &rt->layout;
    uint64_t frame = word_at(tstate, l->tstate.frame);
    if (l->frame_kind == FRAME_CFRAME &&
        memory_read_u64(&rt->memory, frame + l->cframe.current_frame, &frame) != 0)
        return false;
    return frame && (l->tstate.base_frame == ABSENT || frame != word_at(tstate, l->tstate.base_frame));
}

int py_current(struct py_runtime *rt, const uint64_t *tstates, size_t n, size_t *which)
{
    const struct layout *l = &rt->layout;
    uint8_t tstate[LAYOUT_TSTATE_MAX];
    uint64_t holder = 0;
    bool found = false;
    *which = n - 1;
    int err = 0;
    if (l->runtime.tstate_current != ABSENT)
        err = memory_read_u64(&rt->memory, rt->address + l->runtime.tstate_current, &holder);
    for (size_t i = 0; i < n && !err; i++) {
        err = memory_read(&rt->memory, tstates[i], tstate, l->tstate.size);
        if (err)
            break;
        bool current = is_current(l, tstates[i], tstate, holder);
        if (!current && (found || !has_frames(rt, tstate)))
            continue;
        *which = i;
        found = true;
        if (current)
            break;
    }
    return err;
}

/* False when the batch is full; a field that the version does not have is left out. */
static bool plan_field(struct py_batch *batch, uint64_t base, uint32_t offset, size_t len, const uint8_t **to)
{
    if (!base || offset == ABSENT)
        return true;
    *to = py_batch_add(batch, base + offset, len);
    return *to != NULL;
}

bool py_interp_plan(const struct py_runtime *rt, const struct py_interp *interp, struct py_batch *batch,
                    struct py_interp_look *look)
{
    const struct layout *l = &rt->layout;
    *look = (struct py_interp_look){0};
    bool gc_in_interp = l->interp.gc_collecting != ABSENT;
    uint64_t gc_base = gc_in_interp ? interp->address : rt->address;
    uint32_t gc_offset = gc_in_interp ? l->interp.gc_collecting : l->runtime.gc_collecting;
    bool fits = plan_field(batch, interp->address, l->interp.threads_head, 8, &look->threads_head) &&
                plan_field(batch, gc_base, gc_offset, 4, &look->collecting);
    if (l->runtime.tstate_current != ABSENT && l->interp.gil_pointer == ABSENT)
        return fits && plan_field(batch, rt->address, l->runtime.tstate_current, 8, &look->holder);
    return fits && plan_field(batch, interp->gil, l->gil.last_holder, 8, &look->holder) &&
           plan_field(batch, interp->gil, l->gil.locked, 4, &look->locked) &&
           plan_field(batch, interp->gil, l->gil.enabled, 4, &look->enabled);
}

static bool is_set(const uint8_t *field, bool absent)
{
    int32_t value;
    if (!field)
        return absent;
    memcpy(&value, field, sizeof(value));
    return value > 0;
}

struct py_interp_now py_interp_take(const struct py_interp_look *look)
{
    struct py_interp_now now = {.collecting = is_set(look->collecting, false)};
    now.threads_head = look->threads_head ? word_at(look->threads_head, 0) : 0;
    if (look->holder && is_set(look->locked, true) && is_set(look->enabled, true))
        now.gil_holder = word_at(look->holder, 0);
    return now;
}
