/* sampler: the loop that looks at a tree of processes at a steady rate and writes what it sees.
 *
 * One thread does all of it. It speaks to nobody: what happened comes back in struct sampler_result.
 */
#ifndef ZOND_SAMPLE_SAMPLER_H
#define ZOND_SAMPLE_SAMPLER_H

#include "os/child.h"
#include "python/find.h"
#include "record/locals.h"
#include "record/writer.h"

struct sampler_options {
    uint64_t period_ns;        /* between looks; 0: no pause at all */
    uint64_t duration_ns;      /* 0: until the root process ends */
    uint64_t give_up_ns;       /* stop when no Python was found by then; 0: never */
    uint64_t looks;            /* stop after so many; 0: never */
    uint64_t native_ns;        /* between native stacks, for which threads that run are stopped; 0: none */
    struct rec_locals *locals; /* local variables of the frames go here; NULL: they are not read */
    bool alone;                /* only root, not the processes below it */
    bool own_child;            /* root was started by us: wait for it, pass signals on */
    /* Called about once a second, when the writer has everything up to now_ns. False: stop. */
    bool (*flushed)(void *ctx, uint64_t now_ns);
    void *ctx;
};

struct sampler_result {
    struct child_end end; /* of our own child; code -1 and signal 0 while it runs, or it is not ours */
    uint64_t ended_ns;
    uint64_t ticks, samples;
    uint64_t pythons;             /* processes with a Python that could be looked into */
    enum py_found found;          /* for the root: why there is no Python */
    char version[PY_VERSION_MAX]; /* of the root's Python, as far as it is known */
    bool stopped;                 /* by a signal to zond, the duration or `flushed`, before the root ended */
};

/* Returns when the root process has ended, the duration is over, or someone asked zond to stop. The writer
 * stays open: the caller ends the recording. */
int sampler_run(pid_t root, const struct signals *signals, struct rec_writer *writer,
                const struct sampler_options *options, struct sampler_result *result);

#endif
