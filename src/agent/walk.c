/* walk: the Python stack of the calling thread, by the layouts that the sampler knows Python by. Read in
 * place: no frame of a thread changes while that thread is here, so nothing is copied, locked or counted, and
 * the GIL is not asked for.
 *
 * Most stacks are that of the probe before with another innermost part. What was walked last is kept: once a
 * frame is met that is where one was, it is enough to see that this one and all outside of it still say the
 * same. It is kept in slots that threads take in turns, not by thread: threads come and go, and some have
 * small stacks.
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

/* Frames, with those between C and Python; and of a deeper stack. */
#define DEPTH_MAX 4096
#define DEPTH_KEPT 128

#define SLOTS 32
/* Frames are found by their address. */
#define WHERE 1024

/* Longer names are cut at so many characters. */
#define TEXT_MAX (CHANNEL_TEXT_MAX / UNICODE_UTF8_MAX)

/* A bytes object of this size is no line table. */
#define LINES_MAX (16u << 20)

/* One frame, by its address, with what tells that it is as it was: its instruction, and of its code object,
 * whose address may be used again, some of what that says. lines 0: it is none of a function. */
struct step {
    uint64_t at;
    uint64_t code, instr;
    uint64_t lines, name;
};

/* taken: by the thread that walks. steps, nodes: the last stack, outermost frame first, of `channel`; where:
 * 1 + the index of a step, by a hash of its address, if it is still there. walked: the new part of the
 * present one, innermost first. */
struct slot {
    atomic_flag taken;
    uint32_t depth;
    const struct channel *channel;
    uint16_t where[WHERE];
    uint32_t nodes[DEPTH_MAX];
    struct step steps[DEPTH_MAX];
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

/* A frame may run something else, of an extension. */
static bool is_code(uint64_t object)
{
    return word(at_address(object), python.layout.object.type) == python.code_type;
}

static inline uint64_t raw_instr(const struct layout *l, const uint8_t *frame)
{
    return l->frame.lasti_unit ? number(frame, l->frame.instr) : word(frame, l->frame.instr);
}

/* The frame at an address. */
static struct step read_step(uint64_t at)
{
    const struct layout *l = &python.layout;
    const uint8_t *copy = at_address(at);
    struct py_frame frame = py_frame_of(l, at, copy);
    struct step step = {.at = at, .code = frame.code, .instr = raw_instr(l, copy)};
    if (py_frame_is_shim(l, copy) || py_frame_was_left(l, &frame, copy) || !is_code(frame.code))
        return step;
    step.lines = word(at_address(frame.code), l->code.linetable);
    step.name = word(at_address(frame.code), l->code.name);
    return step;
}

/* Is it as it was? */
static inline bool holds(const struct layout *l, const struct step *step)
{
    const uint8_t *frame = at_address(step->at);
    uint64_t code = word(frame, l->frame.code) & ~(uint64_t)l->frame.code_tag_mask;
    if (code != step->code || raw_instr(l, frame) != step->instr)
        return false;
    const uint8_t *object = at_address(code);
    return !step->lines ||
           (word(object, l->code.linetable) == step->lines && word(object, l->code.name) == step->name);
}

/* Are the step and all outside of it as they were? Else *beyond: the innermost one that cannot be. */
static bool all_hold(const struct slot *slot, uint32_t index, uint32_t *beyond)
{
    const struct layout *l = &python.layout;
    for (uint32_t i = index;; i--) {
        uint64_t caller = i ? slot->steps[i - 1].at : 0;
        if (!holds(l, &slot->steps[i]) || word(at_address(slot->steps[i].at), l->frame.previous) != caller) {
            *beyond = i;
            return false;
        }
        if (!i)
            return true;
    }
}

static uint16_t *where_of(struct slot *slot, uint64_t at)
{
    return &slot->where[(at >> 4 ^ at >> 14) % WHERE];
}

/* How many of the steps that are kept hold, from the outermost on, given the frame at `at`: 0 unless that is
 * the innermost of them. */
static uint32_t kept_of(struct slot *slot, uint64_t at, uint32_t *beyond)
{
    uint32_t kept = *where_of(slot, at);
    if (!kept || kept > slot->depth || kept > *beyond || slot->steps[kept - 1].at != at)
        return 0;
    return all_hold(slot, kept - 1, beyond) ? kept : 0;
}

/* The frames of this thread into `walked`, up to the first of those that are kept, *kept of them. Returns how
 * many. */
static uint32_t walk(struct slot *slot, uint32_t *kept)
{
    uint64_t at = innermost_frame();
    uint32_t count = 0, beyond = UINT32_MAX;
    *kept = 0;
    while (at && count < DEPTH_MAX && !(*kept = kept_of(slot, at, &beyond))) {
        slot->walked[count++] = read_step(at);
        at = word(at_address(at), python.layout.frame.previous);
    }
    return at && !*kept ? DEPTH_MAX + 1 : count;
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
    put_text(c, name ? name : step->name, &code->name_at, &code->name_len);
    put_text(c, word(object, l->code.filename), &code->file_at, &code->file_len);
}

/* A place that is not in the tables yet. */
struct place {
    const struct step *step;
    uint64_t offset;
};

static void fill_frame(struct channel *c, uint32_t row, const void *ctx)
{
    const struct place *new = ctx;
    const struct layout *l = &python.layout;
    const uint8_t *table = at_address(new->step->lines);
    uint64_t size = word(table, l->bytes.size);
    struct py_place place = {.line = number(at_address(new->step->code), l->code.firstlineno)};
    if (size && size <= LINES_MAX && new->offset <= UINT32_MAX)
        place = py_place_of(l->lines_kind, table + l->bytes.data, size, place.line, (uint32_t) new->offset);
    struct channel_frame *frame = &c->frames[row];
    frame->line = place.line;
    frame->end_line = place.end_line;
    frame->column = place.column;
    frame->end_column = place.end_column;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0xff51afd7ed558ccdu;
    return hash ^ hash >> 32;
}

/* Names a code object: by its address, and what tells it from the one that was there before. */
static uint64_t identity_of(const struct step *step)
{
    const struct layout *l = &python.layout;
    const uint8_t *object = at_address(step->code);
    uint64_t hash = mix(step->code, word(object, l->code.filename));
    hash = mix(hash, step->name);
    hash = mix(hash, step->lines);
    return mix(hash, number(object, l->code.firstlineno));
}

static uint32_t node_of(struct channel *c, uint32_t caller, const struct step *step)
{
    const struct layout *l = &python.layout;
    if (!step->lines)
        return caller;
    struct py_frame frame = py_frame_of(l, step->at, at_address(step->at));
    rebase_tlbc(&frame);
    struct place place = {step, py_frame_offset(l, &frame)};
    uint32_t code = tables_code(c, identity_of(step), fill_code, step);
    uint32_t row = tables_frame(c, (uint64_t)code << 32 | (uint32_t)place.offset, fill_frame, &place);
    uint32_t node = tables_node(c, caller, row);
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

uint32_t walk_stack(struct channel *c)
{
    if (!python.found)
        return 0;
    struct slot *slot = take_slot();
    if (slot->channel != c)
        slot->depth = 0;
    slot->channel = c;
    uint32_t kept, count = walk(slot, &kept);
    if (kept + count > DEPTH_MAX) {
        atomic_fetch_add_explicit(&c->truncated, 1, memory_order_relaxed);
        slot->depth = 0;
        kept = 0;
        walk(slot, &kept);
        count = DEPTH_KEPT;
    }
    uint32_t node = kept ? slot->nodes[kept - 1] : 0;
    slot->depth = kept + count;
    for (uint32_t i = kept; i < slot->depth; i++) {
        slot->steps[i] = slot->walked[--count];
        *where_of(slot, slot->steps[i].at) = (uint16_t)(i + 1);
        node = slot->nodes[i] = node_of(c, node, &slot->steps[i]);
    }
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
