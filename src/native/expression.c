/* expression: see expression.h. */
#include "native/expression.h"

#include <dwarf.h>
#include <errno.h>

/* Values on the expression's stack; one that needs more is refused. No operation branches, so each is
 * executed once. */
#define DEPTH_MAX 64

struct machine {
    const struct expression_context *in;
    uint64_t stack[DEPTH_MAX];
    size_t depth;
};

static int push(struct machine *m, uint64_t value)
{
    if (m->depth == DEPTH_MAX)
        return -EINVAL;
    m->stack[m->depth++] = value;
    return 0;
}

static int push_register(struct machine *m, uint64_t number, uint64_t offset)
{
    if (number >= REGISTER_COUNT)
        return -EINVAL;
    if (!(m->in->registers->known & 1u << number))
        return -ENODATA;
    return push(m, m->in->registers->value[number] + offset);
}

/* The value so far below the top. */
static int pick(struct machine *m, uint64_t below)
{
    return below < m->depth ? push(m, m->stack[m->depth - 1 - below]) : -EINVAL;
}

static int load(struct machine *m)
{
    return m->depth ? m->in->read(m->in->ctx, m->stack[m->depth - 1], &m->stack[m->depth - 1]) : -EINVAL;
}

/* Takes one value, leaves one. */
static int unary(struct machine *m, const Dwarf_Op *op)
{
    if (!m->depth)
        return -EINVAL;
    uint64_t *top = &m->stack[m->depth - 1];
    switch (op->atom) {
    case DW_OP_plus_uconst:
        *top += op->number;
        return 0;
    case DW_OP_neg:
        *top = -*top;
        return 0;
    case DW_OP_not:
        *top = ~*top;
        return 0;
    default:
        return -EINVAL;
    }
}

/* Takes two values, leaves one. */
static int binary(struct machine *m, unsigned atom)
{
    if (m->depth < 2)
        return -EINVAL;
    uint64_t b = m->stack[--m->depth], *a = &m->stack[m->depth - 1];
    int64_t sb = (int64_t)b, sa = (int64_t)*a;
    switch (atom) {
    case DW_OP_plus:
        *a += b;
        return 0;
    case DW_OP_minus:
        *a -= b;
        return 0;
    case DW_OP_mul:
        *a *= b;
        return 0;
    case DW_OP_and:
        *a &= b;
        return 0;
    case DW_OP_or:
        *a |= b;
        return 0;
    case DW_OP_xor:
        *a ^= b;
        return 0;
    case DW_OP_shl:
        *a = b < 64 ? *a << b : 0;
        return 0;
    case DW_OP_shr:
        *a = b < 64 ? *a >> b : 0;
        return 0;
    case DW_OP_eq:
        *a = *a == b;
        return 0;
    case DW_OP_ne:
        *a = *a != b;
        return 0;
    case DW_OP_ge:
        *a = sa >= sb;
        return 0;
    case DW_OP_gt:
        *a = sa > sb;
        return 0;
    case DW_OP_le:
        *a = sa <= sb;
        return 0;
    case DW_OP_lt:
        *a = sa < sb;
        return 0;
    default:
        return -EINVAL;
    }
}

static int execute(struct machine *m, const Dwarf_Op *op)
{
    unsigned atom = op->atom;
    if (atom >= DW_OP_lit0 && atom <= DW_OP_lit31)
        return push(m, atom - DW_OP_lit0);
    if (atom >= DW_OP_breg0 && atom <= DW_OP_breg31)
        return push_register(m, atom - DW_OP_breg0, op->number);
    if ((atom >= DW_OP_const1u && atom <= DW_OP_consts) || atom == DW_OP_addr)
        return push(m, op->number);
    switch (atom) {
    case DW_OP_bregx:
        return push_register(m, op->number, op->number2);
    case DW_OP_call_frame_cfa:
        return push(m, m->in->cfa);
    case DW_OP_deref:
        return load(m);
    case DW_OP_dup:
        return pick(m, 0);
    case DW_OP_over:
        return pick(m, 1);
    case DW_OP_pick:
        return pick(m, op->number);
    case DW_OP_drop:
        return m->depth ? (m->depth--, 0) : -EINVAL;
    case DW_OP_nop:
        return 0;
    case DW_OP_plus_uconst:
    case DW_OP_neg:
    case DW_OP_not:
        return unary(m, op);
    default:
        return binary(m, atom);
    }
}

int expression_eval(const struct expression *e, const struct expression_context *in, uint64_t *result,
                    bool *is_value)
{
    struct machine m = {.in = in};
    *is_value = false;
    for (size_t i = 0; i < e->count && !*is_value; i++) {
        *is_value = e->ops[i].atom == DW_OP_stack_value;
        int err = *is_value ? 0 : execute(&m, &e->ops[i]);
        if (err)
            return err;
    }
    if (!m.depth)
        return -EINVAL;
    *result = m.stack[m.depth - 1];
    return 0;
}
