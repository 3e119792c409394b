/* target: one process of the recorded tree: finding its Python, following its threads, looking at them.
 *
 * A target lives from the birth (or discovery) of a process to its end; an exec makes it anew. All of it
 * belongs to the sampler's thread.
 */
#ifndef ZOND_SAMPLE_TARGET_H
#define ZOND_SAMPLE_TARGET_H

#include "base/histogram.h"
#include "os/source.h"
#include "os/stop.h"
#include "python/code.h"
#include "python/find.h"
#include "python/state.h"
#include "record/locals.h"
#include "sample/thread.h"

/* What all targets share. */
struct sampling {
    struct rec_writer *writer;
    struct py_finder *finder;
    struct py_batch batch;
    struct py_walker *walker;
    struct py_stack stack;           /* room for PY_DEPTH_MAX frames */
    uint64_t tick_ns;                /* of the kernel's scheduler */
    uint64_t samples;                /* stacks looked at */
    uint64_t reads, bytes;           /* of targets that are gone */
    uint64_t losses[REC_LOSS_KINDS]; /* since the last flush */
    uint64_t pythons;                /* processes with a Python that could be looked into */
    struct rec_locals *locals;       /* where local variables go; NULL: they are not read */
    bool native;                     /* native stacks are wanted, */
    bool native_soon;                /* a thread does what it was not seen at natively */
    bool native_now;                 /* at this look, and */
    bool native_once;                /* at no other */
    uint64_t patience_ns;            /* how long to wait for a thread to stop */
    struct late late;                /* threads that are still ours */
    struct histogram pauses;         /* for how long threads were held, ns, since the last flush */
    uint64_t stops;                  /* threads stopped for them */
    uint64_t mismatches;             /* stacks whose native and Python frames did not fit */
};

int sampling_init(struct sampling *s, struct rec_writer *writer);
void sampling_release(struct sampling *s);
/* Writes what was lost since the last call, and zond's own figures. */
void sampling_report(struct sampling *s, uint64_t now_ns, uint64_t ticks, uint64_t reads, uint64_t bytes);

enum target_phase {
    TARGET_SEARCH, /* no Python found yet: looked for again from time to time */
    TARGET_PYTHON,
    TARGET_OPAQUE, /* cannot be looked into: told once */
    TARGET_GONE,
};

struct target;

/* 0 or a negative errno; the process is announced in the recording. */
int target_new(struct sampling *s, const struct source *source, pid_t ppid, uint64_t now_ns,
               struct target **out);
void target_free(struct target *t);

pid_t target_pid(const struct target *t);
enum target_phase target_phase(const struct target *t);
/* Why a target is opaque or still searched for: the last answer of py_find. */
enum py_found target_found(const struct target *t);
/* The Python in it, "" when none is known. */
const char *target_version(const struct target *t);

/* One look at all threads, or one more search for a Python. */
void target_look(struct target *t, uint64_t now_ns);
/* Writes the open stretches, so that a block holds everything up to now. */
void target_flush(struct target *t);
/* The process has ended (code and signal as far as they are known): writes what is open and its end. */
void target_end(struct target *t, uint64_t now_ns, int32_t code, int32_t signal);

/* Notes the CPU time of the process as it is now: the last chance is before a child is reaped. */
void target_read_cpu(struct target *t);
void target_count_reads(const struct target *t, uint64_t *reads, uint64_t *bytes);

#endif
