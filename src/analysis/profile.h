/* profile: a recording folded into tables. Numbers in, numbers out: no text, no layout.
 *
 * Everything a view shows comes from here, so that the text, the JSON and the exports cannot disagree.
 */
#ifndef ZOND_ANALYSIS_PROFILE_H
#define ZOND_ANALYSIS_PROFILE_H

#include "analysis/collections.h"
#include "analysis/memory.h"
#include "base/histogram.h"
#include "record/model.h"
#include "record/reader.h"

/* What a unit of weight is. */
enum metric {
    METRIC_WALL,
    METRIC_CPU,
    METRIC_GIL, /* time holding the GIL */
    METRIC_GC,  /* time in the garbage collector */
    METRIC_COUNT
};

/* Times in ns. Each is a sum over samples; they overlap (a sample can hold the GIL and be on a CPU). */
struct weights {
    uint64_t wall;
    uint64_t cpu;
    uint64_t gil_held;
    uint64_t gil_wait;
    uint64_t gc;
    uint64_t in_c;    /* CPU time in functions written in C, GC not counted */
    uint64_t blocked; /* wall time neither on a CPU nor waiting for the GIL */
    uint64_t samples; /* looks */
    /* Of the samples (looks in a row with one stack and state), the squared time between their looks, in
     * us^2: so well their lengths are known. 0: there is none. */
    double squared_gaps;
};

uint64_t weights_of(const struct weights *w, enum metric metric);

/* A function. self: it was the innermost frame; total: it was on the stack (once, however often it recurs).
 */
struct profile_function {
    uint32_t code; /* id in the reader */
    struct weights self;
    struct weights total;
};

/* A line of a function of one file. */
struct profile_line {
    uint32_t code;
    uint32_t line;
    struct weights self;
    struct weights total;
};

/* A thread, with the span of time in which it was seen. */
struct profile_thread {
    uint32_t thread;
    struct weights sum;
    uint64_t first_ns;
    uint64_t last_ns;
    bool taken; /* by the filter: always, once the profile is made */
    struct profile_seen {
        uint64_t end_ns;
        uint32_t stack, epoch;
        uint8_t state;
    } seen; /* its last sample, while the recording is read */
};

struct profile_process {
    uint32_t process;
    struct weights sum; /* over its threads */
    uint64_t end_ns;    /* 0 while unknown */
    int32_t code;       /* REC_NO_CODE if unknown */
    int32_t signal;
    uint64_t cpu_ns; /* of the whole process, by the kernel; 0 when unknown */
};

/* A distinct stack (whole path) with its own weight; `node` is an id of profile_nodes. */
struct profile_node {
    uint32_t parent; /* index, 0 = root (index 0 is the empty stack) */
    uint32_t frame;  /* id in the reader */
    struct weights self;
};

enum profile_without {
    PROFILE_WITHOUT_STACKS = 1,      /* profile_nodes: only the root */
    PROFILE_WITHOUT_CALLS = 2,       /* profile_callers, profile_callees: none */
    PROFILE_WITHOUT_STACK_LINES = 4, /* profile_nodes: stacks of functions, each by any of its frames */
};

/* Which samples to take. NULL pointers and 0 mean all. host, rank and part are of recordings that were
 * merged: a recording that was not is one part. */
struct profile_filter {
    uint32_t part;    /* only of this part: 1 + its index */
    const char *host; /* only recorded on this machine */
    uint64_t rank;    /* only of this rank: 1 + its number */
    uint32_t pid;     /* only this process; 0 = all */
    uint32_t tid;     /* only this thread; 0 = all */
    unsigned without; /* of enum profile_without: tables that nobody will ask for, which saves their time */
    bool tasks; /* take the await chains of waiting asyncio tasks (REC_TASK) instead of threads' stacks */
};

/* Whether the samples of a thread are taken, as far as it is the thread that decides. */
bool profile_takes(const struct profile_filter *f, const struct rec_reader *r, uint32_t thread);
bool profile_takes_process(const struct profile_filter *f, const struct rec_reader *r, uint32_t process);
/* The same of a heap, by its process. */
bool profile_takes_heap(const struct profile_filter *f, const struct rec_reader *r, uint32_t heap);

struct profile;

/* Runs the reader to its end and folds. r must outlive the profile. */
int profile_new(struct rec_reader *r, const struct profile_filter *filter, struct profile **out);
void profile_free(struct profile *p);

const struct rec_reader *profile_reader(const struct profile *p);
/* Sum over all samples taken. */
const struct weights *profile_sum(const struct profile *p);
/* Wall time of the recording, ns: from start to end (or to the last event when it is cut). */
uint64_t profile_elapsed_ns(const struct profile *p);
/* The same of each recording that was merged, summed: what a rate of looks refers to. */
uint64_t profile_recorded_ns(const struct profile *p);
/* CPU time of all processes: by the kernel where known, else from the samples. */
uint64_t profile_cpu_ns(const struct profile *p);
/* Losses by enum rec_loss_kind. */
uint64_t profile_loss(const struct profile *p, enum rec_loss_kind kind);
/* Sentences attached to losses, in order, without repeats: string ids. */
const uint32_t *profile_loss_details(const struct profile *p, size_t *count);
/* The last stats of the sampler. */
const struct rec_stats *profile_stats(const struct profile *p);
/* For how long threads were stopped, ns. */
const struct histogram *profile_pauses(const struct profile *p);

const struct profile_thread *profile_threads(const struct profile *p, size_t *count);
const struct profile_process *profile_processes(const struct profile *p, size_t *count);

/* What was allocated; NULL: the recording has no memory in it, or none that the filter takes. */
const struct memory_use *profile_memory(const struct profile *p);
/* Has it any, of whatever program? */
bool profile_has_memory(const struct profile *p);
/* Garbage collections; NULL: they were not recorded one by one, or not of what the filter takes. */
const struct collections_use *profile_collections(const struct profile *p);

/* Sorted by the metric: self first, then total, descending; ties by code and line. Owned by the profile,
 * valid until the next call of the same function. */
const struct profile_function *profile_functions(struct profile *p, enum metric by, size_t *count);
const struct profile_line *profile_lines(struct profile *p, enum metric by, size_t *count);

/* The trie of distinct stacks over all epochs, parents before children; index 0 is the root. It has at most
 * 786432 nodes: a stack beyond weighs on its innermost caller that is in the trie. The other tables have no
 * such limit. */
const struct profile_node *profile_nodes(const struct profile *p, size_t *count);

/* Callers and callees of one function: functions that are its direct neighbours on stacks. total: the stacks
 * on which the call is (once, however often it recurs); self: those that end with it. Sorted by total, then
 * self. The caller frees *out with free(). */
int profile_callers(const struct profile *p, uint32_t code, enum metric by, struct profile_function **out,
                    size_t *count);
int profile_callees(const struct profile *p, uint32_t code, enum metric by, struct profile_function **out,
                    size_t *count);

#endif
