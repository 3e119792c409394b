/* cfi: how the registers of a caller are found, at each address.
 *
 * Call frame information is a program for each function, and running it takes microseconds. Its result is the
 * same for one address always: it is compiled into rules once, and kept. Knows nothing of threads and memory.
 */
#ifndef ZOND_NATIVE_CFI_H
#define ZOND_NATIVE_CFI_H

#include "base/map.h"
#include "native/jit.h"
#include "native/modules.h"
#include "os/stop.h"

/* Where a register of the caller is. CFA: the canonical frame address, the value of the caller's stack
 * pointer at the call. */
enum rule_kind {
    RULE_UNDEFINED, /* lost; of the stack pointer: the CFA; of the address: a thread starts here */
    RULE_SAME,      /* in the same register */
    RULE_AT_CFA,    /* in memory at CFA + offset */
    RULE_EXPRESSION /* where, or what, the expression at the index `offset` of the cache says */
};

struct rule {
    int32_t kind; /* enum rule_kind */
    int32_t offset;
};

/* The CFA is the register cfa_register plus cfa_offset, or the value of the expression cfa_offset when
 * cfa_register is CFA_EXPRESSION. signal: the caller was interrupted here, it did not call. guessed: not by
 * call frame information, but by prologue.h. */
#define CFA_EXPRESSION UINT8_MAX
/* A bit for each register that a function keeps unless it is told otherwise: rbx, rbp, r12 to r15 (System V
 * psABI, 3.2.1). */
#define CALLEE_SAVED (1u << 3 | 1u << 6 | 0xfu << 12)
struct cfi {
    struct rule rules[REGISTER_COUNT];
    int32_t cfa_offset;
    uint8_t cfa_register;
    bool signal, guessed;
};

struct expression {
    const Dwarf_Op *ops; /* of the modules */
    size_t count;
};

/* Invariants: places maps an address to its index in list, or to CFI_NONE. Beyond CFI_MAX addresses all is
 * forgotten. */
#define CFI_MAX 65536
struct cfi_cache {
    struct modules *modules;
    struct jit *jit;
    struct map places;
    struct cfi *list;
    size_t count, cap;
    struct expression *expressions;
    size_t expression_count, expression_cap;
    bool unmapped; /* an address was looked up that lies in no module, and no code is known of there; stays
                      until the caller clears it */
};

void cfi_init(struct cfi_cache *c, struct modules *modules, struct jit *jit);
void cfi_release(struct cfi_cache *c);
/* To be called when the modules are refreshed. */
void cfi_forget(struct cfi_cache *c);

/* Of the instruction at `address`; NULL: there is none. Valid until the next call. */
const struct cfi *cfi_find(struct cfi_cache *c, uint64_t address);
/* Keeps what was guessed for an address for which there is none; NULL: no memory. */
const struct cfi *cfi_keep(struct cfi_cache *c, uint64_t address, const struct cfi *guess);

#endif
