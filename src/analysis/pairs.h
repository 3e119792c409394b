/* pairs: which function of one recording is which of another, for versions of a program, of Python and of
 * the machine that differ. docs/diff.md states the rules for people.
 */
#ifndef ZOND_ANALYSIS_PAIRS_H
#define ZOND_ANALYSIS_PAIRS_H

#include "analysis/profile.h"

#define PAIR_NONE UINT32_MAX
#define PAIR_SIDES 2

/* A function as it is in either recording; code PAIR_NONE: it was not seen there. first_line: of that code.
 */
struct pair {
    uint32_t code[PAIR_SIDES];
    uint32_t first_line[PAIR_SIDES];
};

/* of_code[side][code] is the index of the pair that a code belongs to, PAIR_NONE for a code without weight.
 * inlined[side][code]: the code is a comprehension, and its pair that of the function in which it stands. */
struct pairs {
    struct pair *all;
    uint32_t count;
    uint32_t *of_code[PAIR_SIDES];
    bool *inlined[PAIR_SIDES];
};

/* 0 or -ENOMEM; release also after a failure. */
int pairs_init(struct pairs *p, struct profile *const profiles[PAIR_SIDES]);
void pairs_release(struct pairs *p);

#endif
