/* What the unit tests share: repeatable random numbers, files in memory, and random recordings whose content
 * is known in full.
 */
#ifndef ZOND_TESTS_SUPPORT_H
#define ZOND_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "record/reader.h"
#include "record/writer.h"

struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *r);
/* 0 <= result < n */
uint32_t rng_below(struct rng *r, uint32_t n);

/* An empty file in memory. The test closes it. */
int memory_file(void);
/* All bytes of a file, whatever its offset. */
struct buf file_content(int fd);
/* A file in memory with these bytes, at offset 0. */
int file_with(const void *bytes, size_t len);
/* fd, reopened at offset 0: a writer closes its own. */
int file_again(int fd);

#define STARTED_NS 5000000000000ull

struct rec_header some_header(void);

/* A known stack: the frames' indices in the scenario, outermost first. */
struct stack {
    uint32_t depth;
    uint32_t *frames;
};

/* A recording that a test knows. Function i is named "f<i>" and stands in "file<i % 3>.py"; frame i is the
 * line frame_line[i] of function frame_code[i]. The stacks of the samples are in `stacks`, in order. */
#define FUNCTIONS 23
#define FRAMES 61
#define THREADS 5
#define PROCESSES 2

struct scenario {
    struct rng rng;
    struct rec_writer *w;
    uint32_t frame_code[FRAMES];
    uint32_t frame_line[FRAMES];
    uint32_t frame_id[FRAMES]; /* the writer's */
    uint64_t end_ns[THREADS];  /* of each thread's latest sample */
    size_t count;
    size_t cap;
    struct rec_sample *samples; /* as given to the writer, but for `stack`: it differs */
    struct stack *stacks;
};

/* Opens a writer on fd and announces tables, processes and threads: thread i belongs to process i %
 * PROCESSES, its pid is 100 + process, its tid 200 + i. */
void scenario_open(struct scenario *s, int fd, uint64_t seed);
/* Adds a random sample; stacks share callers with the one before and are up to max_depth deep. */
void scenario_sample(struct scenario *s, uint32_t max_depth);
/* Ends the writer, with an end block 1 ms after the latest sample. Returns its error. */
int scenario_close(struct scenario *s);
void scenario_release(struct scenario *s);

#endif
