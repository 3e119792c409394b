/* states: the whole of a metric, split into what the threads were doing. */
#ifndef ZOND_REPORT_STATES_H
#define ZOND_REPORT_STATES_H

#include "analysis/profile.h"
#include "report/term.h"

#define STATES_MAX 5

struct state {
    const char *name;
    enum ink ink;
    uint64_t ns;
};

/* Invariant: the parts exclude each other and their ns sum to total, which is weights_of(w, metric) except
 * for METRIC_GIL and METRIC_GC: these are shown as parts of the wall time. */
struct states {
    struct state parts[STATES_MAX];
    size_t count;
    uint64_t total;
};

void states_of(struct states *s, const struct weights *w, enum metric metric);

#endif
