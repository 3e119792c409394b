/* synth: makes a recording of a program that never was, to measure reading where recording would take hours.
 *
 * synth OUT SECONDS SEED CHOICE: one thread, a look each millisecond, another stack at nearly each. The stack
 * moves as a walk: a few frames are left, a few entered. CHOICE is in how many of a hundred calls a function
 * does not make its usual call: 10 gives an hour some 10^5 distinct stacks, 60 one for each look.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/writer.h"

#define FUNCTIONS 600
#define FILES 80
#define DEPTH_MAX 64
#define PERIOD_NS 1000000ull

struct synth {
    struct rec_writer *writer;
    uint64_t random;
    uint32_t choice;
    uint32_t codes[FUNCTIONS];
    uint32_t functions[DEPTH_MAX]; /* of the stack, outermost first */
    uint32_t nodes[DEPTH_MAX];
    uint32_t depth;
    uint32_t epoch;
};

static uint32_t below(struct synth *s, uint32_t n)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)((s->random >> 16) % n);
}

static void make_codes(struct synth *s)
{
    char text[64];
    for (uint32_t i = 0; i < FUNCTIONS; i++) {
        struct rec_code code = {.first_line = 10 + i * 7 % 1000, .kind = REC_PYTHON};
        int n = snprintf(text, sizeof(text), "Class%u.method_%u", i % 50, i);
        code.name = rec_string(s->writer, text, (size_t)n);
        n = snprintf(text, sizeof(text), "/srv/app/package%u/module%u.py", i % 7, i % FILES);
        code.file = rec_string(s->writer, text, (size_t)n);
        s->codes[i] = rec_code(s->writer, &code);
    }
}

/* The frame at a level: what its caller calls, usually the same, else one of seven others; on one of its
 * lines. */
static void enter(struct synth *s)
{
    uint32_t caller = s->depth ? s->functions[s->depth - 1] : 0;
    uint32_t which = below(s, 100) < s->choice ? 1 + below(s, 7) : 0;
    uint32_t function = (caller * 31 + which * 97 + 11) % FUNCTIONS;
    uint32_t line = 10 + function * 7 % 1000 + 1 + which * 3;
    struct rec_frame frame = {
        .code = s->codes[function], .line = line, .end_line = line, .column = 5, .end_column = 40};
    s->functions[s->depth] = function;
    s->nodes[s->depth] =
        rec_push(s->writer, s->depth ? s->nodes[s->depth - 1] : REC_NO_STACK, rec_frame(s->writer, &frame));
    s->depth++;
}

/* Leaves and enters some frames: mostly few, at times many. */
static void move(struct synth *s)
{
    uint32_t leave = 1 + below(s, below(s, 4) ? 3 : 14);
    s->depth = s->depth > leave + 3 ? s->depth - leave : 3;
    uint32_t want = s->depth + 1 + below(s, leave + 2);
    want = want < DEPTH_MAX ? want : DEPTH_MAX - 1;
    while (s->depth < want)
        enter(s);
}

/* The writer forgot its nodes: the stack gets new ones. */
static void renew(struct synth *s)
{
    s->epoch = rec_epoch(s->writer);
    s->depth = 0;
    for (int i = 0; i < 8; i++)
        enter(s);
}

static void look(struct synth *s, uint64_t now)
{
    if (s->epoch != rec_epoch(s->writer))
        renew(s);
    move(s);
    uint64_t jitter = below(s, 200000);
    rec_sample(s->writer, &(struct rec_sample){
                              .stack = s->nodes[s->depth - 1],
                              .end_ns = now + jitter,
                              .wall_ns = PERIOD_NS,
                              .cpu_ns = PERIOD_NS - below(s, 3000),
                              .count = 1,
                              .syscall = REC_NO_SYSCALL,
                              .state = (uint8_t)(REC_ON_CPU | REC_GIL_HELD | (below(s, 5) ? 0 : REC_IN_C))});
}

int main(int argc, char **argv)
{
    static const char command[] = "python3\0app.py";
    if (argc != 5) {
        fputs("usage: synth OUT SECONDS SEED CHOICE\n", stderr);
        return 2;
    }
    struct synth s = {.random = 88172645463325252ull + strtoull(argv[3], NULL, 10) * 977,
                      .choice = (uint32_t)atoi(argv[4])};
    uint64_t looks = strtoull(argv[2], NULL, 10) * 1000;
    uint64_t started = 1000 * NS_PER_S;
    struct rec_header header = {.version = REC_FORMAT_VERSION,
                                .zond = ZOND_VERSION,
                                .host = "synth",
                                .command = command,
                                .command_len = sizeof(command),
                                .started_wall_ns =
                                    1700000000 * NS_PER_S + strtoull(argv[3], NULL, 10) * NS_PER_MS,
                                .started_ns = started,
                                .period_ns = PERIOD_NS,
                                .rank = (uint32_t)atoi(argv[3])};
    int fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || rec_writer_new(fd, &header, &s.writer) != 0) {
        perror(argv[1]);
        return 1;
    }
    make_codes(&s);
    struct rec_process process = {
        .pid = 1000, .ppid = 1, .start_ns = started, .python = rec_string(s.writer, "3.12.1", 6)};
    process.command = rec_string(s.writer, command, sizeof(command));
    rec_process(s.writer, &process);
    rec_thread(s.writer, &(struct rec_thread){.tid = 1000, .start_ns = started});
    for (uint64_t i = 0; i < looks; i++) {
        look(&s, started + (i + 1) * PERIOD_NS);
        if (i % 1000 == 999 || rec_wants_flush(s.writer))
            rec_flush(s.writer);
    }
    uint64_t ended = started + looks * PERIOD_NS;
    rec_stats(s.writer, &(struct rec_stats){.time_ns = ended, .ticks = looks, .samples = looks});
    return rec_writer_free(s.writer, &(struct rec_end){.ended_ns = ended}) ? 1 : 0;
}
