/* sampler: see sampler.h.
 *
 * Ticks stand on a grid of the period, each moved by a random part of it, so that a program which itself
 * keeps time is not always met at the same point. A tick that comes too late is counted as missed, and the
 * next look's samples stand for the time in between.
 */
#include "sample/sampler.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "os/watch.h"
#include "sample/target.h"

#define FLUSH_NS NS_PER_S
/* Births and the end of the duration are looked for this often: with the tick that is due by then, or without
 * one where ticks are rarer. Without a pause between looks, signals as well. */
#define HOUSEKEEPING_NS (2 * NS_PER_MS)
/* Part of the period by which a tick is moved at most. */
#define JITTER_PART 4

/* How long a thread that is to be held is waited for: at one look of many, and at the only one. */
#define PATIENCE_NS (500 * NS_PER_US)
#define PATIENCE_ONCE_NS NS_PER_S

struct sampler {
    struct sampling sampling;
    struct watch watch;
    const struct signals *signals;
    const struct sampler_options *options;
    struct sampler_result *result;
    pid_t root;
    struct target **targets;
    size_t count, cap;
    uint64_t now_ns, started_ns, next_ns, flushed_ns, kept_house_ns;
    uint64_t native_next_ns; /* when native stacks are due */
    uint64_t random;
    bool over;
};

static int add_target(struct sampler *s, pid_t pid, pid_t ppid)
{
    struct target **targets = list_room(s->targets, &s->cap, s->count, sizeof(struct target *));
    if (!targets)
        return -ENOMEM;
    s->targets = targets;
    int err = target_new(&s->sampling, &(struct source){.pid = pid}, ppid, s->now_ns, &s->targets[s->count]);
    if (!err)
        s->count++;
    return err;
}

static bool is_target(const struct sampler *s, pid_t pid)
{
    for (size_t i = 0; i < s->count; i++) {
        if (target_pid(s->targets[i]) == pid)
            return true;
    }
    return false;
}

static void on_born(void *ctx, pid_t pid, pid_t ppid)
{
    struct sampler *s = ctx;
    if (!s->options->alone && is_target(s, ppid) && !is_target(s, pid))
        add_target(s, pid, ppid);
}

static void remember_root(struct sampler *s, const struct target *t)
{
    struct sampler_result *r = s->result;
    r->found = target_found(t);
    for (size_t i = 0; i < PY_VERSION_MAX; i++)
        r->version[i] = target_version(t)[i];
}

static void end_target(struct sampler *s, size_t i, int32_t code, int32_t signal)
{
    target_end(s->targets[i], s->now_ns, code, signal);
    target_free(s->targets[i]);
    s->targets[i] = s->targets[--s->count];
}

static void root_ended(struct sampler *s, int32_t code, int32_t signal)
{
    for (size_t i = 0; i < s->count; i++) {
        if (target_pid(s->targets[i]) == s->root) {
            end_target(s, i, code, signal);
            break;
        }
    }
    s->over = true;
}

/* Our own child: has it ended? Its CPU time is read before it is reaped. */
static void look_for_end(struct sampler *s)
{
    struct child_end *end = &s->result->end;
    s->now_ns = clock_ns();
    for (size_t i = 0; i < s->count; i++)
        target_read_cpu(s->targets[i]);
    if (child_poll(s->root, end) == 1)
        root_ended(s, end->signal ? REC_NO_CODE : end->code, end->signal);
}

static void take_signals(struct sampler *s)
{
    for (;;) {
        switch (signals_take(s->signals, s->options->own_child ? s->root : 0)) {
        case SIGNAL_NONE:
            return;
        case SIGNAL_CHILD:
            /* Waiting for the child would take the stop of a thread that is late, which then stood for ever:
             * first that thread goes on, for which this signal comes. */
            late_poll(&s->sampling.late);
            if (s->options->own_child && !late_claims(&s->sampling.late, s->root))
                look_for_end(s);
            break;
        case SIGNAL_STOP:
            s->result->stopped = s->over = true;
            return;
        }
    }
}

static void look_at_all(struct sampler *s)
{
    for (size_t i = 0; i < s->count;) {
        struct target *t = s->targets[i];
        target_look(t, s->now_ns);
        bool is_root = target_pid(t) == s->root;
        if (is_root)
            remember_root(s, t);
        bool gone = target_phase(t) == TARGET_GONE;
        if (gone && !is_root)
            end_target(s, i, REC_NO_CODE, 0);
        else if (gone && !s->options->own_child)
            root_ended(s, REC_NO_CODE, 0);
        else
            i++; /* a child of our own that is gone is a zombie: SIGCHLD brings its status */
    }
    s->result->ticks++;
    if (s->result->ticks == s->options->looks)
        s->result->stopped = s->over = true;
}

static void flush(struct sampler *s)
{
    uint64_t reads = 0, bytes = 0;
    for (size_t i = 0; i < s->count; i++) {
        target_flush(s->targets[i]);
        target_count_reads(s->targets[i], &reads, &bytes);
    }
    sampling_report(&s->sampling, s->now_ns, s->result->ticks, reads, bytes);
    rec_flush(s->sampling.writer);
    s->flushed_ns = s->now_ns;
}

static void keep_house(struct sampler *s)
{
    s->kept_house_ns = s->now_ns;
    watch_poll(&s->watch, on_born, s);
    if (s->options->duration_ns && s->now_ns - s->started_ns >= s->options->duration_ns)
        s->result->stopped = s->over = true;
    if (s->options->give_up_ns && !s->sampling.pythons && s->now_ns - s->started_ns >= s->options->give_up_ns)
        s->result->stopped = s->over = true;
}

/* xorshift64: any spread will do. */
static uint64_t random_below(struct sampler *s, uint64_t limit)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return limit ? s->random % limit : 0;
}

/* When there is something to do next: at the tick, unless that is long after the housekeeping is due. */
static uint64_t next_deed(const struct sampler *s)
{
    uint64_t house_ns = s->kept_house_ns + HOUSEKEEPING_NS;
    return s->next_ns > house_ns + HOUSEKEEPING_NS ? house_ns : s->next_ns;
}

/* Waits until then; signals are taken first. */
static void wait_until(struct sampler *s, uint64_t deed_ns)
{
    struct pollfd fd = {.fd = s->signals->fd, .events = POLLIN};
    while (!s->over) {
        uint64_t now = clock_ns();
        uint64_t wait = deed_ns > now ? deed_ns - now : 0;
        struct timespec timeout = {.tv_sec = (time_t)(wait / NS_PER_S), .tv_nsec = (long)(wait % NS_PER_S)};
        if (ppoll(&fd, 1, &timeout, NULL) <= 0)
            return;
        take_signals(s);
    }
}

static void schedule_next(struct sampler *s)
{
    uint64_t period = s->options->period_ns;
    if (!period)
        return;
    uint64_t grid = s->next_ns - s->next_ns % period + period;
    if (s->now_ns > grid + period) {
        uint64_t late = (s->now_ns - grid) / period;
        s->sampling.losses[REC_LOSS_MISSED] += late;
        grid += late * period;
    }
    s->next_ns = grid + random_below(s, period / JITTER_PART);
}

/* Native stacks are due at the first look in each of their periods, or sooner when that
 * shows something new, but at most four times as often. */
static void plan_native(struct sampler *s)
{
    uint64_t period = s->options->native_ns;
    uint64_t sooner = s->sampling.native_soon ? period / 4 * 3 : 0;
    s->sampling.native_now = period && s->now_ns + sooner >= s->native_next_ns;
    if (!s->sampling.native_now)
        return;
    s->sampling.native_soon = false;
    s->native_next_ns = s->now_ns - s->now_ns % period + period;
}

static void loop(struct sampler *s)
{
    bool pauses = s->options->period_ns != 0;
    while (!s->over) {
        bool keeps_house = clock_ns() - s->kept_house_ns >= HOUSEKEEPING_NS;
        if (pauses || keeps_house)
            wait_until(s, pauses ? next_deed(s) : 0);
        if (s->over)
            return;
        s->now_ns = clock_ns();
        if (s->now_ns - s->kept_house_ns >= HOUSEKEEPING_NS)
            keep_house(s);
        if (pauses && s->now_ns < s->next_ns)
            continue;
        plan_native(s);
        look_at_all(s);
        if (s->now_ns - s->flushed_ns >= FLUSH_NS || rec_wants_flush(s->sampling.writer)) {
            flush(s);
            if (!s->options->flushed(s->options->ctx, s->now_ns))
                s->result->stopped = s->over = true;
        }
        schedule_next(s);
    }
}

/* Asks the scheduler for short turns: a thread that wants little at a time is put on a CPU sooner when it
 * wakes (EEVDF, Linux 6.12+; ignored before). Its share of the CPU stays what it was. */
static void ask_for_short_turns(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attr = {
        .size = sizeof(attr), .policy = SCHED_OTHER, .nice = getpriority(PRIO_PROCESS, 0), .runtime = 100000};
    syscall(SYS_sched_setattr, 0, &attr, 0);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
}

static int start(struct sampler *s)
{
    struct proc_stat st = {0};
    s->now_ns = s->started_ns = s->flushed_ns = s->next_ns = clock_ns();
    s->random = s->now_ns | 1;
    ask_for_short_turns();
    int err = watch_init(&s->watch);
    if (!err)
        err = proc_stat(s->root, &st);
    if (!err)
        err = add_target(s, s->root, st.ppid);
    /* A command of our own may have had children before the watch began, too. */
    if (!err)
        err = watch_existing(s->root, on_born, s);
    return err;
}

/* Waits until no thread is ours any more. */
static void poll_late(struct sampler *s, uint64_t patience_ns)
{
    const struct timespec glance = {.tv_nsec = (long)NS_PER_MS};
    uint64_t until_ns = clock_ns() + patience_ns;
    for (;;) {
        late_poll(&s->sampling.late);
        if (!s->sampling.late.count || clock_ns() >= until_ns)
            return;
        nanosleep(&glance, NULL);
    }
}

/* A thread that is late is let go on; one whose write does not end within a second is told what it has
 * written. One that is not of our child the end of zond lets go on after another second, too. */
static void end_late(struct sampler *s)
{
    poll_late(s, PATIENCE_ONCE_NS);
    late_interrupt(&s->sampling.late);
    poll_late(s, s->options->own_child ? UINT64_MAX / 2 : PATIENCE_ONCE_NS);
}

static void stop(struct sampler *s)
{
    end_late(s);
    s->now_ns = clock_ns();
    flush(s);
    for (size_t i = 0; i < s->count; i++)
        target_free(s->targets[i]);
    free(s->targets);
    watch_release(&s->watch);
    s->result->ended_ns = s->now_ns;
    s->result->samples = s->sampling.samples;
    s->result->pythons = s->sampling.pythons;
    sampling_release(&s->sampling);
}

int sampler_run(pid_t root, const struct signals *signals, struct rec_writer *writer,
                const struct sampler_options *options, struct sampler_result *result)
{
    struct sampler s = {
        .signals = signals, .options = options, .result = result, .root = root, .watch = {.fd = -1}};
    *result = (struct sampler_result){.end = {.code = -1}, .found = PY_NONE};
    int err = sampling_init(&s.sampling, writer);
    if (err)
        return err;
    s.sampling.native = options->native_ns;
    s.sampling.locals = options->locals;
    s.sampling.native_once = options->looks;
    s.sampling.patience_ns = options->looks ? PATIENCE_ONCE_NS : PATIENCE_NS;
    err = start(&s);
    if (!err)
        loop(&s);
    stop(&s);
    return err;
}
