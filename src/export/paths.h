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

/* What a spot's code is besides an id in the reader: the process that stands above its stacks (its index is
 * in the lower bits), and what stands for a stack without frames. */
#define PATHS_PROCESS 0x80000000u
#define PATHS_NO_PYTHON UINT32_MAX

/* line: the first of the function, or the one that ran; 0 when unknown. */
struct path_spot {
    uint32_t code;
    uint32_t line;
};

struct path_node {
    uint32_t parent; /* 0: the root, which is the empty path */
    uint32_t spot;
    uint32_t depth;  /* frames of the path; 0: the root */
    uint64_t weight; /* ns of samples with exactly this path, over all threads */
    uint64_t looks;  /* at threads with this path */
};

/* A stretch of a thread's time with one path, on the clock of the recording. With a metric other than wall
 * time, stretches that weigh nothing are left out. */
struct path_sample {
    uint32_t path;
    uint64_t start_ns;
    uint64_t span_ns;
    uint64_t weight; /* ns of the metric */
    uint64_t looks;
};

/* One thread's samples, delta-coded; neighbours with the same path that follow each other at once are one.
 * While reading, the last sample is kept apart, as the next may prolong it. */
struct path_sequence {
    struct buf bytes;
    uint64_t start_ns;        /* of the first */
    uint64_t weight;          /* sum */
    struct path_sample last;  /* weight 0: none */
    struct path_sample coded; /* the one before it, to which it is coded */
};

/* Invariant: nodes[i].parent < i. by_child maps (parent, spot) to a node; by_spot (code, line) to a spot;
 * of_node maps a stack node of the recording's present epoch to a node. */
struct paths {
    struct path_node *nodes;
    uint32_t count;
    uint32_t cap;
    struct path_spot *spots;
    uint32_t spot_count;
    size_t spot_cap;
    struct map by_child, by_spot;
    struct map of_node;
    struct path_sequence *threads; /* by index of the thread in the recording */
    uint32_t thread_count;
    /* While reading. */
    struct rec_reader *reader;
    const struct export_options *options;
    bool sequences; /* keep them, not only the sums of nodes */
};

/* Runs the reader and takes what the options ask for. Each path has at least one spot. 0 or a negative errno;
 * release it also then. */
int paths_read(struct paths *p, struct rec_reader *r, const struct export_options *o, bool sequences);
void paths_release(struct paths *p);

/* Walks the samples of a thread: start with paths_start and a zeroed sample. False at the end. */
struct cursor paths_start(const struct paths *p, uint32_t thread);
bool paths_next(struct cursor *c, struct path_sample *s);

/* The nodes from below the root to `node`, root first, into *stack (grown as needed, freed by the caller). */
int paths_unwind(const struct paths *p, uint32_t node, uint32_t **stack, uint32_t *cap, uint32_t *depth);

#endif
