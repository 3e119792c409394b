/* stack: see stack.h.
 *
 * The walk goes from the innermost frame to the outermost through copies. A frame that is not in them is
 * read by itself ("late"): it is then from another moment than the rest, so the look is repeated with that
 * frame planned, or, for stacks that are too large to plan, all late frames are compared once more.
 */
#include "python/stack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What is copied beyond the top that was last seen: room for a few calls more. */
#define CHUNK_SLACK 1024

/* A copy of one frame in a batch or a walker: layout.frame.size bytes, padded. */
#define FRAME_ROOM LAYOUT_FRAME_MAX

/* Bytes for what is read outside of the batch: deeper parts of one stack. */
#define WALKER_ARENA (4u << 20)
#define LATE_MAX (2 * PY_DEPTH_MAX)

/* Codes whose frame size is remembered, by a hash of the address: what collides is learnt anew. */
#define SIZES 1024
/* Frames that were called while the stack was copied: with more, the rest is left out. */
#define NEWER_MAX 16

/* late: frames that were read by themselves, in the order of the walk; copies live in `arena` until the
 * next take. older: chunks that were. found: addresses of all frames outside of the data stack. sizes: bytes
 * from a frame to the one that it calls, by its code. */
struct py_walker {
    struct {
        uint64_t code, size;
    } sizes[SIZES];
    struct py_copy *late;
    size_t late_count;
    struct py_copy older[PY_DEPTH_MAX / 16];
    size_t older_count;
    uint64_t *found;
    size_t found_count;
    uint8_t *arena;
    size_t used;
};

static uint64_t word_at(const uint8_t *copy, uint32_t offset)
{
    uint64_t value;
    memcpy(&value, copy + offset, sizeof(value));
    return value;
}

static int32_t int_at(const uint8_t *copy, uint32_t offset)
{
    int32_t value;
    memcpy(&value, copy + offset, sizeof(value));
    return value;
}

void py_spot_init(struct py_spot *s, uint64_t tstate, uint64_t native_tid)
{
    *s = (struct py_spot){.tstate = tstate, .native_tid = native_tid};
}

void py_spot_release(struct py_spot *s)
{
    free(s->extras);
    *s = (struct py_spot){0};
}

int py_batch_init(struct py_batch *b)
{
    *b = (struct py_batch){.arena = malloc(PY_BATCH_BYTES)};
    return b->arena ? 0 : -ENOMEM;
}

void py_batch_release(struct py_batch *b)
{
    free(b->arena);
    *b = (struct py_batch){0};
}

void py_batch_clear(struct py_batch *b)
{
    b->count = 0;
    b->used = 0;
}

uint8_t *py_batch_add(struct py_batch *b, uint64_t at, size_t len)
{
    size_t room = (len + 15) & ~(size_t)15;
    if (b->count == MEMORY_PIECES_MAX || room > PY_BATCH_BYTES - b->used)
        return NULL;
    uint8_t *to = b->arena + b->used;
    b->pieces[b->count++] = (struct piece){.at = at, .to = to, .len = len};
    b->used += room;
    return to;
}

static bool plan_chunks(const struct py_spot *spot, struct py_batch *batch, struct py_look *look)
{
    size_t n = 0;
    while (n < PY_CHUNKS && spot->chunks[n].base)
        n++;
    look->chunk_count = n;
    /* Outermost first: callers are copied before what they call. */
    for (size_t i = n; i-- > 0;) {
        struct py_copy *chunk = &look->chunks[i];
        *chunk = (struct py_copy){.at = spot->chunks[i].base, .len = spot->chunks[i].len};
        chunk->bytes = py_batch_add(batch, chunk->at, chunk->len);
        if (!chunk->bytes)
            return false;
    }
    return true;
}

static bool plan_extras(const struct layout *l, const struct py_spot *spot, struct py_batch *batch,
                        struct py_look *look)
{
    look->extra_count = min_u64(spot->extra_count, PY_EXTRAS);
    size_t bytes = look->extra_count * FRAME_ROOM;
    if (batch->count + look->extra_count > MEMORY_PIECES_MAX || bytes > PY_BATCH_BYTES - batch->used)
        return false;
    look->extras = batch->arena + batch->used;
    batch->used += bytes;
    for (size_t i = look->extra_count; i-- > 0;)
        batch->pieces[batch->count++] =
            (struct piece){.at = spot->extras[i], .to = look->extras + i * FRAME_ROOM, .len = l->frame.size};
    return true;
}

bool py_look_plan(const struct py_runtime *rt, struct py_spot *spot, struct py_batch *batch,
                  struct py_look *look)
{
    const struct layout *l = &rt->layout;
    size_t count = batch->count, used = batch->used;
    *look = (struct py_look){.spot = spot, .first_piece = count};
    look->tstate = py_batch_add(batch, spot->tstate, l->tstate.size);
    bool fits = look->tstate != NULL;
    if (fits && l->frame_kind == FRAME_CFRAME) {
        uint64_t at = spot->cframe ? spot->cframe + l->cframe.current_frame : spot->tstate;
        look->innermost = py_batch_add(batch, at, sizeof(uint64_t));
        fits = look->innermost != NULL;
    }
    fits = fits && plan_extras(l, spot, batch, look) && plan_chunks(spot, batch, look);
    look->end_piece = batch->count;
    if (!fits) {
        batch->count = count;
        batch->used = used;
    }
    return fits;
}

int py_walker_new(struct py_walker **out)
{
    struct py_walker *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->late = malloc(LATE_MAX * sizeof(*w->late));
    w->found = malloc(LATE_MAX * sizeof(*w->found));
    w->arena = malloc(WALKER_ARENA);
    if (!w->late || !w->found || !w->arena) {
        py_walker_free(w);
        return -ENOMEM;
    }
    *out = w;
    return 0;
}

void py_walker_free(struct py_walker *w)
{
    if (!w)
        return;
    free(w->late);
    free(w->found);
    free(w->arena);
    free(w);
}

/* The data stack: which chunk is the innermost, and how much of it is in use. */
static enum py_taken check_chunk(const struct layout *l, struct py_look *look)
{
    struct py_spot *spot = look->spot;
    uint64_t base = word_at(look->tstate, l->tstate.datastack_chunk);
    uint64_t top = word_at(look->tstate, l->tstate.datastack_top);
    enum py_taken taken = PY_TAKEN;
    if (base != spot->chunks[0].base) {
        memset(spot->chunks, 0, sizeof(spot->chunks));
        spot->chunks[0].base = base;
        taken = base ? PY_MISSED : PY_TAKEN;
    }
    if (!base)
        return taken;
    size_t used = top > base ? min_u64(top - base, PY_CHUNK_BYTES) : CHUNK_DATA;
    size_t want = min_u64(used + CHUNK_SLACK, PY_CHUNK_BYTES);
    size_t len = spot->chunks[0].len;
    if (used > len)
        taken = PY_MISSED;
    /* Shrinks slowly, so that a stack that comes and goes does not miss at each turn. */
    spot->chunks[0].len = want > len ? want : len - (len - want) / 64;
    return taken;
}

/* Is the thread state still the one that we know, and did the guesses of its parts hold? */
static enum py_taken check_thread(const struct layout *l, struct py_look *look)
{
    struct py_spot *spot = look->spot;
    if (l->tstate.native_thread_id != ABSENT && spot->native_tid &&
        word_at(look->tstate, l->tstate.native_thread_id) != spot->native_tid)
        return PY_NO_THREAD;
    enum py_taken taken = PY_TAKEN;
    if (l->frame_kind == FRAME_CFRAME) {
        uint64_t cframe = word_at(look->tstate, l->tstate.frame);
        if (cframe != spot->cframe)
            taken = PY_MISSED;
        spot->cframe = cframe;
    }
    if (l->tstate.datastack_chunk != ABSENT && check_chunk(l, look) == PY_MISSED)
        taken = PY_MISSED;
    return taken;
}

/* Everything that one walk needs. older: address of the next chunk below those that are known. */
struct walk {
    struct py_walker *w;
    struct py_runtime *rt;
    struct py_look *look;
    uint64_t older;
    size_t hint; /* the planned extra that is probably next */
};

static const uint8_t *within(const struct py_copy *copy, uint64_t at, size_t size)
{
    return at >= copy->at && at - copy->at + size <= copy->len ? copy->bytes + (at - copy->at) : NULL;
}

static uint8_t *arena_take(struct py_walker *w, size_t len)
{
    size_t room = (len + 15) & ~(size_t)15;
    if (room > WALKER_ARENA - w->used)
        return NULL;
    uint8_t *to = w->arena + w->used;
    w->used += room;
    return to;
}

/* Plans a chunk for the next look, if there is room in the plan. */
static void remember_chunk(struct py_spot *spot, uint64_t base, size_t len)
{
    size_t i = 1;
    while (i < PY_CHUNKS && spot->chunks[i].base)
        i++;
    if (i < PY_CHUNKS && len <= PY_CHUNK_BYTES) {
        spot->chunks[i].base = base;
        spot->chunks[i].len = len;
    }
}

/* Reads the chunk below the known ones when it holds the frame at `at`; else NULL. A frame that is nowhere on
 * the data stack (a generator's) is looked for here in vain: one small read, and only until it is planned. */
static const uint8_t *frame_in_older_chunk(struct walk *walk, uint64_t at)
{
    struct py_walker *w = walk->w;
    uint64_t header[CHUNK_DATA / 8], base = walk->older, size;
    if (!base || w->older_count == ARRAY_LEN(w->older) ||
        memory_read(&walk->rt->memory, base, header, sizeof(header)) != 0)
        return NULL;
    size = header[CHUNK_SIZE / 8];
    size_t len = CHUNK_DATA + min_u64(header[CHUNK_TOP / 8], size / 8) * 8;
    if (at < base || at >= base + len)
        return NULL;
    struct py_copy chunk = {.at = base, .len = len, .bytes = arena_take(w, len)};
    if (!chunk.bytes || memory_read(&walk->rt->memory, base, chunk.bytes, len) != 0)
        return NULL;
    walk->older = header[CHUNK_PREVIOUS / 8];
    w->older[w->older_count++] = chunk;
    remember_chunk(walk->look->spot, base, len);
    return within(&chunk, at, walk->rt->layout.frame.size);
}

static const uint8_t *frame_in_chunks(struct walk *walk, uint64_t at)
{
    size_t size = walk->rt->layout.frame.size;
    const uint8_t *copy = NULL;
    for (size_t i = 0; i < walk->look->chunk_count && !copy; i++)
        copy = within(&walk->look->chunks[i], at, size);
    for (size_t i = walk->w->older_count; i-- > 0 && !copy;)
        copy = within(&walk->w->older[i], at, size);
    return copy;
}

static const uint8_t *planned_extra(struct walk *walk, uint64_t at)
{
    const struct py_look *look = walk->look;
    for (size_t n = 0; n < look->extra_count; n++) {
        size_t i = walk->hint + n;
        i = i < look->extra_count ? i : i - look->extra_count;
        if (look->spot->extras[i] != at)
            continue;
        walk->hint = i + 1 < look->extra_count ? i + 1 : 0;
        return look->extras + i * FRAME_ROOM;
    }
    return NULL;
}

static const uint8_t *read_late(struct walk *walk, uint64_t at)
{
    struct py_walker *w = walk->w;
    struct py_copy frame = {.at = at, .len = walk->rt->layout.frame.size};
    frame.bytes = w->late_count < LATE_MAX ? arena_take(w, frame.len) : NULL;
    if (!frame.bytes || memory_read(&walk->rt->memory, at, frame.bytes, frame.len) != 0)
        return NULL;
    w->late[w->late_count++] = frame;
    return frame.bytes;
}

/* The copy of the frame at `at`, from the plan or read now; NULL when it cannot be read. */
static const uint8_t *frame_at(struct walk *walk, uint64_t at)
{
    struct py_walker *w = walk->w;
    const uint8_t *copy = frame_in_chunks(walk, at);
    if (copy)
        return copy;
    bool planned = (copy = planned_extra(walk, at)) != NULL;
    if (!planned && (copy = frame_in_older_chunk(walk, at)) != NULL)
        return copy;
    if (w->found_count < LATE_MAX)
        w->found[w->found_count++] = at;
    return planned ? copy : read_late(walk, at);
}

/* Has the frame not begun? In 3.11 and 3.12 it then stands before its first instruction. (Later versions have
 * it stand on that; so does the shim of a constructor, which does call.) */
static bool has_not_begun(const struct layout *l, const struct py_frame *frame)
{
    return !l->frame.lasti_unit && frame->tlbc <= 0 && frame->instr < frame->code + l->code.bytecode;
}

/* Does the copy say that this frame executes bytecode, and so has called no Python function? Versions that
 * do not say so give false. */
static bool is_executing(const struct layout *l, const uint8_t *frame)
{
    if (l->frame.stacktop != ABSENT)
        return int_at(frame, l->frame.stacktop) == -1;
    return l->frame.stackpointer != ABSENT && word_at(frame, l->frame.stackpointer) == 0;
}

/* From the frame at `at` outwards. The pointer to the innermost frame was read before the frames were, and
 * calls may have returned since. Two things tell: a frame without code has been left and cleared; a caller
 * that executes bytecode, or has not begun to, cannot have called what was found as its callee. Either way
 * the frames inside of it are of the past, and the stack begins at the caller. */
static enum py_taken walk_frames(struct walk *walk, uint64_t at, struct py_stack *stack)
{
    const struct layout *l = &walk->rt->layout;
    bool from_c = true; /* nothing, or C code, stands between this frame and the one inside it */
    stack->depth = 0;
    stack->truncated = false;
    uint64_t mark = 0; /* a frame met before: renewed at each power of two, so that any cycle runs into it */
    for (size_t steps = 0; at; steps++) {
        if (at == mark)
            return PY_TORN;
        if ((steps & (steps + 1)) == 0)
            mark = at;
        if (stack->depth == PY_DEPTH_MAX || steps >= LATE_MAX) {
            stack->truncated = true;
            return PY_TAKEN;
        }
        const uint8_t *copy = at % 8 == 0 ? frame_at(walk, at) : NULL;
        if (!copy)
            return PY_TORN;
        if (py_frame_is_shim(l, copy)) {
            from_c = true;
            struct py_frame *called = stack->depth ? &stack->frames[stack->depth - 1] : NULL;
            if (called && !called->entry) {
                called->from_c = true;
                called->entry = at;
            }
        } else {
            struct py_frame frame = py_frame_of(l, at, copy);
            bool calls = from_c || !(is_executing(l, copy) || has_not_begun(l, &frame));
            bool left = py_frame_was_left(l, &frame, copy);
            if (left || !calls)
                stack->depth = 0;
            frame.from_c = l->frame.is_entry != ABSENT && copy[l->frame.is_entry];
            if (!left)
                stack->frames[stack->depth++] = frame;
            from_c = left || frame.from_c;
        }
        at = word_at(copy, l->frame.previous);
    }
    return PY_TAKEN;
}

/* How far behind a frame the next one begins: the thread state told so when the frame was the innermost. */
static uint64_t *size_of(struct py_walker *w, uint64_t code)
{
    size_t slot = (code >> 4) % SIZES;
    if (w->sizes[slot].code != code) {
        w->sizes[slot].code = code;
        w->sizes[slot].size = 0;
    }
    return &w->sizes[slot].size;
}

/* The frame that the one at `at` has called since, in the same chunk; 0: none. What its size says is a guess:
 * a frame that stands there and says that this one called it is the one. */
static uint64_t newer_frame(struct walk *walk, uint64_t at, uint64_t size)
{
    const struct layout *l = &walk->rt->layout;
    const struct py_copy *chunk = &walk->look->chunks[0];
    const uint8_t *copy = within(chunk, at, l->frame.size);
    if (!copy || py_frame_is_shim(l, copy))
        return 0;
    struct py_frame frame = py_frame_of(l, at, copy);
    if (py_frame_was_left(l, &frame, copy) || is_executing(l, copy) || has_not_begun(l, &frame))
        return 0;
    uint64_t *known = size_of(walk->w, frame.code);
    if (size)
        *known = size;
    const uint8_t *callee = *known ? within(chunk, at + *known, l->frame.size) : NULL;
    if (!callee || py_frame_is_shim(l, callee) || word_at(callee, l->frame.previous) != at)
        return 0;
    struct py_frame called = py_frame_of(l, at + *known, callee);
    return py_frame_was_left(l, &called, callee) ? 0 : called.at;
}

/* The pointer to the innermost frame was read before the frames. Calls that returned since are found by the
 * walk; those that began since are found here: with only the first, short functions would lose their time to
 * callers. */
static uint64_t innermost_now(struct walk *walk, uint64_t at)
{
    const struct layout *l = &walk->rt->layout;
    if (l->tstate.datastack_top == ABSENT || !walk->look->chunk_count)
        return at;
    uint64_t top = word_at(walk->look->tstate, l->tstate.datastack_top);
    uint64_t size = top > at && top - at < PY_CHUNK_BYTES ? top - at : 0;
    for (int i = 0; i < NEWER_MAX; i++) {
        uint64_t newer = newer_frame(walk, at, size);
        if (!newer)
            break;
        at = newer;
        size = 0;
    }
    return at;
}

/* Keeps what was met as the next plan. */
static void remember_extras(struct py_walker *w, struct py_spot *spot)
{
    bool none = !w->found_count && !spot->extra_count;
    if (none || (w->found_count == spot->extra_count &&
                 memcmp(w->found, spot->extras, w->found_count * sizeof(*w->found)) == 0))
        return;
    uint64_t *extras = realloc(spot->extras, (w->found_count + 1) * sizeof(*extras));
    if (!extras)
        return;
    memcpy(extras, w->found, w->found_count * sizeof(*extras));
    spot->extras = extras;
    spot->extra_count = w->found_count;
}

/* Are two copies of a frame at the same point? The innermost frame's instruction may have moved. */
static bool same_frame(const struct layout *l, const uint8_t *a, const uint8_t *b, bool innermost)
{
    return word_at(a, l->frame.code) == word_at(b, l->frame.code) &&
           word_at(a, l->frame.previous) == word_at(b, l->frame.previous) &&
           (innermost || memcmp(a + l->frame.instr, b + l->frame.instr, l->frame.lasti_unit ? 4 : 8) == 0);
}

/* Compares all late frames with the target's memory once more. */
static bool late_frames_hold(struct py_walker *w, struct py_runtime *rt)
{
    static _Thread_local uint8_t again[MEMORY_PIECES_MAX][FRAME_ROOM];
    struct piece pieces[MEMORY_PIECES_MAX];
    for (size_t done = 0; done < w->late_count;) {
        size_t n = min_u64(w->late_count - done, MEMORY_PIECES_MAX);
        for (size_t i = 0; i < n; i++)
            pieces[i] = (struct piece){w->late[done + i].at, again[i], w->late[done + i].len};
        if (memory_readv(&rt->memory, pieces, n, NULL) != 0)
            return false;
        for (size_t i = 0; i < n; i++) {
            if (!same_frame(&rt->layout, w->late[done + i].bytes, again[i], done + i == 0))
                return false;
        }
        done += n;
    }
    return true;
}

enum py_taken py_look_take(struct py_walker *w, struct py_runtime *rt, struct py_look *look, bool patient,
                           struct py_stack *stack)
{
    const struct layout *l = &rt->layout;
    enum py_taken taken = check_thread(l, look);
    if (taken != PY_TAKEN)
        return taken;
    w->late_count = w->older_count = w->found_count = w->used = 0;
    struct walk walk = {.w = w, .rt = rt, .look = look};
    if (look->chunk_count)
        walk.older = word_at(look->chunks[look->chunk_count - 1].bytes, CHUNK_PREVIOUS);
    uint64_t innermost =
        look->innermost ? word_at(look->innermost, 0) : word_at(look->tstate, l->tstate.frame);
    taken = walk_frames(&walk, innermost_now(&walk, innermost), stack);
    remember_extras(w, look->spot);
    if (taken != PY_TAKEN || (!w->late_count && !w->older_count))
        return taken;
    if (!patient)
        return PY_MISSED;
    return late_frames_hold(w, rt) ? PY_TAKEN : PY_TORN;
}
