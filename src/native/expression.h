/* expression: what a DWARF expression of call frame information computes.
 *
 * Linkage stubs, signal trampolines and functions that align their stack describe themselves so. Of the
 * language this is the part that call frame information may use (DWARF 5, 6.4.2); the expressions are not
 * trusted.
 */
#ifndef ZOND_NATIVE_EXPRESSION_H
#define ZOND_NATIVE_EXPRESSION_H

#include "native/cfi.h"

/* read: 8 bytes at an address; 0 or a negative errno. cfa: 0 while it is computed itself. */
struct expression_context {
    const struct registers *registers;
    uint64_t cfa;
    int (*read)(void *ctx, uint64_t address, uint64_t *value);
    void *ctx;
};

/* *is_value: the result is what the register holds, not where it is. -EINVAL: not such an expression;
 * -ENODATA: it needs a register that is not known; or what `read` returned. */
int expression_eval(const struct expression *e, const struct expression_context *in, uint64_t *result,
                    bool *is_value);

#endif
