/* sample: looks at a thread whose doings are known become samples that say so. Times are ms in the tables.
 */
#include "sample/stretches.h"

#include <string.h>
#include <unistd.h>

#include "support.h"

#define MS NS_PER_MS
#define LOOKS 32
#define ON REC_ON_CPU

/* One look, and what the scheduler says at it. account: of CPU time, exact; 0: says nothing. */
struct told {
    unsigned at, stack, state, queued, account;
};

struct want {
    unsigned stack, wall, looks, state;
    double cpu;
};

struct row {
    const char *name;
    struct told told[LOOKS]; /* ends at one at 0 */
    struct want want[LOOKS]; /* ends at one with no looks */
};

static const struct row rows[] = {
    {.name = "stretches meet halfway",
     .told = {{2, 1, ON, 0, 0}, {4, 1, ON, 0, 0}, {6, 2, ON, 0, 0}, {8, 2, ON, 0, 0}},
     .want = {{1, 5, 2, ON, 4}, {2, 3, 2, ON, 3}}},
    {.name = "one that waits has the time around its looks",
     .told = {{2, 1, ON, 0, 0}, {4, 2, 0, 0, 0}, {6, 2, 0, 0, 0}, {8, 1, ON, 0, 0}},
     .want = {{1, 3, 1, ON, 2}, {2, 4, 2, 0, 0}, {1, 1, 1, ON, 1}}},
    {.name = "a wait for a CPU is taken off the looks before the one that tells",
     .told = {{2, 1, ON, 0, 0}, {4, 1, ON, 0, 0}, {6, 2, ON, 0, 0}, {8, 2, ON, 3, 0}, {10, 2, ON, 0, 0}},
     .want = {{1, 5, 2, ON, 3}, {2, 2, 1, 0, 0}, {2, 3, 2, ON, 3}}},
    {.name = "and never off more than they got",
     .told = {{2, 1, 0, 0, 0}, {4, 1, ON, 9, 0}, {6, 1, ON, 0, 0}},
     .want = {{1, 3, 1, 0, 0}, {1, 3, 2, ON, 3}}},
    {.name = "at the end the last gets what is short",
     .told = {{2, 1, ON, 0, 0}, {4, 2, 0, 0, 2}},
     .want = {{1, 3, 1, ON, 2}, {2, 1, 1, 0, 0}}},
    {.name = "so that the sum is the account's",
     .told = {{2, 1, 0, 0, 0}, {4, 1, 0, 0, 3}},
     .want = {{1, 4, 2, 0, 3}}},
};

struct file {
    struct rec_writer *w;
    int fd;
    uint32_t nodes[4];
};

static void open_file(struct file *f)
{
    struct rec_header header = some_header();
    f->fd = memory_file();
    assert_int_equal(rec_writer_new(dup(f->fd), &header, &f->w), 0);
    rec_process(f->w, &(struct rec_process){.pid = 1});
    rec_thread(f->w, &(struct rec_thread){.process = 0, .tid = 1, .start_ns = STARTED_NS});
    uint32_t code = rec_code(f->w, &(struct rec_code){.name = rec_string(f->w, "f", 1)});
    for (uint32_t i = 1; i < 4; i++) {
        uint32_t frame = rec_frame(f->w, &(struct rec_frame){.code = code, .line = i});
        f->nodes[i] = rec_push(f->w, REC_NO_STACK, frame);
    }
}

struct check {
    const struct row *row;
    struct rec_reader *r;
    size_t seen;
};

static int on_sample(void *ctx, const struct rec_sample *got)
{
    struct check *c = ctx;
    const struct want *want = &c->row->want[c->seen++];
    assert_int_equal(rec_reader_frame(c->r, rec_reader_node(c->r, got->stack).frame).line, want->stack);
    assert_int_equal(got->wall_ns, want->wall * MS);
    assert_int_equal(got->cpu_ns, (uint64_t)(want->cpu * MS));
    assert_int_equal(got->count, want->looks);
    assert_int_equal(got->state, want->state);
    return 0;
}

static void check_file(const struct row *row, struct file *f)
{
    struct check c = {.row = row};
    assert_int_equal(rec_writer_free(f->w, &(struct rec_end){.ended_ns = STARTED_NS + 1000 * MS}), 0);
    assert_int_equal(rec_reader_new(file_again(f->fd), &c.r), 0);
    assert_int_equal(rec_reader_run(c.r, &(struct rec_events){.sample = on_sample}, &c), 0);
    rec_reader_free(c.r);
    assert_int_equal(row->want[c.seen].looks, 0);
}

static void looks_become_samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        struct stretches s;
        struct file f;
        print_message("%s\n", row->name);
        open_file(&f);
        stretches_init(&s, STARTED_NS, 0);
        for (const struct told *t = row->told; t->at; t++) {
            struct looked looked = {.stack = f.nodes[t->stack],
                                    .syscall = REC_NO_SYSCALL,
                                    .state = (uint8_t)t->state,
                                    .running = t->state & ON,
                                    .queued_ns = t->queued * MS};
            assert_int_equal(stretches_add(&s, STARTED_NS + t->at * MS, &looked), 0);
            if (t->account)
                stretches_reckon(&s, t->account * MS);
        }
        stretches_end(&s, f.w, 0);
        check_file(row, &f);
        stretches_release(&s);
    }
}

/* The difference to the account is made up for over looks to come, not at once. */
static void what_is_short_comes_little_by_little(void **state)
{
    (void)state;
    struct stretches s;
    struct file f;
    open_file(&f);
    stretches_init(&s, STARTED_NS, 0);
    struct looked looked = {.stack = f.nodes[1], .syscall = REC_NO_SYSCALL, .state = ON, .running = true};
    for (unsigned ms = 1; ms <= 10000; ms++) {
        assert_int_equal(stretches_add(&s, STARTED_NS + ms * MS, &looked), 0);
        stretches_settle(&s, f.w, 0, STARTED_NS + ms * MS);
        /* It has half of a CPU. */
        uint64_t before = s.given_ns;
        stretches_reckon(&s, ms * MS / 2);
        assert_true(before == s.given_ns);
    }
    int64_t ahead = (int64_t)s.given_ns - 5000 * (int64_t)MS;
    assert_in_range(ahead, 25 * MS, 40 * MS);
    stretches_end(&s, f.w, 0);
    stretches_release(&s);
    assert_int_equal(rec_writer_free(f.w, NULL), 0);
    close(f.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looks_become_samples),
        cmocka_unit_test(what_is_short_comes_little_by_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
