/* locals: see locals.h. */
#include "python/locals.h"

#include <errno.h>

#include "python/text.h"

/* Frames on a stack that are none of those asked for: CPython's own between others. */
#define HOPS_MAX 256
/* Longer names are cut. */
#define NAME_BYTES_MAX (4 * PY_TEXT_MAX)

/* The slots of a frame, and the walk through them. cells: one byte for each, not 0 where it is in a cell. */
struct walk {
    struct py_values *v;
    py_local_take take;
    void *ctx;
    uint64_t slots; /* address of the first */
    uint64_t words[PY_LOCAL_SLOTS_MAX];
    uint64_t names[PY_LOCAL_SLOTS_MAX];
    bool in_cell[PY_LOCAL_SLOTS_MAX];
    size_t count;
    size_t given;
};

/* Adds the names of a tuple; cells: the variables are in cells. */
static int add_names(struct walk *w, uint64_t tuple_at, bool cells)
{
    struct py_runtime *rt = w->v->rt;
    uint64_t tuple, length;
    int err = memory_read_u64(&rt->memory, tuple_at, &tuple);
    if (!err)
        err = memory_read_u64(&rt->memory, tuple + rt->layout.object.var_size, &length);
    if (err)
        return err;
    size_t n = min_u64(length, PY_LOCAL_SLOTS_MAX - w->count);
    if (n)
        err = memory_read(&rt->memory, tuple + rt->layout.tuple.items, w->names + w->count,
                          n * sizeof(*w->names));
    for (size_t i = 0; i < n && !err; i++)
        w->in_cell[w->count++] = cells;
    return err;
}

/* Which are in cells (3.11+): a byte for each. */
static int read_kinds(struct walk *w, uint64_t code)
{
    struct py_runtime *rt = w->v->rt;
    uint8_t kinds[PY_LOCAL_SLOTS_MAX];
    uint64_t object;
    int err = memory_read_u64(&rt->memory, code + rt->layout.code.localspluskinds, &object);
    if (!err && w->count)
        err = memory_read(&rt->memory, object + rt->layout.bytes.data, kinds, w->count);
    for (size_t i = 0; i < w->count && !err; i++)
        w->in_cell[i] = kinds[i] & (LOCAL_CELL | LOCAL_FREE);
    return err;
}

static int read_names(struct walk *w, uint64_t code)
{
    const struct layout *l = &w->v->rt->layout;
    if (l->code.localsplusnames != ABSENT) {
        int err = add_names(w, code + l->code.localsplusnames, false);
        return err ? err : read_kinds(w, code);
    }
    int err = add_names(w, code + l->code.varnames, false);
    if (!err)
        err = add_names(w, code + l->code.cellvars, true);
    return err ? err : add_names(w, code + l->code.freevars, true);
}

/* Gives the variable in slot i. -ENOENT: it is unbound, or none that people wrote: comprehensions have such
 * as ".0". */
static int give(struct walk *w, size_t i)
{
    struct py_runtime *rt = w->v->rt;
    struct buf name, value;
    buf_init(&name, NAME_BYTES_MAX);
    buf_init(&value, PY_VALUE_BYTES);
    int err = py_read_str(rt, w->names[i], &name);
    if (!err && (!name.len || name.data[0] == '.'))
        err = -ENOENT;
    if (!err)
        err = py_value(w->v, w->slots + 8 * i, rt->layout.frame.local_tag_mask, w->in_cell[i], &value);
    if (!err)
        err = w->take(w->ctx, (char *)name.data, name.len, (char *)value.data, value.len);
    buf_release(&name);
    buf_release(&value);
    return err;
}

/* Is the slot empty? Then nothing of it needs to be read. */
static bool is_unbound(const struct walk *w, size_t i)
{
    return !(w->words[i] & ~(uint64_t)w->v->rt->layout.frame.local_tag_mask);
}

int py_locals(struct py_values *v, const struct py_frame *frame, py_local_take take, void *ctx, size_t *more)
{
    struct walk w = {.v = v, .take = take, .ctx = ctx, .slots = frame->at + v->rt->layout.frame.locals};
    *more = 0;
    int err = read_names(&w, frame->code);
    if (!err && w.count)
        err = memory_read(&v->rt->memory, w.slots, w.words, w.count * sizeof(*w.words));
    for (size_t i = 0; i < w.count && !err; i++) {
        if (is_unbound(&w, i))
            continue;
        if (w.given == PY_LOCALS_MAX) {
            ++*more;
            continue;
        }
        err = give(&w, i);
        w.given += !err;
        if (err == -ENOENT || err == -EBADMSG || err == -EFAULT)
            err = 0;
    }
    return err;
}

static int innermost(struct py_runtime *rt, uint64_t tstate, uint64_t *at)
{
    const struct layout *l = &rt->layout;
    int err = memory_read_u64(&rt->memory, tstate + l->tstate.frame, at);
    if (!err && l->frame_kind == FRAME_CFRAME)
        err = memory_read_u64(&rt->memory, *at + l->cframe.current_frame, at);
    return err;
}

bool py_frames_stand(struct py_runtime *rt, uint64_t tstate, const struct py_frame *frames, size_t n)
{
    const struct layout *l = &rt->layout;
    uint64_t at, previous, code;
    size_t next = 0;
    int err = innermost(rt, tstate, &at);
    for (size_t hops = 0; !err && at && next < n && hops < 2 * n + HOPS_MAX; hops++) {
        struct piece pieces[] = {{at + l->frame.previous, &previous, 8}, {at + l->frame.code, &code, 8}};
        err = memory_readv(&rt->memory, pieces, ARRAY_LEN(pieces), NULL);
        if (!err && at == frames[next].at && (code & ~(uint64_t)l->frame.code_tag_mask) == frames[next].code)
            next++;
        at = previous;
    }
    return next == n;
}
