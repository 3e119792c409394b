/* diff: two profiles side by side: functions, lines and stacks, with what tells a difference from noise.
 *
 * Numbers in, numbers out. docs/diff.md has the statistics, pairs.h which function is which.
 */
#ifndef ZOND_ANALYSIS_DIFF_H
#define ZOND_ANALYSIS_DIFF_H

#include "analysis/profile.h"

#define DIFF_NONE UINT32_MAX
#define DIFF_SIDES 2 /* A, the recording to compare with, and B */

/* A value of either side, in seconds, or as shares of the side's whole. noise: the difference that the
 * samples alone can make. clear: the difference is larger than that, and than what one takes runs to vary by.
 */
struct diff_change {
    double value[DIFF_SIDES];
    double noise;
    bool clear;
};

/* Something seen in at least one recording. code, line: of it there, DIFF_NONE and 0 where it was not seen;
 * of a stack they are those of its innermost function. */
struct diff_row {
    uint32_t code[DIFF_SIDES];
    uint32_t line[DIFF_SIDES];
    uint32_t caller; /* of a stack: the row of its caller's, DIFF_NONE for the outermost function */
    struct diff_change self;
    struct diff_change total;
};

struct diff_table {
    struct diff_row *rows;
    size_t count;
};

struct diff {
    struct diff_table functions;
    struct diff_table lines;
    struct diff_table stacks; /* callers before callees; a stack's total is its own and that of all below */
    double whole[DIFF_SIDES]; /* seconds of the metric, over all threads */
};

/* shares: compare shares of the whole instead of seconds. The profiles stay the caller's and outlive the
 * diff; of their stacks only the functions are looked at (PROFILE_WITHOUT_STACK_LINES). 0 or -ENOMEM. */
int diff_new(struct profile *a, struct profile *b, enum metric metric, bool shares, struct diff **out);
void diff_free(struct diff *d);

/* Whether `row` was seen in one recording only: in that one. */
static inline bool diff_only(const struct diff_row *row, int side)
{
    return row->code[!side] == DIFF_NONE;
}

#endif
