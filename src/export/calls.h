/* calls: own and total time of functions and of calls between them, from paths and their sums.
 *
 * A row is a function as a format tells functions apart: several spots can share one. A stack counts once for
 * each row and each call on it, however often it recurs there.
 */
#ifndef ZOND_EXPORT_CALLS_H
#define ZOND_EXPORT_CALLS_H

#include "export/paths.h"
#include "export/sums.h"

struct cost {
    struct sum self;  /* of stacks that end here */
    struct sum total; /* of all stacks that it is on */
    uint64_t stack;   /* the last one that was counted */
};

struct call {
    uint32_t caller; /* rows */
    uint32_t callee;
    uint32_t next; /* with the same callee; 0: none */
    struct cost cost;
};

/* call_of: by node, the call into it, 0 for the outermost frame. calls[0] is none. first_call: by row, the
 * first with it as callee. */
struct calls {
    const struct paths *paths;
    const uint32_t *row_of; /* by spot; NULL: a spot is a row */
    struct cost *rows;
    uint32_t row_count;
    struct call *calls;
    uint32_t call_count;
    size_t call_cap;
    uint32_t *call_of;
    uint32_t *first_call;
    uint64_t stacks; /* counted so far */
};

/* row_of is the caller's and outlives the calls. 0 or -ENOMEM; release it also then. */
int calls_init(struct calls *c, const struct paths *p, const uint32_t *row_of, uint32_t row_count);
void calls_release(struct calls *c);

/* Adds what stacks with exactly this path weigh. */
void calls_add(struct calls *c, uint32_t path, struct sum sum);
/* Forgets what was added. */
void calls_clear(struct calls *c);

#endif
