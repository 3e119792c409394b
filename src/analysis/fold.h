/* fold: turns the weights of one epoch's stack nodes into functions, lines, calls and distinct stacks. */
#ifndef ZOND_ANALYSIS_FOLD_H
#define ZOND_ANALYSIS_FOLD_H

#include "analysis/tally.h"
#include "analysis/trie.h"

/* What a frame belongs to: indices into the tables of functions and lines. */
struct frame_place {
    uint32_t function;
    uint32_t line;
};

/* Invariants: `self` holds a weight for each of the epoch's nodes up to the largest that a sample named, and
 * none when the epoch begins; places holds a frame_place for each frame up to the newest at the last fold.
 * The keys: functions 0 and code; lines code and line; calls caller's and callee's code. */
struct fold {
    struct buf self;   /* struct weights, by the reader's node */
    struct buf places; /* struct frame_place, by the reader's frame */
    struct tally_table functions;
    struct tally_table lines;
    struct tally_table calls;
    struct trie trie;
};

int fold_init(struct fold *f);
void fold_release(struct fold *f);

/* Adds a weight to a node of the current epoch. 0 or -ENOMEM. */
int fold_add(struct fold *f, uint32_t node, const struct weights *w);

/* Ends the epoch: takes the reader's nodes, adds to all tables, forgets the nodes' weights. */
int fold_epoch(struct fold *f, const struct rec_reader *r);

#endif
