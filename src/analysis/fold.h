/* fold: turns the weights of one epoch's stack nodes into functions, lines, calls and distinct stacks. */
#ifndef ZOND_ANALYSIS_FOLD_H
#define ZOND_ANALYSIS_FOLD_H

#include "analysis/tally.h"
#include "analysis/trie.h"

/* What a frame belongs to: indices into the tables of functions and lines. Native code and system calls are
 * no lines of their own: their time is that of the line that called them. */
#define FOLD_NO_LINE UINT32_MAX
/* The squared gap of what goes on with the same stack and state as before. */
#define FOLD_GOES_ON 1.0f
struct frame_place {
    uint32_t function;
    uint32_t line;
};

/* The weights of a node, in the one cache line that an hour's samples touch at random. Its counters are
 * narrow: an epoch is folded before they could overflow. */
struct node_weights {
    uint64_t wall;
    uint64_t cpu;
    uint64_t gil_held;
    uint64_t gil_wait;
    uint64_t gc;
    uint64_t in_c;
    uint64_t blocked;
    uint32_t samples;
    float squared_gaps; /* 0: it has no sample */
};

/* The walk's view of a node; 0 ends a list. call: index into that table, when calls are wanted. */
struct fold_link {
    uint32_t first_child;
    uint32_t next_sibling;
    uint32_t call;
};

/* Invariants: `nodes` and `links` have an entry for each of `cap` nodes, those of nodes aligned to their
 * size, all zero in between epochs; count is beyond the largest that a sample named. pending: looks in nodes.
 * places holds a frame_place for each frame up to the newest at the last fold. The keys: functions 0 and
 * code; lines code and line; calls caller's and callee's code. */
struct fold {
    const struct rec_reader *reader;
    unsigned without; /* enum profile_without */
    struct node_weights *nodes;
    struct fold_link *links;
    uint32_t cap;
    uint32_t count;
    uint64_t pending;
    struct buf places; /* struct frame_place, by the reader's frame */
    struct weights sum;
    struct tally_table functions;
    struct tally_table lines;
    struct tally_table calls;
    struct trie trie;
};

/* 0 or -ENOMEM; release also after a failure. r stays the caller's. */
int fold_init(struct fold *f, const struct rec_reader *r, unsigned without);
void fold_release(struct fold *f);

/* What a sample of a recording with this period weighs. */
struct node_weights fold_weigh(const struct rec_sample *s, uint64_t period_ns);
/* Adds it to a node of the current epoch. 0 or -ENOMEM. */
int fold_add(struct fold *f, uint32_t node, const struct node_weights *w);

/* Ends the epoch: takes the reader's nodes, adds to all tables, forgets the nodes' weights. */
int fold_epoch(struct fold *f);

void weights_add_node(struct weights *to, const struct node_weights *w);

#endif
