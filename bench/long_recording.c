/* Writes a recording as long runs make them, to measure what reads recordings: a stack that calls and returns
 * at random, one sample a thread and millisecond, of which two in three differ from the one before.
 *
 * long_recording FILE [SECONDS [THREADS]]: by default an hour of one thread, 3.6 million samples.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/writer.h"

#define STARTED_NS NS_PER_S
#define FUNCTIONS 2000
#define LINES 4 /* of each function, each with a callee of its own */
#define BRANCH_EVERY                                                                                         \
    4 /* depths at which a function calls from all of its lines; elsewhere it does from one */
#define DEPTH_MAX 40
#define DEPTH_MIN 8
#define JITTER_NS 100000
#define FLUSH_EVERY 1000 /* samples a thread: a second */

struct walk {
    uint32_t nodes[DEPTH_MAX + 1];
    uint32_t functions[DEPTH_MAX + 1];
    uint32_t depth;
    uint64_t end_ns;
};

static uint64_t rng_state = 1;

static uint32_t below(uint32_t n)
{
    rng_state = rng_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(rng_state >> 33) % n;
}

static uint32_t put_text(struct rec_writer *w, const char *format, uint32_t i)
{
    char text[64];
    int n = snprintf(text, sizeof(text), format, i);
    return rec_string(w, text, (size_t)n);
}

static void put_frames(struct rec_writer *w, uint32_t frames[FUNCTIONS][LINES])
{
    for (uint32_t i = 0; i < FUNCTIONS; i++) {
        struct rec_code code = {.name = put_text(w, "Handler.method_number_%u", i),
                                .file =
                                    put_text(w, "/srv/app/lib/python3.12/site-packages/module_%u.py", i / 20),
                                .first_line = 10 * i % 5000 + 1};
        uint32_t id = rec_code(w, &code);
        for (uint32_t k = 0; k < LINES; k++)
            frames[i][k] = rec_frame(w, &(struct rec_frame){.code = id, .line = code.first_line + k + 1});
    }
}

static void put_threads(struct rec_writer *w, uint32_t threads)
{
    struct rec_process p = {.pid = 100, .ppid = 1, .start_ns = STARTED_NS};
    p.python = rec_string(w, "3.12.1", 6);
    p.command = rec_string(w, "python3\0app.py", 15);
    rec_process(w, &p);
    for (uint32_t i = 0; i < threads; i++) {
        struct rec_thread t = {.tid = 100 + i, .start_ns = STARTED_NS, .name = put_text(w, "worker-%u", i)};
        rec_thread(w, &t);
    }
}

/* The first line is by far the likeliest, as in programs, whose stacks are few for their number of functions.
 */
static uint32_t choose(uint32_t depth)
{
    return depth % BRANCH_EVERY || below(3) ? 0 : below(LINES);
}

/* The stack goes back by a few frames, then calls on. After an epoch all of it is pushed anew. */
static void step(struct rec_writer *w, struct walk *k, uint32_t frames[FUNCTIONS][LINES], bool anew)
{
    uint32_t depth = anew ? 0 : k->depth - below(k->depth < 6 ? k->depth + 1 : 6);
    uint32_t end = DEPTH_MIN + below(DEPTH_MAX - DEPTH_MIN);
    if (end > depth + 5)
        end = depth + 5;
    for (; depth < end; depth++) {
        uint32_t line = choose(depth);
        uint32_t f = (k->functions[depth] * LINES + line + depth) % FUNCTIONS;
        k->functions[depth + 1] = f;
        k->nodes[depth + 1] = rec_push(w, k->nodes[depth], frames[f][line]);
    }
    k->depth = depth;
}

static void put_samples(struct rec_writer *w, uint32_t seconds, uint32_t threads)
{
    static uint32_t frames[FUNCTIONS][LINES];
    struct walk *walks = calloc(threads, sizeof(*walks));
    uint32_t epoch = rec_epoch(w);
    put_frames(w, frames);
    for (uint32_t i = 0; walks && i < threads; i++)
        walks[i].end_ns = STARTED_NS;
    for (uint64_t tick = 1; walks && tick <= (uint64_t)seconds * 1000; tick++) {
        bool anew = rec_epoch(w) != epoch;
        epoch = rec_epoch(w);
        for (uint32_t i = 0; i < threads; i++) {
            step(w, &walks[i], frames, anew);
            struct rec_sample s = {.thread = i, .stack = walks[i].nodes[walks[i].depth], .count = 1};
            s.end_ns = STARTED_NS + tick * NS_PER_MS + below(JITTER_NS);
            s.wall_ns = s.end_ns - walks[i].end_ns;
            walks[i].end_ns = s.end_ns;
            s.syscall = REC_NO_SYSCALL;
            s.state = REC_ON_CPU | REC_GIL_HELD | (below(20) ? 0 : REC_IN_GC);
            s.cpu_ns = 900000 + below(100000);
            rec_sample(w, &s);
        }
        if (tick % FLUSH_EVERY == 0 || rec_wants_flush(w))
            rec_flush(w);
    }
    free(walks);
}

int main(int argc, char **argv)
{
    uint32_t seconds = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 3600;
    uint32_t threads = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 1;
    struct rec_header header = {.zond = ZOND_VERSION, .host = "bench", .command = "app.py", .command_len = 7};
    struct rec_writer *w;
    int fd = argc > 1 ? open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    header.started_wall_ns = 1700000000 * NS_PER_S;
    header.started_ns = STARTED_NS;
    header.period_ns = NS_PER_MS;
    int rc = fd < 0 ? -1 : rec_writer_new(fd, &header, &w);
    if (rc == 0) {
        put_threads(w, threads);
        put_samples(w, seconds, threads);
        rc = rec_writer_free(w, &(struct rec_end){.ended_ns = STARTED_NS + seconds * NS_PER_S});
    }
    if (rc)
        fprintf(stderr, "usage: long_recording FILE [SECONDS [THREADS]]; cannot write: %s\n", strerror(-rc));
    return rc ? 1 : 0;
}
