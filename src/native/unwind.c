/* unwind: see unwind.h. */
#include "native/unwind.h"

#include <errno.h>
#include <string.h>

#include "native/expression.h"

/* Below the stack pointer: what a leaf function may use without moving it. */
#define RED_ZONE 128
/* Bytes of the longest call instruction without prefixes, and of a direct one. */
#define CALL_MAX 7
#define CALL_DIRECT 5
/* How far into a function its caller's target is believed to be its beginning. */
#define FUNCTION_MAX (64u << 10)
/* How far up the stack a caller is looked for: the size of a function's frame. */
#define GUESS_BYTES 4096
#define PAGE 4096u

int native_init(struct native *n, pid_t pid)
{
    *n = (struct native){.memory = {.pid = pid}};
    int err = modules_init(&n->modules, pid);
    cfi_init(&n->cfi, &n->modules);
    return err;
}

void native_release(struct native *n)
{
    cfi_release(&n->cfi);
    modules_release(&n->modules);
}

/* Memory of the moment ---------------------------------------------------------------------------------- */

int native_copy_stack(struct native *n, struct moment *m, uint64_t end)
{
    uint64_t from = m->registers.value[REGISTER_SP] - RED_ZONE;
    m->copied_from = from;
    m->copied = 0;
    if (end > from && end - from <= NATIVE_COPY_MAX &&
        memory_read(&n->memory, from, m->copy, end - from) == 0) {
        m->copied = end - from;
        return 0;
    }
    /* The stack ends within these pages somewhere: what is not mapped ends the copy. */
    for (size_t want = NATIVE_COPY_MAX; want >= PAGE; want /= 2) {
        size_t len = ((from + want) & ~(uint64_t)(PAGE - 1)) - from;
        if (memory_read(&n->memory, from, m->copy, len) == 0) {
            m->copied = len;
            return 0;
        }
    }
    return -EFAULT;
}

/* The 8 bytes at an address, from the copy or, where it does not reach, as they are now. */
struct reader {
    struct native *native;
    const struct moment *moment;
};

static int read_word(void *ctx, uint64_t at, uint64_t *value)
{
    struct reader *r = ctx;
    struct native *n = r->native;
    const struct moment *m = r->moment;
    if (at >= m->copied_from && at - m->copied_from + sizeof(*value) <= m->copied) {
        memcpy(value, m->copy + (at - m->copied_from), sizeof(*value));
        return 0;
    }
    if (at < n->window_from || at - n->window_from + sizeof(*value) > n->window_len) {
        n->window_len = 0;
        /* Up to the end of a page, so that all of it is mapped, or none. */
        size_t len = PAGE - at % PAGE;
        int err = memory_read(&n->memory, at, n->window, len);
        if (err)
            return err;
        n->window_from = at;
        n->window_len = len;
        if (len < sizeof(*value))
            return memory_read(&n->memory, at, value, sizeof(*value));
    }
    memcpy(value, n->window + (at - n->window_from), sizeof(*value));
    return 0;
}

/* One step outwards -------------------------------------------------------------------------------------- */

static int find_cfa(struct native *n, const struct cfi *cfi, const struct expression_context *in,
                    uint64_t *cfa)
{
    bool is_value;
    if (cfi->cfa_register == CFA_EXPRESSION)
        return expression_eval(&n->cfi.expressions[cfi->cfa_offset], in, cfa, &is_value);
    if (!(in->registers->known & 1u << cfi->cfa_register))
        return -ENODATA;
    *cfa = in->registers->value[cfi->cfa_register] + (uint64_t)(int64_t)cfi->cfa_offset;
    return 0;
}

static int find_register(struct native *n, const struct rule *rule, const struct expression_context *in,
                         int i, uint64_t *value)
{
    bool is_value = false;
    int err = 0;
    switch (rule->kind) {
    case RULE_SAME:
        *value = in->registers->value[i];
        return in->registers->known & 1u << i ? 0 : -ENODATA;
    case RULE_AT_CFA:
        *value = in->cfa + (uint64_t)(int64_t)rule->offset;
        break;
    case RULE_EXPRESSION:
        err = expression_eval(&n->cfi.expressions[rule->offset], in, value, &is_value);
        break;
    default:
        return -ENODATA;
    }
    return err || is_value ? err : in->read(in->ctx, *value, value);
}

/* The registers of the caller. */
static int step(const struct reader *reader, const struct cfi *cfi, struct registers *r)
{
    struct reader from = *reader;
    struct registers caller = {0};
    struct expression_context in = {.registers = r, .read = read_word, .ctx = &from};
    uint64_t cfa;
    int err = find_cfa(from.native, cfi, &in, &cfa);
    if (err)
        return err;
    in.cfa = cfa;
    for (int i = 0; i < REGISTER_COUNT; i++) {
        if (find_register(from.native, &cfi->rules[i], &in, i, &caller.value[i]) == 0)
            caller.known |= 1u << i;
    }
    if (cfi->rules[REGISTER_SP].kind == RULE_UNDEFINED) {
        caller.value[REGISTER_SP] = cfa;
        caller.known |= 1u << REGISTER_SP;
    }
    *r = caller;
    return caller.known & 1u << REGISTER_PC ? 0 : -ENODATA;
}

/* Guesses ------------------------------------------------------------------------------------------------ */

/* Did a call return to this address? By a direct one, to a function that begins not far before `callee`. */
static bool follows_call(struct native *n, uint64_t address, uint64_t callee)
{
    uint8_t code[CALL_MAX];
    int32_t distance;
    if (!dwfl_addrmodule(n->modules.dwfl, address) ||
        memory_read(&n->memory, address - CALL_MAX, code, CALL_MAX) != 0)
        return false;
    if (code[CALL_MAX - CALL_DIRECT] == 0xe8) {
        memcpy(&distance, code + CALL_MAX - 4, sizeof(distance));
        uint64_t target = address + (uint64_t)(int64_t)distance;
        return target <= callee && callee - target < FUNCTION_MAX;
    }
    /* call r/m64: FF /2, of two to seven bytes. */
    for (int len = 2; len <= CALL_MAX; len++) {
        if (code[CALL_MAX - len] == 0xff && (code[CALL_MAX - len + 1] >> 3 & 7) == 2)
            return true;
    }
    return false;
}

/* The caller of a function without call frame information. The frame pointer leads to it if the function has
 * saved one; else it is the innermost address on the stack that can be returned to from here. */
static int guess_step(const struct reader *reader, uint64_t pc, struct registers *r)
{
    struct reader from = *reader;
    uint64_t fp = r->value[REGISTER_FP], sp = r->value[REGISTER_SP], back;
    if (r->known & 1u << REGISTER_FP && fp >= sp && fp < sp + NATIVE_COPY_MAX && fp % 8 == 0 &&
        read_word(&from, fp + 8, &back) == 0 && follows_call(from.native, back, pc)) {
        uint64_t outer = 0;
        int err = read_word(&from, fp, &outer);
        *r = (struct registers){.known = 1u << REGISTER_FP | 1u << REGISTER_SP | 1u << REGISTER_PC};
        r->value[REGISTER_FP] = outer;
        r->value[REGISTER_SP] = fp + 16;
        r->value[REGISTER_PC] = back;
        return err;
    }
    for (uint64_t at = sp; at < sp + GUESS_BYTES && read_word(&from, at, &back) == 0; at += 8) {
        if (!follows_call(from.native, back, pc))
            continue;
        /* What the function saved and where is not known: callee-saved registers are taken as they are. */
        r->value[REGISTER_SP] = at + 8;
        r->value[REGISTER_PC] = back;
        return 0;
    }
    return -ENODATA;
}

/* The whole ---------------------------------------------------------------------------------------------- */

static void unwind(struct native *n, const struct moment *m, struct native_stack *out)
{
    const struct reader reader = {.native = n, .moment = m};
    struct registers r = m->registers;
    bool interrupted = true, guessed = false;
    int err = 0;
    out->depth = 0;
    out->whole = false;
    while (!err && !out->whole && out->depth < NATIVE_DEPTH_MAX) {
        uint64_t at = r.value[REGISTER_PC] - !interrupted, sp = r.value[REGISTER_SP];
        out->frames[out->depth++] = (struct native_frame){.pc = at, .sp = sp, .guessed = guessed};
        const struct cfi *cfi = cfi_find(&n->cfi, at);
        guessed = !cfi;
        interrupted = cfi && cfi->signal;
        out->whole = cfi && cfi->rules[REGISTER_PC].kind == RULE_UNDEFINED;
        if (cfi && !out->whole)
            err = step(&reader, cfi, &r);
        else if (!cfi)
            err = guess_step(&reader, at, &r);
        /* Outwards, but from a handler that runs on a stack of its own. */
        if (!interrupted && !out->whole && r.value[REGISTER_SP] <= sp)
            err = -EINVAL;
    }
    out->truncated = !err && !out->whole;
}

/* Of a thread that waits the frame pointer is not known. The function that could not be left has saved its
 * caller's, with the address that it returns to behind it: the innermost such pair that leads to the thread's
 * start is it. */
static void guess_frame_pointer(struct native *n, const struct moment *m, struct native_stack *out)
{
    struct moment guess = *m;
    const struct native_frame last = out->frames[out->depth - 1];
    uint64_t sp = last.sp, end = m->copied_from + m->copied;
    guess.registers.known |= 1u << REGISTER_FP;
    for (uint64_t at = sp; at + 16 <= end && at < sp + GUESS_BYTES; at += 8) {
        uint64_t pair[2];
        memcpy(pair, m->copy + (at - m->copied_from), sizeof(pair));
        if (pair[0] <= at || pair[0] >= end || !follows_call(n, pair[1], last.pc))
            continue;
        guess.registers.value[REGISTER_FP] = at;
        unwind(n, &guess, out);
        if (out->whole)
            return;
    }
    unwind(n, m, out);
}

void native_unwind(struct native *n, const struct moment *m, struct native_stack *out)
{
    n->window_len = 0;
    unwind(n, m, out);
    if (!out->whole && !out->truncated && !(m->registers.known & 1u << REGISTER_FP))
        guess_frame_pointer(n, m, out);
}
