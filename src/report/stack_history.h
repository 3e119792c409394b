/* stack_history: the stacks of the last look at each thread, to tell what changed by the next. */
#ifndef ZOND_REPORT_STACK_HISTORY_H
#define ZOND_REPORT_STACK_HISTORY_H

#include "record/reader.h"

struct stack_history;

/* NULL: no memory. */
struct stack_history *stack_history_new(void);
void stack_history_free(struct stack_history *h);

/* How a thread's stack compares with that of the look before. */
struct stack_change {
    bool known;    /* there was one */
    bool same;     /* frame by frame */
    size_t common; /* so many frames from the outermost are the same */
};

/* Compares a sample's stack with the one kept for its thread, and keeps it instead. 0 or -ENOMEM. */
int stack_history_take(struct stack_history *h, const struct rec_reader *r, const struct rec_sample *s,
                       struct stack_change *out);

/* Ends a look: how many threads of the one before were not in it; they are forgotten. */
size_t stack_history_end(struct stack_history *h);

#endif
