/* prologue: see prologue.h. Encodings: Intel's Software Developer's Manual, volume 2. */
#include "native/prologue.h"

#include <string.h>

/* REX prefixes: of 64 bits (W), that extend the register of ModRM (R), that of the operand (B). */
#define REX_W 0x48
#define REX_R 4
#define REX_B 1
#define REX_B_ONLY 0x41
/* ModRM: register to register; the register and the memory operand [rsp + displacement], by its mode. */
#define DIRECT 3
#define BASE_SP 4
#define SIB_SP 0x24

/* What is known when so much was executed. depth: from the stack pointer up to the CFA; not known once it was
 * aligned. frame: the register that holds what the stack pointer was frame_depth below the CFA, or -1. */
struct state {
    const uint8_t *at, *end;
    int32_t depth, frame_depth;
    int frame;
    bool aligned;
    struct cfi *out;
};

/* The numbers of instructions, in the order of DWARF. */
static const uint8_t dwarf_of[16] = {0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15};

static bool skip(struct state *s, const void *bytes, size_t len)
{
    if ((size_t)(s->end - s->at) < len || memcmp(s->at, bytes, len) != 0)
        return false;
    s->at += len;
    return true;
}

/* A register's first copy is what its caller had in it. */
static void saved(struct state *s, int reg, int32_t below_cfa)
{
    struct rule *rule = &s->out->rules[reg];
    if (CALLEE_SAVED & 1u << reg && rule->kind == RULE_SAME)
        *rule = (struct rule){RULE_AT_CFA, -below_cfa};
}

static bool push(struct state *s)
{
    bool extended = s->at < s->end && *s->at == REX_B_ONLY;
    const uint8_t *opcode = s->at + extended;
    if (opcode >= s->end || (*opcode & 0xf8) != 0x50 || s->aligned)
        return false;
    s->depth += 8;
    saved(s, dwarf_of[(*opcode & 7) | (extended ? 8 : 0)], s->depth);
    s->at = opcode + 1;
    return true;
}

/* sub or and, of the stack pointer, by a constant. */
static bool adjust(struct state *s)
{
    if (s->end - s->at < 4 || s->at[0] != REX_W || (s->at[1] != 0x83 && s->at[1] != 0x81))
        return false;
    size_t len = s->at[1] == 0x83 ? 4 : 7;
    uint8_t operation = s->at[2];
    if ((size_t)(s->end - s->at) < len || (operation != 0xec && operation != 0xe4))
        return false;
    int32_t value = (int8_t)s->at[3];
    if (len == 7)
        memcpy(&value, s->at + 3, sizeof(value));
    s->aligned |= operation == 0xe4;
    if (!s->aligned && (value > 0 ? value < INT32_MAX - s->depth : value > -s->depth))
        s->depth += value;
    s->at += len;
    return true;
}

/* mov between registers, or a register and [rsp + displacement]. */
static bool move(struct state *s)
{
    if (s->end - s->at < 3 || (s->at[0] & ~(REX_R | REX_B)) != REX_W ||
        (s->at[1] != 0x89 && s->at[1] != 0x8b))
        return false;
    bool store = s->at[1] == 0x89;
    uint8_t mode = s->at[2] >> 6, low = s->at[2] & 7;
    int reg = dwarf_of[(s->at[2] >> 3 & 7) | (s->at[0] & REX_R ? 8 : 0)];
    if (mode == DIRECT) {
        int to = dwarf_of[low | (s->at[0] & REX_B ? 8 : 0)];
        if (!store || to == REGISTER_SP)
            return false;
        if (reg == REGISTER_SP && !s->aligned) {
            s->frame = to;
            s->frame_depth = s->depth;
        }
        s->at += 3;
        return true;
    }
    size_t len = mode == 0 ? 4 : mode == 1 ? 5 : 8;
    if (low != BASE_SP || (size_t)(s->end - s->at) < len || s->at[3] != SIB_SP)
        return false;
    int32_t displacement = 0;
    if (mode == 1)
        displacement = (int8_t)s->at[4];
    else if (mode == 2)
        memcpy(&displacement, s->at + 4, sizeof(displacement));
    if (store && !s->aligned && displacement < s->depth)
        saved(s, reg, s->depth - displacement);
    else if (!store && reg == s->frame)
        s->frame = -1;
    s->at += len;
    return true;
}

static bool other(struct state *s)
{
    return skip(s, "\xf3\x0f\x1e\xfa", 4) || skip(s, "\xc5\xf8\x77", 3); /* endbr64, vzeroupper */
}

void prologue_rules(const uint8_t *code, size_t len, struct cfi *out)
{
    struct state s = {.at = code, .end = code + len, .depth = 8, .frame = -1, .out = out};
    *out = (struct cfi){.cfa_register = REGISTER_SP, .guessed = true};
    for (int i = 0; i < REGISTER_COUNT; i++)
        out->rules[i].kind = CALLEE_SAVED & 1u << i ? RULE_SAME : RULE_UNDEFINED;
    out->rules[REGISTER_PC] = (struct rule){RULE_AT_CFA, -8};
    while (push(&s) || adjust(&s) || move(&s) || other(&s))
        ;
    out->cfa_offset = s.depth;
    if (s.aligned && s.frame >= 0) {
        out->cfa_register = (uint8_t)s.frame;
        out->cfa_offset = s.frame_depth;
    }
}
