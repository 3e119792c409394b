/* analysis: the tables against a fold that walks each sample's stack, one by one, as slowly as it is obvious.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/profile.h"
#include "base/map.h"
#include "support.h"

/* The obvious fold ------------------------------------------------------------------------------------ */

/* Looked up by content, not by the reader's ids. Lines are 10 to 13 (support.c). */
#define LINES 4
/* Of sums of floats. */
#define FLOAT_ERROR 1e-4
struct tables {
    struct weights function_self[FUNCTIONS];
    struct weights function_total[FUNCTIONS];
    struct weights line_self[FUNCTIONS][LINES];
    struct weights line_total[FUNCTIONS][LINES];
    struct weights call_self[FUNCTIONS][FUNCTIONS];
    struct weights call_total[FUNCTIONS][FUNCTIONS];
    struct weights thread[THREADS];
    struct weights sum;
};

static void add(struct weights *to, const struct weights *w)
{
    uint64_t *a = (uint64_t *)to;
    const uint64_t *b = (const uint64_t *)w;
    for (size_t i = 0; i < offsetof(struct weights, squared_gaps) / sizeof(uint64_t); i++)
        a[i] += b[i];
    to->squared_gaps += w->squared_gaps;
}

/* What model.h and profile.h say of one sample. */
static struct weights weights_of_one(const struct rec_sample *s)
{
    bool on_cpu = s->state & REC_ON_CPU;
    bool gil_wait = s->state & REC_GIL_WAIT;
    bool gc = s->state & REC_IN_GC;
    double gap_us = fmax((double)s->wall_ns / s->count, (double)some_header().period_ns) / 1e3;
    bool blocked = !on_cpu && !gil_wait && s->wall_ns > s->cpu_ns;
    return (struct weights){.wall = s->wall_ns,
                            .cpu = s->cpu_ns,
                            .gil_held = s->state & REC_GIL_HELD ? s->wall_ns : 0,
                            .gil_wait = gil_wait ? s->wall_ns : 0,
                            .gc = gc ? s->wall_ns : 0,
                            .in_c = s->state & REC_IN_C && !gc ? s->cpu_ns : 0,
                            .blocked = blocked ? s->wall_ns - s->cpu_ns : 0,
                            .samples = s->count,
                            .squared_gaps = gap_us * gap_us};
}

static void add_stack(struct tables *t, const struct scenario *s, const struct stack *stack,
                      const struct weights *w)
{
    static bool function_seen[FUNCTIONS];
    static bool line_seen[FUNCTIONS][LINES];
    static bool call_seen[FUNCTIONS][FUNCTIONS];
    memset(function_seen, 0, sizeof(function_seen));
    memset(line_seen, 0, sizeof(line_seen));
    memset(call_seen, 0, sizeof(call_seen));
    for (uint32_t i = 0; i < stack->depth; i++) {
        bool leaf = i + 1 == stack->depth;
        uint32_t code = s->frame_code[stack->frames[i]];
        uint32_t line = s->frame_line[stack->frames[i]] - 10;
        if (leaf)
            add(&t->function_self[code], w);
        if (!function_seen[code])
            add(&t->function_total[code], w);
        function_seen[code] = true;
        if (leaf)
            add(&t->line_self[code][line], w);
        if (!line_seen[code][line])
            add(&t->line_total[code][line], w);
        line_seen[code][line] = true;
        if (i == 0)
            continue;
        uint32_t caller = s->frame_code[stack->frames[i - 1]];
        if (leaf)
            add(&t->call_self[caller][code], w);
        if (!call_seen[caller][code])
            add(&t->call_total[caller][code], w);
        call_seen[caller][code] = true;
    }
}

/* The samples as the reader gives them, with their stacks as the scenario knows them. */
struct folding {
    struct tables *t;
    const struct scenario *s;
    const struct profile_filter *filter;
    size_t seen;
};

static int fold_one(void *ctx, const struct rec_sample *sample)
{
    struct folding *f = ctx;
    const struct stack *stack = &f->s->stacks[f->seen++];
    bool task = sample->state & REC_TASK;
    bool pid = !f->filter->pid || f->filter->pid == 100 + sample->thread % PROCESSES;
    bool tid = !f->filter->tid || f->filter->tid == 200 + sample->thread;
    if (!pid || !tid || task != f->filter->tasks)
        return 0;
    struct weights w = weights_of_one(sample);
    add(&f->t->sum, &w);
    if (!task)
        add(&f->t->thread[sample->thread], &w);
    add_stack(f->t, f->s, stack, &w);
    return 0;
}

static void fold_slowly(struct tables *t, const struct scenario *s, int fd,
                        const struct profile_filter *filter)
{
    memset(t, 0, sizeof(*t));
    struct folding f = {.t = t, .s = s, .filter = filter};
    struct rec_reader *r;
    assert_int_equal(rec_reader_new(file_again(fd), &r), 0);
    assert_int_equal(rec_reader_run(r, &(struct rec_events){.sample = fold_one}, &f), 0);
    assert_int_equal(f.seen, s->count);
    rec_reader_free(r);
}

/* Comparisons ----------------------------------------------------------------------------------------- */

static void assert_weights(const struct weights *a, const struct weights *b)
{
    assert_memory_equal(a, b, offsetof(struct weights, squared_gaps));
    assert_true(fabs(a->squared_gaps - b->squared_gaps) <= b->squared_gaps * FLOAT_ERROR);
}

static bool weighs(const struct weights *w)
{
    return w->wall || w->cpu || w->samples;
}

static uint32_t function_of(const struct profile *p, uint32_t code)
{
    unsigned known;
    const char *name =
        rec_reader_string(profile_reader(p), rec_reader_code(profile_reader(p), code).name, NULL);
    assert_int_equal(sscanf(name, "f%u", &known), 1);
    return known;
}

static void check_functions(struct profile *p, const struct tables *t, enum metric by)
{
    size_t n;
    const struct profile_function *got = profile_functions(p, by, &n);
    size_t want = 0;
    for (size_t i = 0; i < FUNCTIONS; i++)
        want += weighs(&t->function_total[i]);
    assert_int_equal(n, want);
    for (size_t i = 0; i < n; i++) {
        uint32_t known = function_of(p, got[i].code);
        assert_weights(&got[i].self, &t->function_self[known]);
        assert_weights(&got[i].total, &t->function_total[known]);
        if (i)
            assert_true(weights_of(&got[i - 1].self, by) >= weights_of(&got[i].self, by));
    }
}

static void check_lines(struct profile *p, const struct tables *t, enum metric by)
{
    size_t n;
    const struct profile_line *got = profile_lines(p, by, &n);
    size_t want = 0;
    for (size_t i = 0; i < FUNCTIONS * LINES; i++)
        want += weighs(&t->line_total[i / LINES][i % LINES]);
    assert_int_equal(n, want);
    for (size_t i = 0; i < n; i++) {
        uint32_t known = function_of(p, got[i].code);
        assert_weights(&got[i].self, &t->line_self[known][got[i].line - 10]);
        assert_weights(&got[i].total, &t->line_total[known][got[i].line - 10]);
        if (i)
            assert_true(weights_of(&got[i - 1].self, by) >= weights_of(&got[i].self, by));
    }
}

/* Calls of one function; both directions must give the same numbers. */
static void check_calls_of(struct profile *p, const struct tables *t, uint32_t code)
{
    uint32_t known = function_of(p, code);
    struct profile_function *callers;
    struct profile_function *callees;
    size_t n;
    size_t m;
    assert_int_equal(profile_callers(p, code, METRIC_WALL, &callers, &n), 0);
    assert_int_equal(profile_callees(p, code, METRIC_WALL, &callees, &m), 0);
    size_t want_n = 0;
    size_t want_m = 0;
    for (size_t i = 0; i < FUNCTIONS; i++) {
        want_n += weighs(&t->call_total[i][known]);
        want_m += weighs(&t->call_total[known][i]);
    }
    assert_int_equal(n, want_n);
    assert_int_equal(m, want_m);
    for (size_t i = 0; i < n; i++) {
        uint32_t caller = function_of(p, callers[i].code);
        assert_weights(&callers[i].self, &t->call_self[caller][known]);
        assert_weights(&callers[i].total, &t->call_total[caller][known]);
    }
    for (size_t i = 0; i < m; i++) {
        uint32_t callee = function_of(p, callees[i].code);
        assert_weights(&callees[i].self, &t->call_self[known][callee]);
        assert_weights(&callees[i].total, &t->call_total[known][callee]);
        if (i)
            assert_true(callees[i - 1].total.wall >= callees[i].total.wall);
    }
    free(callers);
    free(callees);
}

static void check_calls(struct profile *p, const struct tables *t)
{
    size_t n;
    const struct profile_function *functions = profile_functions(p, METRIC_WALL, &n);
    for (size_t i = 0; i < n; i++)
        check_calls_of(p, t, functions[i].code);
}

/* Parents come first, paths are distinct, and the selves make up the sum. */
static void check_nodes(const struct profile *p, const struct tables *t)
{
    size_t n;
    const struct profile_node *nodes = profile_nodes(p, &n);
    struct weights sum = {0};
    struct map seen;
    map_init(&seen);
    for (uint32_t i = 0; i < n; i++) {
        add(&sum, &nodes[i].self);
        if (i == 0)
            continue;
        assert_true(nodes[i].parent < i);
        uint64_t key = (uint64_t)nodes[i].parent << 32 | nodes[i].frame;
        assert_true(map_get(&seen, key) == MAP_NONE);
        assert_int_equal(map_put(&seen, key, i), 0);
    }
    assert_weights(&sum, &t->sum);
    map_release(&seen);
}

static void check_threads(const struct profile *p, const struct tables *t,
                          const struct profile_filter *filter)
{
    size_t n;
    const struct profile_thread *threads = profile_threads(p, &n);
    struct weights by_process[PROCESSES] = {0};
    for (size_t i = 0; i < n; i++) {
        assert_weights(&threads[i].sum, &t->thread[threads[i].thread]);
        add(&by_process[threads[i].thread % PROCESSES], &threads[i].sum);
    }
    assert_int_equal(n, filter->tid ? 1 : filter->pid ? (filter->pid == 100 ? 3 : 2) : THREADS);
    const struct profile_process *processes = profile_processes(p, &n);
    assert_int_equal(n, filter->pid ? 1 : PROCESSES);
    for (size_t i = 0; i < n; i++)
        assert_weights(&processes[i].sum, &by_process[processes[i].process]);
}

static void check_profile(const struct scenario *s, int fd, const struct profile_filter *filter)
{
    static struct tables t;
    fold_slowly(&t, s, fd, filter);
    assert_true(weighs(&t.sum));
    struct rec_reader *r;
    struct profile *p;
    assert_int_equal(rec_reader_new(file_again(fd), &r), 0);
    assert_int_equal(profile_new(r, filter, &p), 0);
    assert_weights(profile_sum(p), &t.sum);
    for (enum metric by = 0; by < METRIC_COUNT; by++) {
        check_functions(p, &t, by);
        check_lines(p, &t, by);
    }
    check_calls(p, &t);
    check_nodes(p, &t);
    check_threads(p, &t, filter);
    profile_free(p);
    rec_reader_free(r);
}

/* Tests ----------------------------------------------------------------------------------------------- */

static void tables_agree_with_the_obvious_fold(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed;
        uint32_t samples;
        uint32_t max_depth;
        struct profile_filter filter;
    } rows[] = {
        {1, 300, 5, {0}},
        {2, 3000, 40, {0}},
        {3, 3000, 200, {0}},
        {4, 3000, 40, {.pid = 101}},
        {5, 3000, 40, {.tid = 203}},
        {6, 3000, 40, {.tasks = true}},
        {7, 3000, 40, {.pid = 100, .tasks = true}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scenario s;
        int fd = memory_file();
        scenario_open(&s, dup(fd), rows[i].seed);
        for (uint32_t n = 1; n <= rows[i].samples; n++) {
            scenario_sample(&s, rows[i].max_depth);
            if (n % 100 == 0)
                rec_flush(s.w);
        }
        assert_int_equal(scenario_close(&s), 0);
        check_profile(&s, fd, &rows[i].filter);
        scenario_release(&s);
        close(fd);
    }
}

static void fill_nodes(struct rec_writer *w, uint32_t frame)
{
    uint32_t node = REC_NO_STACK;
    while (!rec_wants_flush(w))
        node = rec_push(w, node, frame);
    rec_flush(w);
}

static void epochs_are_merged(void **state)
{
    (void)state;
    struct scenario s;
    int fd = memory_file();
    scenario_open(&s, dup(fd), 8);
    for (int epoch = 0; epoch < 4; epoch++) {
        for (int i = 0; i < 500; i++)
            scenario_sample(&s, 20);
        fill_nodes(s.w, s.frame_id[0]);
    }
    assert_int_equal(rec_epoch(s.w), 5);
    assert_int_equal(scenario_close(&s), 0);
    check_profile(&s, fd, &(struct profile_filter){0});
    scenario_release(&s);
    close(fd);
}

struct small {
    int fd;
    struct scenario s;
    struct rec_reader *r;
    struct profile *p;
};

static void small_open(struct small *m)
{
    m->fd = memory_file();
    scenario_open(&m->s, dup(m->fd), 1);
}

static void small_fold(struct small *m)
{
    assert_int_equal(rec_reader_new(file_again(m->fd), &m->r), 0);
    assert_int_equal(profile_new(m->r, NULL, &m->p), 0);
}

static void small_close(struct small *m)
{
    profile_free(m->p);
    rec_reader_free(m->r);
    scenario_release(&m->s);
    close(m->fd);
}

/* 10^5 frames of one function, seen at many depths: quadratic work would not end, a recursion would crash. */
static void a_deep_recursion_counts_once(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    struct small m;
    small_open(&m);
    uint32_t node = REC_NO_STACK;
    struct rec_sample sample = {.wall_ns = 1000000, .cpu_ns = 1000000, .count = 1, .state = REC_ON_CPU};
    for (uint32_t i = 1; i <= DEPTH; i++) {
        node = rec_push(m.s.w, node, m.s.frame_id[0]);
        sample.stack = node;
        sample.end_ns = STARTED_NS + i * 1000000ull;
        rec_sample(m.s.w, &sample);
    }
    assert_int_equal(scenario_close(&m.s), 0);
    small_fold(&m);
    size_t n;
    const struct profile_function *functions = profile_functions(m.p, METRIC_WALL, &n);
    assert_int_equal(n, 1);
    assert_int_equal(functions[0].self.samples, DEPTH);
    assert_int_equal(functions[0].total.samples, DEPTH);
    assert_true(functions[0].total.wall == DEPTH * 1000000ull);
    struct profile_function *callers;
    assert_int_equal(profile_callers(m.p, functions[0].code, METRIC_WALL, &callers, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(callers[0].total.samples, DEPTH - 1);
    free(callers);
    small_close(&m);
}

/* More distinct stacks than profile_nodes holds: the other tables stay exact, and nothing is lost. */
static void too_many_stacks_weigh_on_their_callers(void **state)
{
    (void)state;
    enum { STACKS = 800000 };
    struct small m;
    small_open(&m);
    struct rec_sample sample = {.wall_ns = 1000000, .count = 1};
    for (uint32_t i = 0; i < STACKS; i++) {
        uint32_t node = REC_NO_STACK;
        for (uint32_t bits = i; bits; bits /= 16)
            node = rec_push(m.s.w, node, m.s.frame_id[bits % 16]);
        sample.stack = rec_push(m.s.w, node, m.s.frame_id[20]);
        sample.end_ns = STARTED_NS + i * 1000000ull;
        rec_sample(m.s.w, &sample);
        if (rec_wants_flush(m.s.w))
            rec_flush(m.s.w);
    }
    assert_int_equal(scenario_close(&m.s), 0);
    small_fold(&m);
    size_t n;
    const struct profile_function *functions = profile_functions(m.p, METRIC_WALL, &n);
    assert_int_equal(functions[0].self.samples, STACKS);
    assert_int_equal(functions[0].total.samples, STACKS);
    const struct profile_node *nodes = profile_nodes(m.p, &n);
    assert_int_equal(n, 786432);
    uint64_t samples = 0;
    for (size_t i = 0; i < n; i++)
        samples += nodes[i].self.samples;
    assert_int_equal(samples, STACKS);
    small_close(&m);
}

static void totals_of_the_recording(void **state)
{
    (void)state;
    struct small m;
    small_open(&m);
    struct rec_writer *w = m.s.w;
    uint32_t detail = rec_string(w, "why", 3);
    for (uint64_t i = 1; i <= 5; i++)
        rec_loss(w, &(struct rec_loss){
                        .kind = REC_LOSS_TORN, .time_ns = STARTED_NS, .count = i, .detail = detail});
    rec_loss(w, &(struct rec_loss){.kind = REC_LOSS_PROCESS, .time_ns = STARTED_NS, .count = 1});
    rec_stats(w, &(struct rec_stats){.time_ns = STARTED_NS, .ticks = 1});
    rec_stats(w, &(struct rec_stats){.time_ns = STARTED_NS, .ticks = 2});
    rec_sample(w, &(struct rec_sample){.thread = 1,
                                       .end_ns = STARTED_NS + 5000000,
                                       .wall_ns = 4000000,
                                       .cpu_ns = 3000000,
                                       .count = 1,
                                       .state = REC_ON_CPU});
    rec_exit(w, &(struct rec_exit){.process = 0, .end_ns = STARTED_NS + 1, .code = 4, .cpu_ns = 9000000});
    assert_int_equal(rec_writer_free(w, &(struct rec_end){.ended_ns = STARTED_NS + 6000000}), 0);
    small_fold(&m);
    assert_int_equal(profile_loss(m.p, REC_LOSS_TORN), 15);
    assert_int_equal(profile_loss(m.p, REC_LOSS_PROCESS), 1);
    assert_int_equal(profile_loss(m.p, REC_LOSS_MISSED), 0);
    size_t n;
    const uint32_t *details = profile_loss_details(m.p, &n);
    assert_int_equal(n, 1);
    assert_string_equal(rec_reader_string(m.r, details[0], NULL), "why");
    assert_int_equal(profile_stats(m.p)->ticks, 2);
    assert_int_equal(profile_elapsed_ns(m.p), 6000000);
    assert_int_equal(profile_cpu_ns(m.p), 9000000 + 3000000);
    const struct profile_process *processes = profile_processes(m.p, &n);
    assert_int_equal(n, PROCESSES);
    assert_int_equal(processes[0].code, 4);
    assert_int_equal(processes[1].code, REC_NO_CODE);
    assert_int_equal(processes[1].end_ns, 0);
    small_close(&m);
}

/* Without an end block the time goes to the latest event. */
static void a_cut_recording_ends_with_its_last_event(void **state)
{
    (void)state;
    struct small m;
    small_open(&m);
    rec_sample(m.s.w, &(struct rec_sample){.end_ns = STARTED_NS + 5000000, .wall_ns = 4000000, .count = 1});
    assert_int_equal(rec_writer_free(m.s.w, NULL), 0);
    small_fold(&m);
    assert_int_equal(profile_elapsed_ns(m.p), 5000000);
    small_close(&m);
}

/* The kernel's CPU time of a PID goes over an exec, which begins a new entry: the time is not counted twice.
 */
static void an_exec_does_not_count_twice(void **state)
{
    (void)state;
    struct small m;
    small_open(&m);
    struct rec_writer *w = m.s.w;
    uint32_t after = rec_process(w, &(struct rec_process){.pid = 100, .start_ns = STARTED_NS + 2000000});
    rec_sample(w, &(struct rec_sample){.thread = 0,
                                       .end_ns = STARTED_NS + 2000000,
                                       .wall_ns = 1000000,
                                       .cpu_ns = 1000000,
                                       .count = 1,
                                       .state = REC_ON_CPU});
    rec_exit(w, &(struct rec_exit){.process = after, .end_ns = STARTED_NS + 3000000, .cpu_ns = 8000000});
    assert_int_equal(rec_writer_free(w, NULL), 0);
    small_fold(&m);
    assert_int_equal(profile_cpu_ns(m.p), 8000000);
    small_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_agree_with_the_obvious_fold),
        cmocka_unit_test(epochs_are_merged),
        cmocka_unit_test(a_deep_recursion_counts_once),
        cmocka_unit_test(too_many_stacks_weigh_on_their_callers),
        cmocka_unit_test(totals_of_the_recording),
        cmocka_unit_test(a_cut_recording_ends_with_its_last_event),
        cmocka_unit_test(an_exec_does_not_count_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
