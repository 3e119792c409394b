/* walk: the Python stack of the calling thread, by the layouts that the sampler knows Python by. Read in
 * place: no frame of a thread changes while that thread is here, so nothing is copied, locked or counted, and
 * the GIL is not asked for.
 *
 * Most stacks are that of the probe before with another innermost part. What was walked last is kept, so that
 * only the frames that differ are looked up. It is kept in slots that threads take in turns, not by thread:
 * threads come and go, and some have small stacks.
 *
 * A stack that is too deep keeps its innermost frames, few enough that a recursion does not make ever new
 * ones.
 */
#include <dlfcn.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "python/frame.h"
#include "python/layout.h"
#include "python/lines.h"
#include "python/unicode.h"

#define DEPTH_MAX 1024
#define DEPTH_KEPT 128
/* A corrupted list of frames ends somewhere. */
#define WALK_MAX 1000000

#define SLOTS 64

/* Longer names are cut at so many characters. */
#define TEXT_MAX (CHANNEL_TEXT_MAX / UNICODE_UTF8_MAX)

/* A bytes object of this size is no line table. */
#define LINES_MAX (16u << 20)

/* One frame: code is an address, identity a hash of what its code object says, offset that of the
 * instruction. */
struct step {
    uint64_t code, identity, offset;
};

/* taken: by the thread that walks. steps, nodes: the last stack, outermost frame first, of `channel`; walked:
 * the present one, innermost first. */
struct slot {
    atomic_flag taken;
    uint32_t depth;
    const struct channel *channel;
    struct step steps[DEPTH_MAX];
    uint32_t nodes[DEPTH_MAX];
    struct step walked[DEPTH_MAX];
};

typedef void *tstate_fn(void);

static struct {
    bool found;
    struct layout layout;
    uint64_t code_type; /* &PyCode_Type */
    tstate_fn *current; /* 3.12+: of this thread while it is attached, else NULL */
    tstate_fn *own;     /* of this thread in the main interpreter, attached or not */
} python;

static struct slot slots[SLOTS];
static _Atomic uint32_t next_slot;
/* 1 + that of this thread; 0: none yet. */
static __thread uint32_t my_slot __attribute__((tls_model("initial-exec")));

/* Memory of our own process. ---------------------------------------------------------------------------- */

static const uint8_t *at_address(uint64_t address)
{
    return (const uint8_t *)(uintptr_t)address; // NOLINT(performance-no-int-to-ptr)
}

static uint64_t word(const uint8_t *object, uint32_t offset)
{
    uint64_t value = 0;
    if (offset != ABSENT)
        memcpy(&value, object + offset, sizeof(value));
    return value;
}

static uint32_t number(const uint8_t *object, uint32_t offset)
{
    uint32_t value;
    memcpy(&value, object + offset, sizeof(value));
    return value;
}

/* Python ------------------------------------------------------------------------------------------------ */

/* "3.11.7 (main, ...": 0x030b; 0: makes no sense. */
static uint32_t version_of(const char *text)
{
    uint32_t minor = 0;
    if (text[0] != '3' || text[1] != '.')
        return 0;
    for (const char *c = text + 2; *c >= '0' && *c <= '9' && minor < 100; c++)
        minor = minor * 10 + (uint32_t)(*c - '0');
    return 3u << 8 | minor;
}

static bool find_layout(void)
{
    const char *(*version)(void) = (const char *(*)(void))dlsym(RTLD_DEFAULT, "Py_GetVersion");
    const void *runtime = dlsym(RTLD_DEFAULT, "_PyRuntime");
    uint32_t hex;
    python.code_type = (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "PyCode_Type");
    if (!version || !runtime || !python.code_type)
        return false;
    const struct layout *fixed = layout_of(version_of(version()));
    if (!fixed)
        return layout_from_debug_offsets(runtime, DEBUG_OFFSETS_MAX, &python.layout, &hex) == 0;
    python.layout = *fixed;
    return true;
}

void walk_find(void)
{
    python.own = (tstate_fn *)dlsym(RTLD_DEFAULT, "PyGILState_GetThisThreadState");
    if (!python.own || !find_layout())
        return;
    /* Up to 3.11 it is that of whoever holds the GIL, and may be gone by the time that it is looked at. */
    if (python.layout.version >= 0x030d)
        python.current = (tstate_fn *)dlsym(RTLD_DEFAULT, "PyThreadState_GetUnchecked");
    else if (python.layout.version == 0x030c)
        python.current = (tstate_fn *)dlsym(RTLD_DEFAULT, "_PyThreadState_UncheckedGet");
    python.found = true;
}

static uint64_t innermost_frame(void)
{
    const struct layout *l = &python.layout;
    const uint8_t *tstate = python.current ? python.current() : NULL;
    if (!tstate)
        tstate = python.own();
    uint64_t frame = tstate ? word(tstate, l->tstate.frame) : 0;
    if (frame && l->frame_kind == FRAME_CFRAME)
        frame = word(at_address(frame), l->cframe.current_frame);
    return frame;
}

/* Free-threaded 3.14+: a thread may run a copy of the bytecode of its own. */
static void rebase_tlbc(struct py_frame *frame)
{
    const struct layout *l = &python.layout;
    if (frame->tlbc <= 0 || l->code.tlbc == ABSENT)
        return;
    uint64_t copies = word(at_address(frame->code), l->code.tlbc);
    uint64_t start = copies ? word(at_address(copies), 8 + 8 * (uint32_t)frame->tlbc) : 0;
    if (start)
        frame->instr = frame->instr - start + frame->code + l->code.bytecode;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0xff51afd7ed558ccdu;
    return hash ^ hash >> 32;
}

/* An address is used again: what tells a code object from the one that was there before. */
static uint64_t identity_of(uint64_t code)
{
    const struct layout *l = &python.layout;
    const uint8_t *object = at_address(code);
    uint64_t hash = mix(code, word(object, l->code.filename));
    hash = mix(hash, word(object, l->code.name));
    hash = mix(hash, word(object, l->code.linetable));
    return mix(hash, number(object, l->code.firstlineno));
}

/* A frame may run something else, of an extension. */
static bool is_code(uint64_t object)
{
    return word(at_address(object), python.layout.object.type) == python.code_type;
}

/* The frames of this thread, innermost first, into walked. Returns how many, cut if need be. */
static uint32_t walk(struct slot *slot, struct channel *c)
{
    const struct layout *l = &python.layout;
    uint64_t at = innermost_frame();
    uint32_t depth = 0;
    for (uint32_t i = 0; at && i < WALK_MAX; i++) {
        const uint8_t *frame_at = at_address(at);
        struct py_frame frame = {0};
        bool shim = py_frame_is_shim(l, frame_at);
        if (!shim)
            frame = py_frame_of(l, at, frame_at);
        if (!shim && !py_frame_was_left(l, &frame, frame_at) && is_code(frame.code)) {
            if (depth == DEPTH_MAX) {
                atomic_fetch_add_explicit(&c->truncated, 1, memory_order_relaxed);
                return DEPTH_KEPT;
            }
            rebase_tlbc(&frame);
            slot->walked[depth++] =
                (struct step){frame.code, identity_of(frame.code), py_frame_offset(l, &frame)};
        }
        at = word(frame_at, l->frame.previous);
    }
    return depth;
}

/* Numbers ----------------------------------------------------------------------------------------------- */

/* The text of a str object into the channel. */
static void put_text(struct channel *c, uint64_t object, uint32_t *at, uint32_t *len)
{
    struct unicode text;
    const uint8_t *str = at_address(object);
    *at = *len = 0;
    if (!object || !unicode_head(&python.layout, str, &text))
        return;
    uint64_t count = text.length < TEXT_MAX ? text.length : TEXT_MAX;
    uint32_t size = 0;
    uint8_t bytes[UNICODE_UTF8_MAX];
    for (uint64_t i = 0; i < count; i++)
        size += (uint32_t)unicode_utf8(bytes, unicode_at(str + text.data, text.kind, i));
    uint8_t *to = tables_text(c, size, at);
    for (uint64_t i = 0; to && i < count; i++) {
        size_t n = unicode_utf8(bytes, unicode_at(str + text.data, text.kind, i));
        memcpy(to, bytes, n);
        to += n;
    }
    *len = to ? size : 0;
}

static void fill_code(struct channel *c, uint32_t row, const void *ctx)
{
    const struct step *step = ctx;
    const struct layout *l = &python.layout;
    const uint8_t *object = at_address(step->code);
    struct channel_code *code = &c->codes[row];
    uint64_t name = word(object, l->code.qualname);
    code->first_line = number(object, l->code.firstlineno);
    put_text(c, name ? name : word(object, l->code.name), &code->name_at, &code->name_len);
    put_text(c, word(object, l->code.filename), &code->file_at, &code->file_len);
}

static void fill_frame(struct channel *c, uint32_t row, const void *ctx)
{
    const struct step *step = ctx;
    const struct layout *l = &python.layout;
    const uint8_t *object = at_address(step->code);
    const uint8_t *table = at_address(word(object, l->code.linetable));
    uint64_t size = table ? word(table, l->bytes.size) : 0;
    struct py_place place = {.line = number(object, l->code.firstlineno)};
    if (size && size <= LINES_MAX && step->offset <= UINT32_MAX)
        place = py_place_of(l->lines_kind, table + l->bytes.data, size, place.line, (uint32_t)step->offset);
    struct channel_frame *frame = &c->frames[row];
    frame->line = place.line;
    frame->end_line = place.end_line;
    frame->column = place.column;
    frame->end_column = place.end_column;
}

static uint32_t node_of(struct channel *c, uint32_t caller, const struct step *step)
{
    uint32_t code = tables_code(c, step->identity, fill_code, step);
    uint64_t place = (uint64_t)code << 32 | (uint32_t)step->offset;
    uint32_t frame = tables_frame(c, place, fill_frame, step);
    uint32_t node = tables_node(c, caller, frame);
    return node ? node : caller;
}

/* Slots ------------------------------------------------------------------------------------------------- */

/* That of this thread, or any that is free. */
static struct slot *take_slot(void)
{
    if (!my_slot)
        my_slot = atomic_fetch_add_explicit(&next_slot, 1, memory_order_relaxed) % SLOTS + 1;
    for (uint32_t i = my_slot - 1;; i++) {
        struct slot *slot = &slots[i % SLOTS];
        if (!atomic_flag_test_and_set_explicit(&slot->taken, memory_order_acquire))
            return slot;
        if (i >= 2 * SLOTS)
            syscall(SYS_sched_yield);
    }
}

static bool same(const struct step *a, const struct step *b)
{
    return a->identity == b->identity && a->offset == b->offset && a->code == b->code;
}

uint32_t walk_stack(struct channel *c)
{
    if (!python.found)
        return 0;
    struct slot *slot = take_slot();
    uint32_t depth = walk(slot, c), known = 0, node = 0;
    if (slot->channel != c)
        slot->depth = 0;
    slot->channel = c;
    while (known < depth && known < slot->depth &&
           same(&slot->steps[known], &slot->walked[depth - 1 - known]))
        node = slot->nodes[known++];
    for (; known < depth; known++) {
        slot->steps[known] = slot->walked[depth - 1 - known];
        node = slot->nodes[known] = node_of(c, node, &slot->steps[known]);
    }
    slot->depth = depth;
    atomic_flag_clear_explicit(&slot->taken, memory_order_release);
    return node;
}

void walk_reset(void)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        slots[i].depth = 0;
        atomic_flag_clear_explicit(&slots[i].taken, memory_order_release);
    }
}
