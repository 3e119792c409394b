/* support: see support.h. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t rng_next(struct rng *r)
{
    r->state += 0x9E3779B97F4A7C15ull;
    uint64_t z = r->state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
    return (uint32_t)(rng_next(r) % n);
}

int memory_file(void)
{
    int fd = memfd_create("zond-test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

struct buf file_content(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    struct buf b;
    buf_init(&b, SIZE_MAX);
    uint8_t *to = buf_reserve(&b, (size_t)st.st_size + 1);
    assert_non_null(to);
    assert_int_equal(pread(fd, to, (size_t)st.st_size, 0), st.st_size);
    b.len = (size_t)st.st_size;
    return b;
}

int file_with(const void *bytes, size_t len)
{
    int fd = memory_file();
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

int file_again(int fd)
{
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

struct rec_header some_header(void)
{
    static const char command[] = "python\0app.py";
    return (struct rec_header){.zond = "0.1.0",
                               .host = "there",
                               .command = command,
                               .command_len = sizeof(command),
                               .started_wall_ns = 1700000000123456789ull,
                               .started_ns = STARTED_NS,
                               .period_ns = 1000000};
}

static void announce(struct scenario *s)
{
    for (uint32_t i = 0; i < PROCESSES; i++) {
        struct rec_process p = {.pid = 100 + i, .ppid = i ? 100 : 1, .start_ns = STARTED_NS - 7 * i};
        p.python = rec_string(s->w, "3.11.2", 6);
        p.command = rec_string(s->w, "python\0x", 8);
        assert_int_equal(rec_process(s->w, &p), i);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        s->end_ns[i] = STARTED_NS + i * 12345;
        struct rec_thread t = {.process = i % PROCESSES, .tid = 200 + i, .start_ns = s->end_ns[i]};
        t.name = rec_string(s->w, "MainThread", 10);
        assert_int_equal(rec_thread(s->w, &t), i);
    }
}

static void intern_frames(struct scenario *s)
{
    for (uint32_t i = 0; i < FRAMES; i++) {
        char name[32];
        char file[32];
        s->frame_code[i] = i < FUNCTIONS ? i : rng_below(&s->rng, FUNCTIONS);
        s->frame_line[i] = 10 + i % 4;
        snprintf(name, sizeof(name), "f%u", s->frame_code[i]);
        snprintf(file, sizeof(file), "file%u.py", s->frame_code[i] % 3);
        struct rec_code code = {.name = rec_string(s->w, name, strlen(name)),
                                .file = rec_string(s->w, file, strlen(file)),
                                .first_line = s->frame_code[i],
                                .kind = REC_PYTHON};
        struct rec_frame frame = {.code = rec_code(s->w, &code), .line = s->frame_line[i], .column = i + 1};
        s->frame_id[i] = rec_frame(s->w, &frame);
    }
}

void scenario_open(struct scenario *s, int fd, uint64_t seed)
{
    *s = (struct scenario){.rng = {seed}};
    struct rec_header header = some_header();
    assert_int_equal(rec_writer_new(fd, &header, &s->w), 0);
    announce(s);
    intern_frames(s);
}

/* Keeps some callers of the sample before and calls others from there. */
static struct stack next_stack(struct scenario *s, uint32_t max_depth)
{
    struct stack none = {0};
    struct stack *before = s->count ? &s->stacks[s->count - 1] : &none;
    uint32_t keep = rng_below(&s->rng, before->depth + 1);
    uint32_t depth = keep + rng_below(&s->rng, 8);
    if (depth > max_depth)
        depth = rng_below(&s->rng, max_depth + 1);
    struct stack stack = {.depth = depth, .frames = malloc((depth + 1) * sizeof(uint32_t))};
    assert_non_null(stack.frames);
    for (uint32_t i = 0; i < depth; i++)
        stack.frames[i] = i < keep ? before->frames[i] : rng_below(&s->rng, FRAMES);
    return stack;
}

static void remember(struct scenario *s, const struct rec_sample *sample, struct stack stack)
{
    if (s->count == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 256;
        s->samples = realloc(s->samples, s->cap * sizeof(*s->samples));
        s->stacks = realloc(s->stacks, s->cap * sizeof(*s->stacks));
        assert_non_null(s->samples);
        assert_non_null(s->stacks);
    }
    s->samples[s->count] = *sample;
    s->stacks[s->count++] = stack;
}

/* Mostly the regular stretch that follows the one before; sometimes any values at all. */
static struct rec_sample next_sample(struct scenario *s)
{
    struct rng *r = &s->rng;
    struct rec_sample sample = {.thread = rng_below(r, THREADS), .count = 1 + rng_below(r, 3)};
    sample.state = (uint8_t)rng_below(r, 64);
    sample.syscall = rng_below(r, 2) ? REC_NO_SYSCALL : (uint16_t)rng_below(r, 400);
    sample.wall_ns = sample.count * 1000000ull + rng_below(r, 50000);
    uint64_t *end_ns = &s->end_ns[sample.thread];
    sample.end_ns = *end_ns + sample.wall_ns;
    if (rng_below(r, 20) == 0)
        sample.end_ns += rng_next(r) >> 30;
    sample.cpu_ns = sample.state & REC_ON_CPU ? sample.wall_ns - rng_below(r, 9000) : rng_below(r, 900);
    if (sample.state & REC_TASK)
        sample.cpu_ns = 0;
    else
        *end_ns = sample.end_ns;
    return sample;
}

void scenario_sample(struct scenario *s, uint32_t max_depth)
{
    struct rec_sample sample = next_sample(s);
    struct stack stack = next_stack(s, max_depth);
    for (uint32_t i = 0; i < stack.depth; i++)
        sample.stack = rec_push(s->w, sample.stack, s->frame_id[stack.frames[i]]);
    rec_sample(s->w, &sample);
    remember(s, &sample, stack);
}

int scenario_close(struct scenario *s)
{
    struct rec_end end = {.ended_ns = STARTED_NS, .code = 3};
    for (size_t i = 0; i < s->count; i++)
        end.ended_ns = max_u64(end.ended_ns, s->samples[i].end_ns + 1000000);
    int err = rec_writer_free(s->w, &end);
    s->w = NULL;
    return err;
}

void scenario_release(struct scenario *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->stacks[i].frames);
    free(s->stacks);
    free(s->samples);
}
