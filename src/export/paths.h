/* paths: the samples of a recording as sequences of call paths, one sequence a thread, in the order of time.
 *
 * A path is a node of a trie of spots that spans the epochs of the recording. A spot is a function, or, with
 * options.lines, a line of one. Memory is bounded by the number of distinct paths and a few bytes a sample.
 */
#ifndef ZOND_EXPORT_PATHS_H
#define ZOND_EXPORT_PATHS_H

#include "base/buf.h"
#include "base/map.h"
#include "export/export.h"

/* line: the first of the function, or the one that ran; 0 when unknown. */
struct path_spot {
    uint32_t code; /* id in the reader, or PATHS_PROCESS | index of a process */
    uint32_t line;
};

struct path_node {
    uint32_t parent; /* 0: the root, which is the empty path */
    uint32_t spot;
    uint64_t weight; /* ns of samples with exactly this path, over all threads */
};

/* A sample of a sequence, delta-coded: the path as a signed difference to the one before, then its weight. */
struct path_sample {
    uint32_t path;
    uint64_t weight;
};

/* One thread's samples; neighbours with the same path are one. start_ns: of the first, on the clock of the
 * recording. While reading, the last sample is kept apart, as the next may prolong it. */
struct path_sequence {
    struct buf bytes;
    uint64_t start_ns;
    uint64_t weight;         /* sum */
    struct path_sample last; /* weight 0: none */
    uint32_t coded_path;     /* of the sample before it, to which its path is coded */
};

/* Invariant: nodes[i].parent < i. by_child maps (parent, spot) to a node; by_spot (code, line) to a spot;
 * of_node maps a stack node of the recording's present epoch to a node. */
struct paths {
    struct path_node *nodes;
    uint32_t count;
    uint32_t cap;
    struct path_spot *spots;
    uint32_t spot_count, spot_cap;
    struct map by_child, by_spot;
    struct map of_node;
    struct path_sequence *threads; /* by index of the thread in the recording */
    uint32_t thread_count;
    /* While reading. */
    struct rec_reader *reader;
    const struct export_options *options;
    bool sequences; /* keep them, not only the sums of nodes */
};

/* Runs the reader and takes what the options ask for. per_process puts the process above its stacks: such a
 * node's spot has PATHS_PROCESS | index of the process for its code. 0 or a negative errno; release it also
 * then. */
#define PATHS_PROCESS 0x80000000u
int paths_read(struct paths *p, struct rec_reader *r, const struct export_options *o, bool sequences);
void paths_release(struct paths *p);

/* Walks a sequence: start with cursor_of(bytes) and a zeroed sample. False at the end. */
bool paths_next(struct cursor *c, struct path_sample *s);

/* The nodes from below the root to `node`, root first, into *stack (grown as needed, freed by the caller). */
int paths_unwind(const struct paths *p, uint32_t node, uint32_t **stack, uint32_t *cap, uint32_t *depth);

#endif
