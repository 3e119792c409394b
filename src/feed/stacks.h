/* stacks: the numbers that an agent gave to stacks, as those of a recording. The channel is the program's
 * memory: nothing that it says is trusted, and what makes no sense stands for the unknown function.
 */
#ifndef ZOND_FEED_STACKS_H
#define ZOND_FEED_STACKS_H

#include "agent/channel.h"
#include "record/writer.h"

/* By the channel's row: 1 + the recording's number, 0 while it is not known. Of one channel and one writer.
 */
struct feed_stacks {
    uint32_t *nodes, *frames, *codes;
    size_t node_count, frame_count, code_count;
    size_t node_cap, frame_cap, code_cap;
    uint32_t *path; /* while a stack is looked up */
    size_t path_cap;
};

void feed_stacks_release(struct feed_stacks *s);

/* The recording's node (rec_heap_push) for the channel's, an event having named it. */
uint32_t feed_stacks_node(struct feed_stacks *s, const struct channel *c, struct rec_writer *w,
                          uint32_t node);

#endif
