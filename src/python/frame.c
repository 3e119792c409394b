/* frame: see frame.h. No memory of its own, no system calls: it also runs inside other programs. */
#include "python/frame.h"

#include <string.h>

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

struct py_frame py_frame_of(const struct layout *l, uint64_t at, const uint8_t *copy)
{
    struct py_frame frame = {.at = at, .code = word_at(copy, l->frame.code)};
    frame.code &= ~(uint64_t)l->frame.code_tag_mask;
    if (l->frame.lasti_unit) {
        int32_t lasti = int_at(copy, l->frame.instr);
        frame.instr = lasti < 0 ? 0 : (uint64_t)lasti * l->frame.lasti_unit;
    } else {
        frame.instr = word_at(copy, l->frame.instr);
    }
    if (l->frame.tlbc_index != ABSENT)
        frame.tlbc = int_at(copy, l->frame.tlbc_index);
    return frame;
}

bool py_frame_is_shim(const struct layout *l, const uint8_t *copy)
{
    if (l->frame.owner == ABSENT)
        return false;
    uint8_t owner = copy[l->frame.owner];
    return owner == l->owners.c_stack || owner == l->owners.interpreter;
}

bool py_frame_was_left(const struct layout *l, const struct py_frame *frame, const uint8_t *copy)
{
    return !frame->code || (l->frame.state != ABSENT && copy[l->frame.state] != l->frame.state_running);
}

uint64_t py_frame_offset(const struct layout *l, const struct py_frame *frame)
{
    uint64_t start = frame->code + l->code.bytecode;
    if (l->frame.lasti_unit)
        return frame->instr;
    return frame->instr + 2 == start ? 0 : frame->instr - start;
}
