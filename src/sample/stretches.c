/* stretches: see stretches.h. */
#include "sample/stretches.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Over how much running time the difference to the scheduler's account is made up for: long beside the time
 * between looks and between waits, so that it falls on all stacks alike. */
#define HORIZON_NS ((int64_t)(64 * NS_PER_MS))
/* Looks held at most: a few ticks of the kernel's, at the highest rate. Beyond, the oldest are settled. */
#define HELD_MAX 4096

void stretches_init(struct stretches *s, uint64_t now_ns, uint64_t run_ns)
{
    *s = (struct stretches){.last_ns = now_ns, .given_ns = run_ns};
}

void stretches_release(struct stretches *s)
{
    free(s->held);
    *s = (struct stretches){0};
}

static struct look *held(const struct stretches *s, size_t i)
{
    return &s->held[(s->first + i) & (s->cap - 1)];
}

static int reserve(struct stretches *s)
{
    if (s->count < s->cap)
        return 0;
    size_t cap = s->cap ? 2 * s->cap : 16;
    struct look *looks = malloc(cap * sizeof(*looks));
    if (!looks)
        return -ENOMEM;
    for (size_t i = 0; i < s->count; i++)
        looks[i] = *held(s, i);
    free(s->held);
    s->held = looks;
    s->first = 0;
    s->cap = cap;
    return 0;
}

/* Takes off the CPU time of half a gap what of it was a wait for a CPU. Returns what is left of the wait. */
static uint64_t take_off(struct stretches *s, uint64_t *cpu_ns, uint64_t half_ns, uint64_t queued_ns)
{
    uint64_t waited_ns = min_u64(queued_ns, half_ns), off_ns = min_u64(*cpu_ns, waited_ns);
    *cpu_ns -= off_ns;
    s->cpu_ns -= off_ns;
    return queued_ns - waited_ns;
}

/* The wait for a CPU that ended before the newest look: it lies before that look's half of the gap. */
static void take_off_wait(struct stretches *s, uint64_t queued_ns)
{
    for (size_t i = s->count; queued_ns && i-- > 0;) {
        struct look *l = held(s, i);
        if (i + 1 < s->count) {
            l->state &= (uint8_t)~REC_ON_CPU;
            queued_ns = take_off(s, &l->late_ns, l->gap_ns - l->gap_ns / 2, queued_ns);
        }
        queued_ns = take_off(s, &l->early_ns, l->gap_ns / 2, queued_ns);
    }
}

int stretches_add(struct stretches *s, uint64_t now_ns, const struct looked *looked)
{
    int err = reserve(s);
    if (err)
        return err;
    uint64_t gap_ns = now_ns - s->last_ns, early_ns = gap_ns / 2;
    struct look *l = held(s, s->count++);
    *l = (struct look){.at_ns = now_ns,
                       .gap_ns = gap_ns,
                       .early_ns = s->was_running ? early_ns : 0,
                       .late_ns = looked->running ? gap_ns - early_ns : 0,
                       .stack = looked->stack,
                       .syscall = looked->syscall,
                       .state = looked->state};
    s->cpu_ns += l->early_ns + l->late_ns;
    s->last_ns = now_ns;
    s->was_running = looked->running;
    take_off_wait(s, looked->queued_ns);
    return 0;
}

void stretches_rest(struct stretches *s, uint64_t now_ns)
{
    struct stretch *o = &s->open;
    if (!o->count) {
        o->start_ns = s->last_ns;
        o->cpu_ns = 0;
    }
    o->end_ns = s->last_ns = now_ns;
    o->count++;
}

void stretches_reckon(struct stretches *s, uint64_t run_ns)
{
    s->short_ns = (int64_t)run_ns - (int64_t)(s->given_ns + s->cpu_ns);
}

/* The CPU time that a half of a gap gets, of which the thread ran for ran_ns. */
static uint64_t give(struct stretches *s, uint64_t ran_ns)
{
    int64_t ran = (int64_t)ran_ns, more = s->short_ns;
    if (ran < HORIZON_NS)
        more = more / HORIZON_NS * ran + more % HORIZON_NS * ran / HORIZON_NS;
    more = more < -ran ? -ran : more;
    s->short_ns -= more;
    s->cpu_ns -= ran_ns;
    s->given_ns += (uint64_t)(ran + more);
    return (uint64_t)(ran + more);
}

static void write_open(struct stretches *s, struct rec_writer *w, uint32_t thread)
{
    const struct stretch *o = &s->open;
    if (!o->count)
        return;
    struct rec_sample sample = {.thread = thread,
                                .stack = o->stack,
                                .end_ns = o->end_ns,
                                .wall_ns = o->end_ns - o->start_ns,
                                .cpu_ns = o->cpu_ns,
                                .count = o->count,
                                .syscall = o->syscall,
                                .state = o->state};
    rec_sample(w, &sample);
    s->open.count = 0;
}

/* Extends the open stretch by a look, or writes it and opens another; the two meet halfway. (Giving the whole
 * time to the later of the two would favour what ends in a wait over what begins after one.) */
static void settle(struct stretches *s, struct rec_writer *w, uint32_t thread, const struct look *l)
{
    struct stretch *o = &s->open;
    uint64_t early_ns = give(s, l->early_ns);
    bool extends = o->count && o->stack == l->stack && o->state == l->state && o->syscall == l->syscall;
    if (extends) {
        o->cpu_ns += early_ns;
    } else {
        uint64_t start_ns = l->at_ns - (o->count ? l->gap_ns - l->gap_ns / 2 : l->gap_ns);
        o->end_ns = start_ns;
        o->cpu_ns += early_ns;
        write_open(s, w, thread);
        *o = (struct stretch){
            .start_ns = start_ns, .stack = l->stack, .state = l->state, .syscall = l->syscall};
    }
    o->end_ns = l->at_ns;
    o->cpu_ns += give(s, l->late_ns);
    o->count++;
}

void stretches_settle(struct stretches *s, struct rec_writer *w, uint32_t thread, uint64_t until_ns)
{
    while (s->count && (held(s, 0)->at_ns <= until_ns || s->count > HELD_MAX)) {
        settle(s, w, thread, held(s, 0));
        s->first = (s->first + 1) & (s->cap - 1);
        s->count--;
    }
}

void stretches_flush(struct stretches *s, struct rec_writer *w, uint32_t thread)
{
    stretches_settle(s, w, thread, UINT64_MAX);
    write_open(s, w, thread);
}

void stretches_end(struct stretches *s, struct rec_writer *w, uint32_t thread)
{
    stretches_settle(s, w, thread, UINT64_MAX);
    int64_t cpu_ns = (int64_t)s->open.cpu_ns + s->short_ns;
    s->open.cpu_ns = cpu_ns > 0 ? (uint64_t)cpu_ns : 0;
    s->short_ns = 0;
    write_open(s, w, thread);
}
