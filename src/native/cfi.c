/* cfi: see cfi.h. */
#include "native/cfi.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <stdlib.h>

#include "base/list.h"

#define CFI_NONE (UINT32_MAX - 1)
/* Operations that libdw puts together itself: the CFA, an offset, and that the sum is the value. */
#define OWN_OPS 3

void cfi_init(struct cfi_cache *c, struct modules *modules, struct jit *jit)
{
    *c = (struct cfi_cache){.modules = modules, .jit = jit};
    map_init(&c->places);
}

void cfi_release(struct cfi_cache *c)
{
    map_release(&c->places);
    free(c->list);
    free(c->expressions);
    *c = (struct cfi_cache){0};
}

void cfi_forget(struct cfi_cache *c)
{
    map_clear(&c->places);
    c->count = c->expression_count = 0;
}

static int add_expression(struct cfi_cache *c, const Dwarf_Op *ops, size_t count, int32_t *index)
{
    struct expression *list =
        list_room(c->expressions, &c->expression_cap, c->expression_count, sizeof(*list));
    if (!list)
        return -ENOMEM;
    c->expressions = list;
    *index = (int32_t)c->expression_count;
    c->expressions[c->expression_count++] = (struct expression){ops, count};
    return 0;
}

static bool fits(Dwarf_Word number)
{
    return (int64_t)number == (int32_t)(int64_t)number;
}

/* What libdw says of a register, put shortly. `own` is where it writes operations that it makes up. */
static int compile_rule(struct cfi_cache *c, const Dwarf_Op *ops, size_t count, const Dwarf_Op *own,
                        struct rule *out)
{
    if (!count) {
        out->kind = ops == own ? RULE_UNDEFINED : RULE_SAME;
        return 0;
    }
    bool offset = count == 1 || (count == 2 && ops[1].atom == DW_OP_plus_uconst && fits(ops[1].number));
    if (ops[0].atom == DW_OP_call_frame_cfa && offset) {
        *out = (struct rule){RULE_AT_CFA, count == 2 ? (int32_t)ops[1].number : 0};
        return 0;
    }
    /* In another register, or a sum that is the value itself: of the stack pointer, which is the CFA, and of
     * no other in practice. */
    if (ops == own) {
        out->kind = RULE_UNDEFINED;
        return 0;
    }
    out->kind = RULE_EXPRESSION;
    return add_expression(c, ops, count, &out->offset);
}

static int compile_cfa(struct cfi_cache *c, Dwarf_Frame *frame, struct cfi *out)
{
    Dwarf_Op *ops;
    size_t count;
    if (dwarf_frame_cfa(frame, &ops, &count) != 0 || !count)
        return -ENODATA;
    if (count == 1 && ops[0].atom >= DW_OP_breg0 && ops[0].atom < DW_OP_breg0 + REGISTER_COUNT &&
        fits(ops[0].number)) {
        out->cfa_register = (uint8_t)(ops[0].atom - DW_OP_breg0);
        out->cfa_offset = (int32_t)ops[0].number;
        return 0;
    }
    if (count == 1 && ops[0].atom == DW_OP_bregx && ops[0].number < REGISTER_COUNT && fits(ops[0].number2)) {
        out->cfa_register = (uint8_t)ops[0].number;
        out->cfa_offset = (int32_t)ops[0].number2;
        return 0;
    }
    out->cfa_register = CFA_EXPRESSION;
    return add_expression(c, ops, count, &out->cfa_offset);
}

static int compile(struct cfi_cache *c, Dwarf_Frame *frame, struct cfi *out)
{
    int err = compile_cfa(c, frame, out);
    for (int i = 0; i < REGISTER_COUNT && !err; i++) {
        Dwarf_Op own[OWN_OPS], *ops;
        size_t count;
        if (dwarf_frame_register(frame, i, own, &ops, &count) != 0)
            return -ENODATA;
        err = compile_rule(c, ops, count, own, &out->rules[i]);
        if (out->rules[i].kind == RULE_UNDEFINED && CALLEE_SAVED & 1u << i)
            out->rules[i].kind = RULE_SAME;
    }
    return err;
}

static int take_frame(struct cfi_cache *c, Dwarf_Frame *frame, struct cfi *out)
{
    dwarf_frame_info(frame, NULL, NULL, &out->signal);
    int err = compile(c, frame, out);
    free(frame);
    return err;
}

static int look_up_jitted(struct cfi_cache *c, uint64_t address, struct cfi *out)
{
    Dwarf_Frame *frame = NULL;
    const struct jit_code *code = jit_find(c->jit, address);
    Dwarf_CFI *cfi = code ? jit_cfi(c->jit, code) : NULL;
    c->unmapped |= !code;
    return cfi && dwarf_cfi_addrframe(cfi, address, &frame) == 0 ? take_frame(c, frame, out) : -ENODATA;
}

/* -ENODATA: there is none. */
static int look_up(struct cfi_cache *c, uint64_t address, struct cfi *out)
{
    Dwarf_Addr bias;
    Dwarf_Frame *frame = NULL;
    Dwfl_Module *module = modules_at(c->modules, address);
    if (!module)
        return look_up_jitted(c, address, out);
    Dwarf_CFI *cfi = dwfl_module_eh_cfi(module, &bias);
    if (!cfi || dwarf_cfi_addrframe(cfi, address - bias, &frame) != 0) {
        /* Reading it means to read, and often to unpack, all debug information of the module. */
        cfi = modules_have_debug_frame(module) ? dwfl_module_dwarf_cfi(module, &bias) : NULL;
        if (!cfi || dwarf_cfi_addrframe(cfi, address - bias, &frame) != 0)
            return -ENODATA;
    }
    return take_frame(c, frame, out);
}

const struct cfi *cfi_keep(struct cfi_cache *c, uint64_t address, const struct cfi *guess)
{
    struct cfi *list = list_room(c->list, &c->cap, c->count, sizeof(*list));
    if (!list)
        return NULL;
    c->list = list;
    if (map_put(&c->places, address, (uint32_t)c->count) != 0)
        return NULL;
    list[c->count] = *guess;
    return &list[c->count++];
}

const struct cfi *cfi_find(struct cfi_cache *c, uint64_t address)
{
    uint32_t place = map_get(&c->places, address);
    if (place != MAP_NONE)
        return place == CFI_NONE ? NULL : &c->list[place];
    if (c->places.count >= CFI_MAX)
        cfi_forget(c);
    struct cfi found = {0};
    int err = look_up(c, address, &found);
    if (err == -ENODATA)
        map_put(&c->places, address, CFI_NONE);
    return err ? NULL : cfi_keep(c, address, &found);
}
