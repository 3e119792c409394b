/* unwind: see unwind.h. */
#include "native/unwind.h"

#include <errno.h>
#include <string.h>

#include "native/expression.h"
#include "native/prologue.h"

/* Below the stack pointer: what a leaf function may use without moving it. */
#define RED_ZONE 128
/* Bytes of the longest call instruction without prefixes, and of a direct one. */
#define CALL_MAX 7
#define CALL_DIRECT 5
/* How far into a function its caller's target is believed to be its beginning. */
#define FUNCTION_MAX (64u << 10)
/* How far up the stack a caller is looked for: the size of a function's frame. Kernels of OpenBLAS have
 * buffers of 32 KB on it. Of what looks like a return address there, so many are tried. */
#define GUESS_BYTES (64u << 10)
#define GUESSES_MAX 256
#define PAIR_BYTES 4096
#define PAGE 4096u

int native_init(struct native *n, const struct source *source)
{
    *n = (struct native){.memory = {.source = *source}};
    int err = modules_init(&n->modules, source);
    if (err)
        return err;
    jit_init(&n->jit, source);
    cfi_init(&n->cfi, &n->modules, &n->jit);
    return 0;
}

void native_refresh(struct native *n)
{
    modules_refresh(&n->modules);
    jit_refresh(&n->jit, &n->modules);
    cfi_forget(&n->cfi);
}

void native_release(struct native *n)
{
    cfi_release(&n->cfi);
    jit_release(&n->jit);
    modules_release(&n->modules);
}

const struct jit_code *native_jitted(struct native *n, uint64_t address)
{
    return modules_at(&n->modules, address) ? NULL : jit_find(&n->jit, address);
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

/* No sum here: registers, and what is found on a stack, can be any number. */
static bool holds_word(uint64_t from, size_t len, uint64_t at)
{
    return at >= from && len >= sizeof(uint64_t) && at - from <= len - sizeof(uint64_t);
}

static int read_word(void *ctx, uint64_t at, uint64_t *value)
{
    struct reader *r = ctx;
    struct native *n = r->native;
    const struct moment *m = r->moment;
    if (holds_word(m->copied_from, m->copied, at)) {
        memcpy(value, m->copy + (at - m->copied_from), sizeof(*value));
        return 0;
    }
    if (!holds_word(n->window_from, n->window_len, at)) {
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
static int step(struct reader *reader, const struct cfi *cfi, struct registers *r)
{
    struct registers caller = {0};
    struct expression_context in = {.registers = r, .read = read_word, .ctx = reader};
    uint64_t cfa;
    int err = find_cfa(reader->native, cfi, &in, &cfa);
    if (err)
        return err;
    in.cfa = cfa;
    for (int i = 0; i < REGISTER_COUNT; i++) {
        if (find_register(reader->native, &cfi->rules[i], &in, i, &caller.value[i]) == 0)
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
    if ((!modules_at(&n->modules, address) && !jit_find(&n->jit, address)) ||
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

/* Where a walk outwards is. interrupted: the instruction at the address was not executed yet; else it lies
 * behind a call. */
struct walk {
    struct registers r;
    bool interrupted;
};

static uint64_t address_of(const struct walk *w)
{
    return w->r.value[REGISTER_PC] - !w->interrupted;
}

/* By call frame information, else by the beginning of the function, where that is known. */
static const struct cfi *rules_at(struct native *n, uint64_t at)
{
    uint8_t code[PROLOGUE_MAX];
    struct cfi guess;
    const struct cfi *cfi = cfi_find(&n->cfi, at);
    if (cfi)
        return cfi;
    const struct jit_code *jitted = native_jitted(n, at);
    uint64_t start = jitted ? jitted->start : modules_function(&n->modules, at);
    if (!start)
        return NULL;
    size_t len = min_u64(at - start, sizeof(code));
    if (len && memory_read(&n->memory, start, code, len) != 0)
        return NULL;
    prologue_rules(code, len, &guess);
    return cfi_keep(&n->cfi, at, &guess);
}

/* One frame outwards by rules. 0; START: there is none further out; -ENODATA: what rules there are do not
 * lead out of it, and a guess may; or another negative errno. *guessed: the rules were. */
#define START 1
static int leave(struct reader *reader, struct walk *w, bool *guessed)
{
    uint64_t at = address_of(w), sp = w->r.value[REGISTER_SP];
    const struct cfi *cfi = rules_at(reader->native, at);
    *guessed = !cfi || cfi->guessed;
    if (!cfi)
        return -ENODATA;
    if (cfi->rules[REGISTER_PC].kind == RULE_UNDEFINED)
        return START;
    struct registers before = w->r;
    bool signal = cfi->signal;
    int err = step(reader, cfi, &w->r) == 0 ? 0 : -EINVAL;
    /* Outwards, but from a handler that runs on a stack of its own. */
    if (!err && !signal && w->r.value[REGISTER_SP] <= sp)
        err = -EINVAL;
    if (!err && *guessed && !follows_call(reader->native, w->r.value[REGISTER_PC], at))
        err = -EINVAL;
    if (err)
        w->r = before;
    else
        w->interrupted = signal;
    return err && *guessed ? -ENODATA : err;
}

static bool reaches_start(struct reader *reader, struct walk w)
{
    bool guessed;
    int rc = 0;
    for (size_t depth = 0; !rc && depth < NATIVE_DEPTH_MAX; depth++)
        rc = leave(reader, &w, &guessed);
    return rc == START;
}

/* Returned to by the address that is saved at `at`: the caller, if a call could have come from there. What
 * the function saved and where is not known: registers are taken as they are. */
static bool returns_by(struct reader *reader, const struct walk *inner, uint64_t at, struct walk *caller)
{
    uint64_t back;
    if (read_word(reader, at, &back) != 0 || !follows_call(reader->native, back, address_of(inner)))
        return false;
    *caller = *inner;
    caller->interrupted = false;
    caller->r.value[REGISTER_SP] = at + 8;
    caller->r.value[REGISTER_PC] = back;
    return true;
}

/* The frame pointer leads to the caller, if the function has saved one. */
static bool returns_by_frame_pointer(struct reader *reader, const struct walk *inner, struct walk *caller)
{
    uint64_t fp = inner->r.value[REGISTER_FP], sp = inner->r.value[REGISTER_SP], outer;
    if (!(inner->r.known & 1u << REGISTER_FP) || fp < sp || fp >= sp + NATIVE_COPY_MAX || fp % 8 ||
        !returns_by(reader, inner, fp + 8, caller) || read_word(reader, fp, &outer) != 0)
        return false;
    caller->r.known = 1u << REGISTER_FP | 1u << REGISTER_SP | 1u << REGISTER_PC;
    caller->r.value[REGISTER_FP] = outer;
    return true;
}

/* The caller of a function that rules do not lead out of: the innermost address on the stack that can be
 * returned to from here and leads to the thread's start; if none does, the innermost. */
static int guess_out(struct reader *reader, struct walk *w)
{
    struct walk caller, first;
    size_t candidates = returns_by_frame_pointer(reader, w, &caller);
    uint64_t at = w->r.value[REGISTER_SP], end = at + GUESS_BYTES;
    bool found = candidates && reaches_start(reader, caller);
    for (first = caller; !found && at < end && candidates < GUESSES_MAX; at += 8) {
        if (!returns_by(reader, w, at, &caller))
            continue;
        if (!candidates++)
            first = caller;
        found = reaches_start(reader, caller);
    }
    if (!candidates)
        return -ENODATA;
    *w = found ? caller : first;
    return 0;
}

/* The whole ---------------------------------------------------------------------------------------------- */

static void unwind(struct native *n, const struct moment *m, struct native_stack *out)
{
    struct reader reader = {.native = n, .moment = m};
    struct walk w = {.r = m->registers, .interrupted = true};
    bool guessed = false;
    int rc = 0;
    out->depth = 0;
    while (!rc && out->depth < NATIVE_DEPTH_MAX) {
        out->frames[out->depth++] =
            (struct native_frame){.pc = address_of(&w), .sp = w.r.value[REGISTER_SP], .guessed = guessed};
        rc = leave(&reader, &w, &guessed);
        if (rc == -ENODATA)
            rc = guess_out(&reader, &w);
    }
    out->whole = rc == START;
    out->truncated = !rc;
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
    /* A signal handler on a stack of its own leads to one that was not copied. */
    if (sp < m->copied_from || sp >= end)
        return;
    for (uint64_t at = sp; end - at >= 16 && at - sp < PAIR_BYTES; at += 8) {
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
