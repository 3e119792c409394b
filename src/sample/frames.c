/* frames: a target's Python frames as frames of the recording.
 *
 * An id is looked up by the code object and the instruction, and kept there: a frame that was seen before
 * costs no reading of line tables.
 */
#include <string.h>

#include "sample/target_state.h"

/* The instruction's index in its code, or -1 when it lies outside. */
static int64_t unit_of(const struct target *t, const struct py_frame *frame, const struct py_code *code)
{
    uint64_t unit = py_frame_offset(&t->runtime.layout, frame) / 2;
    return unit < code->units ? (int64_t)unit : -1;
}

/* Free-threaded 3.14+: a thread may run a copy of the bytecode of its own; the address within that copy is
 * turned into one within the code object. */
static int rebase_tlbc(struct target *t, struct py_frame *frame)
{
    const struct layout *l = &t->runtime.layout;
    uint64_t copies, start;
    if (frame->tlbc <= 0 || l->code.tlbc == ABSENT)
        return 0;
    struct memory *memory = &t->runtime.memory;
    int err = memory_read_u64(memory, frame->code + l->code.tlbc, &copies);
    if (!err)
        err = memory_read_u64(memory, copies + 8 + 8 * (uint64_t)frame->tlbc, &start);
    if (!err)
        frame->instr = frame->instr - start + frame->code + l->code.bytecode;
    return err;
}

static uint32_t intern_frame(struct target *t, struct py_code *code, uint32_t unit)
{
    struct rec_writer *w = t->s->writer;
    struct rec_code entry = {.name = rec_string(w, code->name, strlen(code->name)),
                             .file = rec_string(w, code->file, strlen(code->file)),
                             .first_line = code->identity.first_line,
                             .kind = REC_PYTHON};
    struct py_place place = py_code_place(&t->runtime, code, unit);
    code->id = rec_code(w, &entry);
    struct rec_frame frame = {.code = code->id,
                              .line = place.line,
                              .end_line = place.end_line,
                              .column = place.column,
                              .end_column = place.end_column};
    return rec_frame(w, &frame);
}

uint32_t target_frame_id(struct target *t, const struct py_frame *frame, struct py_code **code_out,
                         uint64_t now_ns)
{
    struct py_code *code;
    *code_out = NULL;
    if (py_codes_get(&t->codes, &t->runtime, frame->code, now_ns, &code) != 0)
        return PY_NO_ID;
    struct py_frame rebased = *frame;
    if (rebase_tlbc(t, &rebased) != 0)
        return PY_NO_ID;
    int64_t unit = unit_of(t, &rebased, code);
    if (unit < 0)
        return PY_NO_ID;
    *code_out = code;
    uint32_t *id = &code->ids[unit];
    if (*id == PY_NO_ID)
        *id = intern_frame(t, code, (uint32_t)unit);
    return *id;
}

bool target_frame_calls(struct target *t, const struct py_frame *frame, uint64_t now_ns)
{
    struct py_code *code;
    struct py_frame rebased = *frame;
    if (py_codes_get(&t->codes, &t->runtime, frame->code, now_ns, &code) != 0 ||
        rebase_tlbc(t, &rebased) != 0)
        return false;
    int64_t unit = unit_of(t, &rebased, code);
    return unit >= 0 && py_code_calls(&t->runtime, code, (uint32_t)unit);
}

uint32_t target_unreadable_frame(struct target *t)
{
    static const char name[] = "(unreadable)";
    struct rec_writer *w = t->s->writer;
    struct rec_code code = {.name = rec_string(w, name, sizeof(name) - 1), .kind = REC_PYTHON};
    struct rec_frame frame = {.code = rec_code(w, &code)};
    return rec_frame(w, &frame);
}
