/* stretches: from the looks at one thread to its samples.
 *
 * A look stands for half of the time to its neighbours, on the clock and, when the thread runs at it, on CPU.
 * That much is known at once. What is known later is how long the thread had waited for a CPU, as the
 * scheduler says so only when it gets one; therefore looks are held for a while before they become samples.
 * Looks in a row at the same stack and state make one sample, a stretch.
 *
 * Not thread-safe: the sampler's thread owns it. Knows nothing of stacks but their ids. */
#ifndef ZOND_SAMPLE_STRETCHES_H
#define ZOND_SAMPLE_STRETCHES_H

#include "record/writer.h"

/* One look. CPU time since the look before it: half of it is that look's, half this one's. */
struct look {
    uint64_t at_ns, gap_ns;
    uint64_t early_ns, late_ns; /* CPU time in the first and in the second half of the gap */
    uint32_t stack;
    uint16_t syscall;
    uint8_t state;
};

/* The stretch that is not written yet, as the next look may extend it. count 0: none. */
struct stretch {
    uint64_t start_ns, end_ns, cpu_ns;
    uint32_t stack, count;
    uint16_t syscall;
    uint8_t state;
};

/* Invariants: cap is 0 or a power of two; held[first, first + count), around its end, are in order of time,
 * cpu_ns is the sum of their CPU times; given_ns is what stretches have got. short_ns: how far the two
 * together fall short of the scheduler's account (negative: exceed it), for the sampling error and for bursts
 * between looks: looks to come get so much more or less, a little at a time. So sums follow the account, and
 * no stack is favoured for standing where the account is brought up to date. */
struct stretches {
    struct look *held;
    size_t first, count, cap;
    uint64_t cpu_ns, given_ns;
    int64_t short_ns;
    uint64_t last_ns; /* the last look */
    bool was_running; /* then */
    struct stretch open;
};

/* run_ns: the scheduler's account at now_ns, from where its CPU time counts. */
void stretches_init(struct stretches *s, uint64_t now_ns, uint64_t run_ns);
void stretches_release(struct stretches *s);

/* What to add besides the time. queued_ns: how long it had waited for its CPU, told since the last look. */
struct looked {
    uint32_t stack;
    uint16_t syscall;
    uint8_t state; /* enum rec_state; REC_ON_CPU is taken back where it turns out to have waited for a CPU */
    bool running;  /* has a CPU or waits for one */
    uint64_t queued_ns;
};

/* Adds a look at now_ns. 0 or -ENOMEM: it is not added, its time goes to the next. */
int stretches_add(struct stretches *s, uint64_t now_ns, const struct looked *looked);
/* The same as the last look, of a thread that waits: nothing is held. */
void stretches_rest(struct stretches *s, uint64_t now_ns);

/* The account stands at run_ns, as of the last look. */
void stretches_reckon(struct stretches *s, uint64_t run_ns);

/* Makes stretches of the looks up to until_ns, and writes those that are complete as samples of `thread`. */
void stretches_settle(struct stretches *s, struct rec_writer *w, uint32_t thread, uint64_t until_ns);
/* Writes all. */
void stretches_flush(struct stretches *s, struct rec_writer *w, uint32_t thread);
/* The same at the end of the thread: the last stretch gets what is still short of the account. */
void stretches_end(struct stretches *s, struct rec_writer *w, uint32_t thread);

#endif
