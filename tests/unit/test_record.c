/* record: what is written is read; what is cut, broken, unknown or too new is told; what does not fit is
 * counted. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "record/block.h"
#include "record/crc32c.h"
#include "record/format.h"
#include "support.h"

/* Reading along a scenario ---------------------------------------------------------------------------- */

struct lane_sums {
    uint64_t true_end;
    uint64_t read_end;
    uint64_t true_cpu;
    uint64_t read_cpu;
};

struct check {
    const struct scenario *s;
    struct rec_reader *r;
    size_t seen;
    uint32_t epochs;
    uint64_t lost[REC_LOSS_KINDS];
    struct lane_sums lanes[THREADS][REC_LANES];
};

static void check_stack(const struct check *c, uint32_t node, const struct stack *stack)
{
    for (uint32_t i = stack->depth; i-- > 0;) {
        assert_int_not_equal(node, REC_NO_STACK);
        struct rec_node n = rec_reader_node(c->r, node);
        uint32_t known = stack->frames[i];
        struct rec_frame frame = rec_reader_frame(c->r, n.frame);
        assert_int_equal(frame.column, known + 1);
        assert_int_equal(frame.line, c->s->frame_line[known]);
        assert_int_equal(rec_reader_code(c->r, frame.code).first_line, c->s->frame_code[known]);
        node = n.parent;
    }
    assert_int_equal(node, REC_NO_STACK);
}

/* Each time is off by less than a unit, and so is each sum: no error adds up. */
static void check_times(struct check *c, const struct rec_sample *got, const struct rec_sample *want)
{
    struct lane_sums *lane = &c->lanes[want->thread][rec_lane_of(want->state)];
    assert_in_range(want->end_ns - got->end_ns, 0, REC_TIME_UNIT_NS - 1);
    assert_true(llabs((long long)(want->wall_ns - got->wall_ns)) < REC_TIME_UNIT_NS);
    if (want->end_ns - want->wall_ns == lane->true_end)
        assert_true(got->end_ns - got->wall_ns == lane->read_end);
    lane->true_end = want->end_ns;
    lane->read_end = got->end_ns;
    lane->true_cpu += want->cpu_ns;
    lane->read_cpu += got->cpu_ns;
    assert_in_range(lane->true_cpu - lane->read_cpu, 0, REC_TIME_UNIT_NS - 1);
}

static int on_sample(void *ctx, const struct rec_sample *got)
{
    struct check *c = ctx;
    assert_true(c->seen < c->s->count);
    const struct rec_sample *want = &c->s->samples[c->seen];
    struct rec_thread thread = rec_reader_thread(c->r, got->thread);
    assert_int_equal(thread.tid, 200 + want->thread);
    assert_int_equal(rec_reader_process(c->r, thread.process).pid, 100 + want->thread % PROCESSES);
    assert_int_equal(got->state, want->state);
    assert_int_equal(got->syscall, want->syscall);
    assert_int_equal(got->count, want->count);
    check_times(c, got, want);
    check_stack(c, got->stack, &c->s->stacks[c->seen]);
    c->seen++;
    return 0;
}

static int on_epoch(void *ctx)
{
    ((struct check *)ctx)->epochs++;
    return 0;
}

static int on_loss(void *ctx, const struct rec_loss *l)
{
    ((struct check *)ctx)->lost[l->kind] += l->count;
    return 0;
}

static const struct rec_events check_events = {.sample = on_sample, .epoch = on_epoch, .loss = on_loss};

/* Reads fd from its offset to the end, checking each sample from c->seen on. */
static void read_on(struct check *c, int fd, enum rec_break want_break, uint64_t want_offset)
{
    assert_int_equal(rec_reader_new(fd, &c->r), 0);
    assert_int_equal(rec_reader_run(c->r, &check_events, c), 0);
    uint64_t offset;
    assert_int_equal(rec_reader_break(c->r, &offset), want_break);
    if (want_break != REC_WHOLE)
        assert_int_equal(offset, want_offset);
    assert_int_equal(rec_reader_end(c->r) != NULL, want_break == REC_WHOLE);
    rec_reader_free(c->r);
}

static struct check read_along(const struct scenario *s, int fd, enum rec_break want_break,
                               uint64_t want_offset)
{
    struct check c = {.s = s};
    read_on(&c, fd, want_break, want_offset);
    return c;
}

/* A finished recording of n samples, flushed after each `flush_every`. */
static int record(struct scenario *s, uint64_t seed, size_t n, size_t flush_every, uint32_t max_depth)
{
    int fd = memory_file();
    scenario_open(s, dup(fd), seed);
    for (size_t i = 1; i <= n; i++) {
        scenario_sample(s, max_depth);
        if (i % flush_every == 0)
            rec_flush(s->w);
    }
    assert_int_equal(scenario_close(s), 0);
    return file_again(fd);
}

/* Offsets of the blocks of a whole recording, and at the end its length. */
#define MAX_BLOCKS 64
struct blocks {
    size_t count;
    uint64_t at[MAX_BLOCKS + 1];
};

static struct blocks blocks_of(const struct buf *file)
{
    struct blocks b = {.at = {REC_PREAMBLE_SIZE}};
    while (b.at[b.count] < file->len) {
        struct block_head head;
        assert_int_equal(block_head_get(file->data + b.at[b.count], &head), 0);
        assert_true(b.count < MAX_BLOCKS);
        b.at[b.count + 1] = b.at[b.count] + BLOCK_HEAD_SIZE + head.stored;
        b.count++;
    }
    assert_int_equal(b.at[b.count], file->len);
    return b;
}

/* Tests: round trips ---------------------------------------------------------------------------------- */

static void random_recordings_come_back(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed;
        size_t samples;
        size_t flush_every;
        uint32_t max_depth;
    } rows[] = {
        {1, 0, 1, 10},        {2, 1, 1, 10},        {3, 500, 7, 40},
        {4, 20000, 1000, 60}, {5, 3000, 100000, 3}, {6, 2000, 50, 900},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scenario s;
        int fd = record(&s, rows[i].seed, rows[i].samples, rows[i].flush_every, rows[i].max_depth);
        struct check c = read_along(&s, fd, REC_WHOLE, 0);
        assert_int_equal(c.seen, rows[i].samples);
        assert_int_equal(c.epochs, 1);
        scenario_release(&s);
        close(fd);
    }
}

static void the_header_comes_back(void **state)
{
    (void)state;
    struct scenario s;
    int fd = record(&s, 1, 10, 5, 5);
    struct rec_reader *r;
    assert_int_equal(rec_reader_new(fd, &r), 0);
    struct rec_header want = some_header();
    const struct rec_header *got = rec_reader_header(r);
    assert_int_equal(got->version, REC_FORMAT_VERSION);
    assert_string_equal(got->zond, want.zond);
    assert_string_equal(got->host, want.host);
    assert_int_equal(got->command_len, want.command_len);
    assert_memory_equal(got->command, want.command, want.command_len);
    assert_true(got->started_wall_ns == want.started_wall_ns);
    assert_true(got->started_ns == want.started_ns);
    assert_true(got->period_ns == want.period_ns);
    assert_false(got->attached);
    rec_reader_free(r);
    scenario_release(&s);
    close(fd);
}

struct others {
    struct rec_process processes[4];
    struct rec_thread threads[4];
    struct rec_exit exit;
    struct rec_loss loss;
    struct rec_pause pause;
    struct rec_stats stats;
    int calls;
};

static int other_process(void *ctx, uint32_t index, const struct rec_process *p)
{
    ((struct others *)ctx)->processes[index] = *p;
    return 0;
}

static int other_thread(void *ctx, uint32_t index, const struct rec_thread *t)
{
    ((struct others *)ctx)->threads[index] = *t;
    return 0;
}

static int other_exit(void *ctx, const struct rec_exit *e)
{
    struct others *o = ctx;
    o->exit = *e;
    o->calls++;
    return 0;
}

static int other_loss(void *ctx, const struct rec_loss *l)
{
    struct others *o = ctx;
    o->loss = *l;
    o->calls++;
    return 0;
}

static int other_stats(void *ctx, const struct rec_stats *s)
{
    struct others *o = ctx;
    o->stats = *s;
    o->calls++;
    return 0;
}

static int other_pause(void *ctx, const struct rec_pause *p)
{
    struct others *o = ctx;
    o->pause = *p;
    o->calls++;
    return 0;
}

static const struct rec_events other_events = {.process = other_process,
                                               .thread = other_thread,
                                               .exit = other_exit,
                                               .loss = other_loss,
                                               .stats = other_stats,
                                               .pause = other_pause};

static void other_events_come_back(void **state)
{
    (void)state;
    int fd = memory_file();
    struct rec_header header = some_header();
    struct rec_writer *w;
    assert_int_equal(rec_writer_new(dup(fd), &header, &w), 0);
    struct rec_process p = {
        .pid = 7, .ppid = 6, .start_ns = STARTED_NS - 999, .command = rec_string(w, "a\0b", 4)};
    uint32_t process = rec_process(w, &p);
    struct rec_thread t = {.process = process, .tid = 8, .start_ns = STARTED_NS + 1};
    uint32_t thread = rec_thread(w, &t);
    rec_flush(w);
    rec_process_python(w, process, rec_string(w, "3.14.0t", 7));
    rec_thread_name(w, thread, rec_string(w, "worker \xff\n", 9));
    struct rec_exit e = {
        .process = process, .end_ns = STARTED_NS + 5, .code = REC_NO_CODE, .signal = 9, .cpu_ns = 77};
    rec_exit(w, &e);
    struct rec_loss l = {.kind = REC_LOSS_TORN, .time_ns = STARTED_NS + 6, .count = 1ull << 40};
    l.detail = rec_string(w, "torn apart", 10);
    rec_loss(w, &l);
    struct rec_stats s = {STARTED_NS + 7, 1, 2, 3, 4, UINT64_MAX, 6};
    rec_stats(w, &s);
    struct rec_pause pause = {UINT64_MAX, 3};
    rec_pause(w, &pause);
    struct rec_end end = {.ended_ns = STARTED_NS + 8, .code = -5, .signal = 0};
    assert_int_equal(rec_writer_free(w, &end), 0);

    struct others got = {0};
    struct rec_reader *r;
    assert_int_equal(rec_reader_new(file_again(fd), &r), 0);
    assert_int_equal(rec_reader_run(r, &other_events, &got), 0);
    assert_int_equal(got.calls, 4);
    assert_memory_equal(&got.pause, &pause, sizeof(pause));
    assert_memory_equal(&got.processes[0], &p, sizeof(p));
    assert_true(got.threads[0].process == process && got.threads[0].tid == 8);
    assert_true(got.threads[0].start_ns == t.start_ns && got.threads[0].name == 0);
    assert_true(got.exit.end_ns == e.end_ns && got.exit.code == e.code && got.exit.signal == 9);
    assert_true(got.exit.cpu_ns == 77 && got.exit.process == process);
    assert_true(got.loss.kind == l.kind && got.loss.time_ns == l.time_ns && got.loss.count == l.count);
    assert_string_equal(rec_reader_string(r, got.loss.detail, NULL), "torn apart");
    assert_memory_equal(&got.stats, &s, sizeof(s));
    assert_string_equal(rec_reader_string(r, rec_reader_process(r, 0).python, NULL), "3.14.0t");
    assert_string_equal(rec_reader_string(r, rec_reader_thread(r, 0).name, NULL), "worker \xff\n");
    size_t len;
    assert_memory_equal(rec_reader_string(r, rec_reader_process(r, 0).command, &len), "a\0b", 4);
    assert_int_equal(len, 4);
    assert_int_equal(rec_reader_end(r)->code, -5);
    assert_true(rec_reader_end(r)->ended_ns == end.ended_ns);
    assert_string_equal(rec_reader_string(r, 1u << 31, NULL), "?");
    assert_int_equal(rec_reader_frame(r, 1u << 31).line, 0);
    rec_reader_free(r);
    close(fd);
}

/* Each piece is read by itself, and together they hold every sample. */
static void pieces_are_complete_by_themselves(void **state)
{
    (void)state;
    enum { PIECES = 4, SAMPLES = 700 };
    int pieces[PIECES];
    struct scenario s;
    for (int i = 0; i < PIECES; i++) {
        struct rec_header header = some_header();
        header.started_ns = STARTED_NS + (uint64_t)i * 7000000;
        pieces[i] = memory_file();
        if (i)
            assert_int_equal(rec_writer_rotate(s.w, dup(pieces[i]), &header), 0);
        else
            scenario_open(&s, dup(pieces[i]), 71);
        for (int k = 0; k < SAMPLES; k++)
            scenario_sample(&s, 30);
    }
    assert_int_equal(scenario_close(&s), 0);
    struct check c = {.s = &s};
    for (int i = 0; i < PIECES; i++) {
        read_on(&c, file_again(pieces[i]), REC_WHOLE, 0);
        assert_int_equal(c.seen, (i + 1) * SAMPLES);
        close(pieces[i]);
    }
    scenario_release(&s);
}

/* Takes a sample of thread t in [at - 9, at] us. */
static void sample_at(struct rec_writer *w, uint32_t t, uint64_t at)
{
    rec_sample(w, &(struct rec_sample){.thread = t,
                                       .end_ns = STARTED_NS + at * 1000,
                                       .wall_ns = 9000,
                                       .count = 1,
                                       .syscall = REC_NO_SYSCALL});
}

static void a_piece_holds_what_is_there(void **state)
{
    (void)state;
    int first = memory_file(), second = memory_file();
    struct rec_header header = some_header();
    struct rec_writer *w;
    assert_int_equal(rec_writer_new(dup(first), &header, &w), 0);
    uint32_t gone = rec_process(w, &(struct rec_process){.pid = 7, .start_ns = STARTED_NS});
    uint32_t stays = rec_process(w, &(struct rec_process){.pid = 8, .start_ns = STARTED_NS + 1});
    rec_process(w, &(struct rec_process){.pid = 9, .start_ns = STARTED_NS + 2});
    uint32_t threads[3];
    for (uint32_t i = 0; i < 3; i++) {
        struct rec_thread t = {.process = i ? stays : gone, .tid = 10 + i, .start_ns = STARTED_NS};
        threads[i] = rec_thread(w, &t);
        sample_at(w, threads[i], 50);
    }
    rec_exit(w, &(struct rec_exit){.process = gone, .end_ns = STARTED_NS + 60000, .cpu_ns = 5});
    rec_stats(w, &(struct rec_stats){STARTED_NS + 90000, 10, 20, 30, 40, 50, 60});
    header.started_ns = STARTED_NS + 100000;
    assert_int_equal(rec_writer_rotate(w, dup(second), &header), 0);
    rec_process_python(w, stays, rec_string(w, "3.14.0", 6));
    rec_thread_name(w, threads[2], rec_string(w, "two", 3));
    sample_at(w, threads[2], 120);
    rec_exit(w, &(struct rec_exit){.process = stays, .end_ns = STARTED_NS + 130000, .cpu_ns = 77});
    rec_stats(w, &(struct rec_stats){STARTED_NS + 130000, 11, 22, 33, 44, 55, 66});
    assert_int_equal(rec_writer_free(w, &(struct rec_end){.ended_ns = STARTED_NS + 140000}), 0);

    struct others got = {0};
    struct rec_reader *r;
    assert_int_equal(rec_reader_new(file_again(second), &r), 0);
    assert_int_equal(rec_reader_run(r, &other_events, &got), 0);
    assert_int_equal(rec_reader_process_count(r), 2);
    assert_int_equal(rec_reader_process(r, 0).pid, 8);
    assert_int_equal(rec_reader_process(r, 1).pid, 9);
    assert_true(rec_reader_process(r, 0).start_ns == STARTED_NS + 1);
    assert_string_equal(rec_reader_string(r, rec_reader_process(r, 0).python, NULL), "3.14.0");
    assert_int_equal(rec_reader_thread_count(r), 1);
    assert_int_equal(rec_reader_thread(r, 0).tid, 12);
    assert_true(rec_reader_thread(r, 0).start_ns == header.started_ns);
    assert_string_equal(rec_reader_string(r, rec_reader_thread(r, 0).name, NULL), "two");
    /* Its CPU time is of both pieces: it is not known of this one. */
    assert_true(got.exit.process == 0 && got.exit.cpu_ns == 0);
    struct rec_stats since = {STARTED_NS + 130000, 1, 2, 3, 4, 5, 6};
    assert_memory_equal(&got.stats, &since, sizeof(since));
    rec_reader_free(r);

    assert_int_equal(rec_reader_new(file_again(first), &r), 0);
    assert_int_equal(rec_reader_run(r, &(struct rec_events){0}, NULL), 0);
    assert_int_equal(rec_reader_end(r)->code, REC_NO_CODE);
    assert_true(rec_reader_end(r)->ended_ns == header.started_ns);
    rec_reader_free(r);
    close(first);
    close(second);
}

static int third_sample_stops(void *ctx, const struct rec_sample *s)
{
    (void)s;
    return ++*(int *)ctx == 3 ? -ECANCELED : 0;
}

static void a_callback_ends_the_reading(void **state)
{
    (void)state;
    struct scenario s;
    int fd = record(&s, 1, 10, 5, 5);
    struct rec_reader *r;
    int seen = 0;
    assert_int_equal(rec_reader_new(fd, &r), 0);
    assert_int_equal(rec_reader_run(r, &(struct rec_events){.sample = third_sample_stops}, &seen),
                     -ECANCELED);
    assert_int_equal(seen, 3);
    rec_reader_free(r);
    scenario_release(&s);
    close(fd);
}

/* One stack of 10^5 frames, then one that shares all but the last of them. */
static void deep_stacks_come_back(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    struct scenario s;
    int fd = memory_file();
    scenario_open(&s, dup(fd), 1);
    for (int round = 0; round < 2; round++) {
        struct rec_sample sample = {.end_ns = STARTED_NS + 1000000, .wall_ns = 500000, .count = 1};
        for (int i = 0; i < DEPTH; i++)
            sample.stack = rec_push(s.w, sample.stack, s.frame_id[i == DEPTH - 1 ? round : 5]);
        rec_sample(s.w, &sample);
    }
    assert_int_equal(scenario_close(&s), 0);
    struct rec_reader *r;
    assert_int_equal(rec_reader_new(file_again(fd), &r), 0);
    assert_int_equal(rec_reader_run(r, &(struct rec_events){0}, NULL), 0);
    assert_int_equal(rec_reader_node_count(r), 1 + DEPTH + 1);
    assert_int_equal(rec_reader_node(r, DEPTH).parent, DEPTH - 1);
    assert_int_equal(rec_reader_node(r, DEPTH + 1).parent, DEPTH - 1);
    rec_reader_free(r);
    scenario_release(&s);
    close(fd);
}

/* Pushed but never sampled: not in the file. */
static void stacks_without_samples_cost_nothing(void **state)
{
    (void)state;
    struct scenario s;
    int fd = memory_file();
    scenario_open(&s, dup(fd), 1);
    uint32_t node = REC_NO_STACK;
    for (int i = 0; i < 50; i++)
        node = rec_push(s.w, node, s.frame_id[i]);
    scenario_sample(&s, 4);
    assert_int_equal(scenario_close(&s), 0);
    struct rec_reader *r;
    assert_int_equal(rec_reader_new(file_again(fd), &r), 0);
    assert_int_equal(rec_reader_run(r, &(struct rec_events){0}, NULL), 0);
    assert_int_equal(rec_reader_node_count(r), 1 + s.stacks[0].depth);
    rec_reader_free(r);
    scenario_release(&s);
    close(fd);
}

static void nodes_start_over_in_a_new_epoch(void **state)
{
    (void)state;
    struct scenario s;
    int fd = memory_file();
    scenario_open(&s, dup(fd), 11);
    uint32_t first = rec_epoch(s.w);
    for (int i = 0; i < 100; i++)
        scenario_sample(&s, 30);
    rec_flush(s.w);
    assert_int_equal(rec_epoch(s.w), first);
    uint32_t node = REC_NO_STACK;
    while (!rec_wants_flush(s.w))
        node = rec_push(s.w, node, s.frame_id[0]);
    scenario_sample(&s, 30);
    rec_flush(s.w);
    assert_int_not_equal(rec_epoch(s.w), first);
    assert_false(rec_wants_flush(s.w));
    for (int i = 0; i < 100; i++)
        scenario_sample(&s, 30);
    assert_int_equal(scenario_close(&s), 0);
    struct check c = read_along(&s, file_again(fd), REC_WHOLE, 0);
    assert_int_equal(c.seen, 201);
    assert_int_equal(c.epochs, 2);
    scenario_release(&s);
    close(fd);
}

static int take_one(void *ctx, const struct rec_sample *s)
{
    *(struct rec_sample *)ctx = *s;
    return 0;
}

/* Two places of one function, and a frame that is in no module. */
static void places_are_kept_on_demand(void **state)
{
    (void)state;
    struct rec_sample got = {0};
    struct scenario s;
    int fd = memory_file();
    scenario_open(&s, dup(fd), 1);
    uint32_t first = 0, frame = 0;
    for (uint64_t address = 0x1000; address < 0x1002; address++) {
        struct rec_code code = {.name = rec_string(s.w, "work", 4), .kind = REC_NATIVE};
        struct rec_module module = {rec_string(s.w, "/lib/work.so", 12), rec_string(s.w, "c0ffee", 6)};
        frame = rec_frame(s.w, &(struct rec_frame){.code = rec_code(s.w, &code),
                                                   .module = rec_module(s.w, &module),
                                                   .address = address});
        first = first ? first : frame;
        uint32_t node = rec_push(s.w, rec_push(s.w, REC_NO_STACK, s.frame_id[0]), frame);
        rec_sample(s.w, &(struct rec_sample){
                            .stack = node, .end_ns = STARTED_NS + 1000000, .wall_ns = 1000, .count = 1});
    }
    assert_int_equal(frame, first + 1);
    assert_int_equal(rec_writer_free(s.w, NULL), 0);
    s.w = NULL;
    for (int kept = 0; kept < 2; kept++) {
        struct rec_reader *r;
        assert_int_equal(rec_reader_new(file_again(fd), &r), 0);
        assert_int_equal(kept ? rec_reader_keep_places(r) : 0, 0);
        assert_int_equal(rec_reader_run(r, &(struct rec_events){.sample = take_one}, &got), 0);
        assert_int_equal(rec_reader_frame_count(r), first + 1 + kept);
        struct rec_node node = rec_reader_node(r, got.stack);
        struct rec_frame last = rec_reader_frame(r, node.frame);
        assert_int_equal(node.frame, first + kept);
        assert_true(last.address == (kept ? 0x1001 : 0));
        assert_string_equal(rec_reader_string(r, rec_reader_module(r, last.module).build_id, NULL),
                            kept ? "c0ffee" : "");
        assert_int_equal(rec_reader_frame(r, rec_reader_node(r, node.parent).frame).module, REC_NO_MODULE);
        assert_int_equal(got.stack, kept ? 3 : 2);
        rec_reader_free(r);
    }
    scenario_release(&s);
    close(fd);
}

static void full_tables_are_counted(void **state)
{
    (void)state;
    struct scenario s;
    int fd = memory_file();
    scenario_open(&s, dup(fd), 1);
    uint32_t id = 0;
    uint64_t lost = 0;
    for (uint32_t i = 0; i < REC_MAX_FRAMES + 10; i++) {
        id = rec_frame(s.w, &(struct rec_frame){.code = 0, .line = i + 1});
        lost += id == 0;
    }
    assert_int_equal(lost, 10 + FRAMES + 1);
    uint32_t node = REC_NO_STACK;
    for (uint32_t i = 0; i < REC_MAX_NODES + 5; i++)
        node = rec_push(s.w, node, i);
    assert_int_equal(rec_push(s.w, node, 1), node);
    lost += 5 + 1 + 1;
    rec_sample(s.w, &(struct rec_sample){.thread = THREADS, .count = 3});
    lost += 3;
    scenario_sample(&s, 0);
    assert_int_equal(scenario_close(&s), 0);
    struct check c = read_along(&s, file_again(fd), REC_WHOLE, 0);
    assert_int_equal(c.lost[REC_LOSS_TRUNCATED], lost);
    assert_int_equal(c.seen, 1);
    scenario_release(&s);
    close(fd);
}

/* Tests: damage --------------------------------------------------------------------------------------- */

static size_t samples_before(const struct scenario *s, size_t whole_blocks, size_t per_chunk)
{
    size_t chunks = whole_blocks ? whole_blocks - 1 : 0; /* the first is the header */
    return chunks * per_chunk < s->count ? chunks * per_chunk : s->count;
}

static void a_cut_file_keeps_its_whole_blocks(void **state)
{
    (void)state;
    struct scenario s;
    int fd = record(&s, 21, 30, 6, 12);
    struct buf file = file_content(fd);
    struct blocks b = blocks_of(&file);
    assert_int_equal(b.count, 1 + 5 + 1);
    size_t whole = 0;
    for (size_t len = 0; len < file.len; len++) {
        int cut = file_with(file.data, len);
        if (len < b.at[1]) {
            struct rec_reader *r;
            assert_int_equal(rec_reader_new(cut, &r), -ENODATA);
        } else {
            while (b.at[whole + 1] <= len)
                whole++;
            struct check c = read_along(&s, cut, REC_CUT, b.at[whole]);
            assert_int_equal(c.seen, samples_before(&s, whole, 6));
            assert_int_equal(c.epochs, 1);
        }
        close(cut);
    }
    buf_release(&file);
    scenario_release(&s);
    close(fd);
}

static void a_flipped_bit_is_found(void **state)
{
    (void)state;
    struct scenario s;
    int fd = record(&s, 22, 30, 6, 12);
    struct buf file = file_content(fd);
    struct blocks b = blocks_of(&file);
    size_t whole = 0;
    for (size_t at = 0; at < file.len; at++) {
        uint8_t bit = (uint8_t)(1 << at % 8);
        file.data[at] ^= bit;
        int broken = file_with(file.data, file.len);
        if (at < b.at[1]) {
            struct rec_reader *r;
            assert_int_equal(rec_reader_new(broken, &r), at < REC_MAGIC_SIZE ? -EINVAL : -EBADMSG);
        } else {
            while (b.at[whole + 1] <= at)
                whole++;
            struct check c = read_along(&s, broken, REC_CORRUPT, b.at[whole]);
            assert_int_equal(c.seen, samples_before(&s, whole, 6));
        }
        close(broken);
        file.data[at] ^= bit;
    }
    buf_release(&file);
    scenario_release(&s);
    close(fd);
}

static struct buf block_with(uint32_t type, const void *raw, size_t len)
{
    struct payload payload = {0};
    buf_init(&payload.raw, REC_MAX_RAW);
    buf_put(&payload.raw, raw, len);
    struct buf block;
    buf_init(&block, BLOCK_HEAD_SIZE + REC_MAX_STORED);
    struct block_packer *p = block_packer_new();
    assert_non_null(p);
    assert_int_equal(block_pack(p, type, &payload, &block), 0);
    block_packer_free(p);
    buf_release(&payload.raw);
    return block;
}

/* The recording with a block put in before the one with this number. */
static int file_with_block(const struct buf *file, size_t before, uint32_t type, const void *raw, size_t len)
{
    struct blocks b = blocks_of(file);
    struct buf block = block_with(type, raw, len);
    int fd = memory_file();
    assert_int_equal(write(fd, file->data, b.at[before]), b.at[before]);
    assert_int_equal(write(fd, block.data, block.len), block.len);
    size_t rest = file->len - b.at[before];
    assert_int_equal(write(fd, file->data + b.at[before], rest), rest);
    buf_release(&block);
    return file_again(fd);
}

static void unknown_blocks_and_sections_are_skipped(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        const char *raw;
        size_t len;
    } rows[] = {
        {99, "anything", 8},
        {UINT32_MAX, "", 0},
        {REC_BLOCK_CHUNK, "", 0},
        {REC_BLOCK_CHUNK,
         "\x0f\x03"
         "abc\x7f\x00\xff\x7f\x01x",
         11},
    };
    struct scenario s;
    int fd = record(&s, 23, 30, 6, 12);
    struct buf file = file_content(fd);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t before = 1; before <= 6; before++) {
            int mixed = file_with_block(&file, before, rows[i].type, rows[i].raw, rows[i].len);
            struct check c = read_along(&s, mixed, REC_WHOLE, 0);
            assert_int_equal(c.seen, 30);
            close(mixed);
        }
    }
    buf_release(&file);
    scenario_release(&s);
    close(fd);
}

/* Heads that have a right checksum, but lengths that their payload (an empty zstd frame) does not have. */
static void impossible_lengths_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t stored;
        uint32_t raw;
        enum rec_break want;
    } rows[] = {
        {9, 1, REC_CORRUPT},
        {8, 0, REC_CORRUPT},
        {9, REC_MAX_RAW + 1, REC_CORRUPT},
        {REC_MAX_STORED + 1, 0, REC_CORRUPT},
        {REC_MAX_STORED, 0, REC_CUT},
        {9, 0, REC_CUT},
    };
    static const uint8_t empty_frame[9] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00};
    struct scenario s;
    int fd = record(&s, 25, 30, 6, 12);
    struct buf file = file_content(fd);
    struct blocks b = blocks_of(&file);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint32_t crc_len = rows[i].stored < 9 ? rows[i].stored : 9;
        uint32_t head[5] = {REC_BLOCK_CHUNK, rows[i].stored, rows[i].raw, crc32c(empty_frame, crc_len)};
        head[4] = crc32c(head, 16);
        struct buf broken;
        buf_init(&broken, SIZE_MAX);
        buf_put(&broken, file.data, b.at[3]);
        buf_put(&broken, head, sizeof(head));
        buf_put(&broken, empty_frame, sizeof(empty_frame));
        int broken_fd = file_with(broken.data, broken.len);
        bool taken = rows[i].stored == 9 && rows[i].raw == 0;
        struct check c = read_along(&s, broken_fd, rows[i].want, taken ? broken.len : b.at[3]);
        assert_int_equal(c.seen, 12);
        close(broken_fd);
        buf_release(&broken);
    }
    buf_release(&file);
    scenario_release(&s);
    close(fd);
}

/* Sections that have a right checksum, but say what cannot be. The recording has 2 processes, 5 threads. */
static const struct {
    const char *what;
    const char *raw;
    size_t len;
} impossible[] = {
    {"a section beyond the payload", "\x02\x05\x01", 3},
    {"a section twice", "\x01\x01\x01\x01\x01\x01", 6},
    {"an epoch that is none", "\x01\x01\x00", 3},
    {"two epochs", "\x01\x02\x01\x01", 4},
    {"a string beyond its section", "\x02\x02\x09x", 4},
    {"a code with an unknown name", "\x03\x05\xff\x7f\x00\x00\x00", 7},
    {"a frame of an unknown code", "\x04\x06\xff\x7f\x01\x01\x01\x01", 8},
    {"half a frame", "\x04\x03\x00\x01\x01", 5},
    {"a thread of an unknown process", "\x06\x04\x02\x01\x00\x00", 6},
    {"a name for an unknown thread", "\x07\x02\x05\x00", 4},
    {"a version for an unknown process", "\x08\x02\x02\x00", 4},
    {"the exit of an unknown process", "\x09\x05\x02\x00\x00\x00\x00", 7},
    {"an exit code of 33 bits", "\x09\x09\x00\x00\x80\x80\x80\x80\x20\x00\x00", 11},
    {"a count of 65 bits", "\x0a\x0d\x00\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\x00", 15},
    {"a time of 11 bytes", "\x0a\x0e\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x00\x00", 16},
    {"a loss with an unknown detail", "\x0a\x05\x00\x00\x01\xff\x7f", 7},
    {"half of the stats", "\x0b\x02\x00\x01", 4},
    {"half of a heap", "\x1c\x01\x07", 3},
    {"a heap's stack on a node that is not there", "\x1d\x02\x05\x00", 4},
    {"a heap's stack of an unknown frame", "\x1d\x03\x00\xff\x7f", 5},
    {"sums of an unknown heap", "\x1e\x07\x05\x00\x00\x00\x00\x00\x00", 9},
    {"a point of an unknown heap", "\x1f\x07\x05\x00\x00\x00\x00\x00\x00", 9},
    {"a time of collections of an unknown heap", "\x20\x03\x05\x00\x00", 5},
    {"a collection of an unknown heap", "\x21\x07\x05\x00\x00\x00\x00\x00\x00", 9},
    {"a collection of no generation", "\x1c\x02\x07\x00\x21\x07\x00\x00\x00\x00\x03\x00\x00", 13},
    {"half of a collection", "\x21\x01\x00", 3},
    {"samples without the other columns", "\x10\x01\x00", 3},
    {"columns of no samples", "\x14\x01\x00", 3},
    {"an unknown thread",
     "\x10\x01\x0a\x11\x01\x00\x12\x01\x00\x13\x01\x00\x14\x01\x00\x15\x01\x00\x16\x01\x01\x17\x01\x00", 24},
    {"a negative wall time",
     "\x10\x01\x00\x11\x02\xff\x7f\x12\x01\x00\x13\x01\x00\x14\x01\x00\x15\x01\x00\x16\x01\x01\x17\x01"
     "\x00",
     25},
    {"a negative CPU time",
     "\x10\x01\x00\x11\x01\x00\x12\x01\x00\x13\x01\x01\x14\x01\x00\x15\x01\x00\x16\x01\x01\x17\x01\x00", 24},
    {"a node that is not there",
     "\x10\x01\x00\x11\x01\x00\x12\x01\x00\x13\x01\x00\x14\x01\x00\x15\x01\x00\x16\x01\x01\x17\x03\xff"
     "\xff\x7f",
     26},
    {"growth by more frames than there are",
     "\x10\x01\x00\x11\x01\x00\x12\x01\x00\x13\x01\x00\x14\x01\x00\x15\x01\x00\x16\x01\x01\x17\x01\x01"
     "\x18\x01\x01\x19\x01\x05\x1a\x01\x00",
     33},
    {"growth from a node that is not there",
     "\x10\x01\x00\x11\x01\x00\x12\x01\x00\x13\x01\x00\x14\x01\x00\x15\x01\x00\x16\x01\x01\x17\x01\x01"
     "\x18\x04\x00\xff\xff\x7f\x19\x01\x00\x1a\x01\x00",
     36},
};

static void impossible_content_is_refused(void **state)
{
    (void)state;
    struct scenario s;
    int fd = record(&s, 24, 30, 6, 12);
    struct buf file = file_content(fd);
    struct blocks b = blocks_of(&file);
    for (size_t i = 0; i < ARRAY_LEN(impossible); i++) {
        int broken = file_with_block(&file, 3, REC_BLOCK_CHUNK, impossible[i].raw, impossible[i].len);
        print_message("  %s\n", impossible[i].what);
        struct check c = read_along(&s, broken, REC_CORRUPT, b.at[3]);
        assert_int_equal(c.seen, 12);
        close(broken);
    }
    buf_release(&file);
    scenario_release(&s);
    close(fd);
}

/* The counterpart of the table above: the same columns, all of them possible. */
static void a_sample_by_hand_is_taken(void **state)
{
    (void)state;
    static const char raw[] =
        "\x10\x01\x04\x11\x02\x90\x03\x12\x01\x02\x13\x01\x0a\x14\x01\x05\x15\x01\x07\x16\x01\x01\x17\x01\x01"
        "\x18\x01\x01\x19\x01\x01\x1a\x01\x01\x1b\x01\x02";
    int fd = memory_file();
    struct scenario s;
    scenario_open(&s, dup(fd), 1);
    assert_int_equal(scenario_close(&s), 0);
    struct buf file = file_content(fd);
    int mixed = file_with_block(&file, 2, REC_BLOCK_CHUNK, raw, sizeof(raw) - 1);
    struct rec_reader *r;
    struct rec_sample got = {0};
    assert_int_equal(rec_reader_new(mixed, &r), 0);
    assert_int_equal(rec_reader_run(r, &(struct rec_events){.sample = take_one}, &got), 0);
    uint64_t thread_start = 24; /* units: thread 2 begins at 24.69 us */
    assert_int_equal(got.thread, 2);
    assert_true(got.end_ns == STARTED_NS + (thread_start + 1000 + 200) * 1000);
    assert_int_equal(got.wall_ns, (1200 - 1) * 1000);
    assert_int_equal(got.cpu_ns, (1199 - 5) * 1000);
    assert_int_equal(got.state, REC_ON_CPU | REC_GIL_WAIT);
    assert_int_equal(got.syscall, 6);
    assert_int_equal(got.count, 1);
    assert_int_equal(rec_reader_node(r, got.stack).frame, 1);
    assert_int_equal(rec_reader_node(r, rec_reader_node(r, got.stack).parent).frame, 2);
    rec_reader_free(r);
    scenario_release(&s);
    buf_release(&file);
    close(mixed);
    close(fd);
}

static void a_newer_version_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[REC_PREAMBLE_SIZE];
    struct rec_reader *r;
    preamble_put(bytes, REC_FORMAT_MERGED + 1);
    int fd = file_with(bytes, sizeof(bytes));
    uint32_t version = 0;
    assert_int_equal(rec_reader_new(fd, &r), -EPROTONOSUPPORT);
    assert_int_equal(rec_reader_version(fd, &version), 0);
    assert_int_equal(version, REC_FORMAT_MERGED + 1);
    close(fd);
    preamble_put(bytes, 0);
    fd = file_with(bytes, sizeof(bytes));
    assert_int_equal(rec_reader_new(fd, &r), -EBADMSG);
    close(fd);
}

static void other_files_are_refused(void **state)
{
    (void)state;
    struct rec_reader *r;
    int fd = file_with("#!/usr/bin/env python3\nprint('hello')\n", 38);
    assert_int_equal(rec_reader_new(fd, &r), -EINVAL);
    close(fd);
    fd = file_with("", 0);
    assert_int_equal(rec_reader_new(fd, &r), -ENODATA);
    close(fd);
}

static void checksums_are_crc32c(void **state)
{
    (void)state;
    assert_int_equal(crc32c("123456789", 9), 0xE3069283);
    assert_int_equal(crc32c_portable("123456789", 9), 0xE3069283);
    struct rng rng = {1};
    uint8_t bytes[300];
    for (size_t len = 0; len < sizeof(bytes); len++) {
        bytes[len] = (uint8_t)rng_next(&rng);
        assert_int_equal(crc32c(bytes, len), crc32c_portable(bytes, len));
    }
}

/* Tests: outputs that fail ---------------------------------------------------------------------------- */

static void samples_until_it_fails(struct scenario *s)
{
    while (!rec_writer_error(s->w)) {
        scenario_sample(s, 30);
        rec_flush(s->w);
    }
    for (int i = 0; i < 100; i++)
        scenario_sample(s, 30);
    rec_flush(s->w);
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    struct scenario s;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    scenario_open(&s, fd, 31);
    samples_until_it_fails(&s);
    assert_int_equal(rec_writer_error(s.w), -ENOSPC);
    assert_int_equal(scenario_close(&s), -ENOSPC);
    scenario_release(&s);
}

/* The limit falls into the middle of a block: the file is cut back to whole ones. */
/* One that cannot be written ends the output; a piece before it stays whole. */
static void a_piece_that_cannot_be_written_is_told(void **state)
{
    (void)state;
    struct scenario s;
    int first = memory_file();
    struct rec_header header = some_header();
    scenario_open(&s, dup(first), 72);
    for (int i = 0; i < 50; i++)
        scenario_sample(&s, 20);
    assert_int_equal(rec_writer_rotate(s.w, open("/dev/full", O_WRONLY | O_CLOEXEC), &header), 0);
    samples_until_it_fails(&s);
    assert_int_equal(scenario_close(&s), -ENOSPC);
    struct check c = read_along(&s, file_again(first), REC_WHOLE, 0);
    assert_int_equal(c.seen, 50);
    scenario_release(&s);
    close(first);
}

static void a_file_that_may_not_grow_keeps_whole_blocks(void **state)
{
    (void)state;
    struct scenario s;
    int fd = memory_file();
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit limit = {.rlim_cur = 10007, .rlim_max = before.rlim_max};
    scenario_open(&s, dup(fd), 32);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    samples_until_it_fails(&s);
    int err = scenario_close(&s);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err, -EFBIG);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_in_range(st.st_size, 1000, 10007);
    struct check c = read_along(&s, file_again(fd), REC_CUT, (uint64_t)st.st_size);
    assert_true(c.seen > 10);
    scenario_release(&s);
    close(fd);
}

static void a_closed_pipe_is_told(void **state)
{
    (void)state;
    struct scenario s;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    scenario_open(&s, ends[1], 33);
    samples_until_it_fails(&s);
    assert_int_equal(scenario_close(&s), -EPIPE);
    scenario_release(&s);
}

static int count_sample(void *ctx, const struct rec_sample *s)
{
    ((struct check *)ctx)->seen += s->count;
    return 0;
}

/* Nobody reads until all is recorded: were the sampler to wait for the pipe, this would never end. */
static void a_slow_pipe_costs_samples_not_time(void **state)
{
    (void)state;
    enum { SAMPLES = 2000000 };
    struct scenario s;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        scenario_open(&s, ends[1], 34);
        for (uint32_t i = 0; i < SAMPLES; i++) {
            struct rec_sample sample = {.thread = i % THREADS, .count = 1};
            sample.end_ns = STARTED_NS + (rng_next(&s.rng) >> 4);
            sample.cpu_ns = rng_next(&s.rng) >> 2;
            rec_sample(s.w, &sample);
        }
        kill(getppid(), SIGUSR1);
        _exit(scenario_close(&s) == 0 ? 0 : 1);
    }
    close(ends[1]);
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR1);
    int got;
    assert_int_equal(sigwait(&wanted, &got), 0);
    struct check c = {0};
    assert_int_equal(rec_reader_new(ends[0], &c.r), 0);
    assert_int_equal(rec_reader_run(c.r, &(struct rec_events){.sample = count_sample, .loss = on_loss}, &c),
                     0);
    assert_int_equal(rec_reader_break(c.r, NULL), REC_WHOLE);
    assert_true(c.lost[REC_LOSS_WRITE] > 0);
    assert_int_equal(c.seen + c.lost[REC_LOSS_WRITE], SAMPLES);
    rec_reader_free(c.r);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(ends[0]);
}

/* What was flushed before a SIGKILL is in the file once the writer's thread had its turn. */
static void a_killed_writer_leaves_what_it_flushed(void **state)
{
    (void)state;
    struct scenario s;
    int fd = memory_file();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        scenario_open(&s, dup(fd), 35);
        for (int i = 0; i < 300; i++)
            scenario_sample(&s, 20);
        rec_flush(s.w);
        for (int i = 0; i < 300; i++)
            scenario_sample(&s, 20);
        for (;;)
            pause();
    }
    /* The same recording, to know its samples and the size of what the child flushes. */
    int twin = memory_file();
    scenario_open(&s, dup(twin), 35);
    for (int i = 0; i < 300; i++)
        scenario_sample(&s, 20);
    rec_flush(s.w);
    assert_int_equal(rec_writer_free(s.w, NULL), 0);
    struct buf flushed = file_content(twin);
    struct stat st = {0};
    while ((size_t)st.st_size < flushed.len)
        assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    struct check c = read_along(&s, file_again(fd), REC_CUT, flushed.len);
    assert_int_equal(c.seen, 300);
    buf_release(&flushed);
    scenario_release(&s);
    close(twin);
    close(fd);
}

static int block_sigusr1(void **state)
{
    (void)state;
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR1);
    return sigprocmask(SIG_BLOCK, &wanted, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_are_crc32c),
        cmocka_unit_test(random_recordings_come_back),
        cmocka_unit_test(the_header_comes_back),
        cmocka_unit_test(other_events_come_back),
        cmocka_unit_test(pieces_are_complete_by_themselves),
        cmocka_unit_test(a_piece_holds_what_is_there),
        cmocka_unit_test(a_piece_that_cannot_be_written_is_told),
        cmocka_unit_test(a_callback_ends_the_reading),
        cmocka_unit_test(deep_stacks_come_back),
        cmocka_unit_test(stacks_without_samples_cost_nothing),
        cmocka_unit_test(nodes_start_over_in_a_new_epoch),
        cmocka_unit_test(full_tables_are_counted),
        cmocka_unit_test(a_cut_file_keeps_its_whole_blocks),
        cmocka_unit_test(a_flipped_bit_is_found),
        cmocka_unit_test(places_are_kept_on_demand),
        cmocka_unit_test(unknown_blocks_and_sections_are_skipped),
        cmocka_unit_test(impossible_content_is_refused),
        cmocka_unit_test(impossible_lengths_are_refused),
        cmocka_unit_test(a_sample_by_hand_is_taken),
        cmocka_unit_test(a_newer_version_is_refused),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(a_file_that_may_not_grow_keeps_whole_blocks),
        cmocka_unit_test(a_closed_pipe_is_told),
        cmocka_unit_test(a_slow_pipe_costs_samples_not_time),
        cmocka_unit_test(a_killed_writer_leaves_what_it_flushed),
    };
    return cmocka_run_group_tests(tests, block_sigusr1, NULL);
}
