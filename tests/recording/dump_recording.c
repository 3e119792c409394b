/* Prints all that zond's reader takes of a recording, a line for each thing, so that another reader can be
 * compared with it to the last number. Times are ns; a string is its bytes in hexadecimal.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "record/reader.h"

static void put_hex(const char *bytes, size_t len)
{
    putchar(' ');
    putchar('"');
    for (size_t i = 0; i < len; i++)
        printf("%02x", (unsigned char)bytes[i]);
    putchar('"');
}

static void put_string(const struct rec_reader *r, uint32_t id)
{
    size_t len;
    const char *bytes = rec_reader_string(r, id, &len);
    put_hex(bytes, len);
}

static void put_frame(const struct rec_reader *r, uint32_t id)
{
    struct rec_frame f = rec_reader_frame(r, id);
    struct rec_code c = rec_reader_code(r, f.code);
    printf("frame %u: %u %u %u %u %u, %u %u", id, f.code, f.line, f.end_line, f.column, f.end_column,
           c.first_line, c.kind);
    put_string(r, c.name);
    put_string(r, c.file);
    if (f.module != REC_NO_MODULE) {
        struct rec_module m = rec_reader_module(r, f.module);
        printf(" %" PRIx64, f.address);
        put_string(r, m.path);
        put_string(r, m.build_id);
    }
    putchar('\n');
}

static int on_sample(void *ctx, const struct rec_sample *s)
{
    (void)ctx;
    printf("sample: %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %d %u %u\n", s->thread, s->end_ns, s->wall_ns,
           s->cpu_ns, s->count, s->syscall == REC_NO_SYSCALL ? -1 : s->syscall, s->state, s->stack);
    return 0;
}

static int on_epoch(void *ctx)
{
    printf("epoch: %u\n", rec_reader_node_count(ctx));
    for (uint32_t id = 1; id < rec_reader_node_count(ctx); id++) {
        struct rec_node node = rec_reader_node(ctx, id);
        printf("node %u: %u %u\n", id, node.parent, node.frame);
    }
    return 0;
}

static int on_exit_of_process(void *ctx, const struct rec_exit *e)
{
    (void)ctx;
    printf("exit: %u %" PRIu64 " %d %d %" PRIu64 "\n", e->process, e->end_ns, e->code, e->signal, e->cpu_ns);
    return 0;
}

static int on_loss(void *ctx, const struct rec_loss *l)
{
    printf("loss: %u %" PRIu64 " %" PRIu64, l->kind, l->time_ns, l->count);
    put_string(ctx, l->detail);
    putchar('\n');
    return 0;
}

static int on_stats(void *ctx, const struct rec_stats *s)
{
    (void)ctx;
    printf("stats: %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
           s->time_ns, s->ticks, s->samples, s->cpu_ns, s->reads, s->read_bytes, s->stops);
    return 0;
}

static int on_pause(void *ctx, const struct rec_pause *p)
{
    (void)ctx;
    printf("pause: %" PRIu64 " %" PRIu64 "\n", p->ns, p->count);
    return 0;
}

static int on_heap_site(void *ctx, const struct rec_heap_site *s)
{
    (void)ctx;
    printf("heap-site: %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", s->heap,
           s->stack, s->allocated, s->allocations, s->freed, s->frees, s->peak);
    return 0;
}

static int on_heap_point(void *ctx, const struct rec_heap_point *p)
{
    (void)ctx;
    printf("heap-point: %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
           p->heap, p->time_ns, p->live, p->rss, p->rss_peak, p->peak, p->peak_ns);
    return 0;
}

static int on_collector(void *ctx, const struct rec_collector *c)
{
    (void)ctx;
    printf("collector: %u %" PRIu64 " %" PRIu64 "\n", c->heap, c->since_ns, c->until_ns);
    return 0;
}

static int on_collection(void *ctx, const struct rec_collection *c)
{
    (void)ctx;
    printf("collection: %u %u %" PRIu64 " %" PRIu64 " %u %" PRIu64 " %" PRIu64 "\n", c->heap, c->stack,
           c->start_ns, c->length_ns, c->generation, c->collected, c->uncollectable);
    return 0;
}

static void put_heaps(const struct rec_reader *r)
{
    for (uint32_t i = 0; i < rec_reader_heap_count(r); i++) {
        struct rec_heap h = rec_reader_heap(r, i);
        printf("heap %u: %u %" PRIu64 "\n", i, h.pid, h.start_ns);
    }
    for (uint32_t i = 1; i < rec_reader_heap_node_count(r); i++) {
        struct rec_node node = rec_reader_heap_node(r, i);
        printf("heap-node %u: %u %u\n", i, node.parent, node.frame);
    }
}

static void put_header(const struct rec_header *h)
{
    printf("header: %" PRIu64 " %" PRIu64 " %" PRIu64 " %d", h->started_wall_ns, h->started_ns, h->period_ns,
           h->attached);
    put_hex(h->command, h->command_len);
    putchar('\n');
}

static void put_tables(const struct rec_reader *r)
{
    for (uint32_t i = 0; i < rec_reader_frame_count(r); i++)
        put_frame(r, i);
    for (uint32_t i = 0; i < rec_reader_process_count(r); i++) {
        struct rec_process p = rec_reader_process(r, i);
        printf("process %u: %u %u %" PRIu64, i, p.pid, p.ppid, p.start_ns);
        put_string(r, p.python);
        put_string(r, p.command);
        putchar('\n');
    }
    for (uint32_t i = 0; i < rec_reader_thread_count(r); i++) {
        struct rec_thread t = rec_reader_thread(r, i);
        printf("thread %u: %u %u %" PRIu64, i, t.process, t.tid, t.start_ns);
        put_string(r, t.name);
        putchar('\n');
    }
}

int main(int argc, char **argv)
{
    static const char *const stops[] = {"complete", "cut", "corrupt"};
    static const struct rec_events events = {.sample = on_sample,
                                             .exit = on_exit_of_process,
                                             .loss = on_loss,
                                             .stats = on_stats,
                                             .pause = on_pause,
                                             .heap_site = on_heap_site,
                                             .heap_point = on_heap_point,
                                             .collector = on_collector,
                                             .collection = on_collection,
                                             .epoch = on_epoch};
    struct rec_reader *r;
    uint64_t offset;
    int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
    int err = fd < 0 ? -errno : rec_reader_new(fd, &r);
    if (err) {
        fprintf(stderr, "refused: %s\n", strerror(-err));
        return 1;
    }
    put_header(rec_reader_header(r));
    rec_reader_keep_places(r); /* of one that is not merged: frames have the numbers of the file */
    err = rec_reader_run(r, &events, r);
    put_tables(r);
    put_heaps(r);
    const struct rec_end *end = rec_reader_end(r);
    if (end)
        printf("end: %" PRIu64 " %d %d\n", end->ended_ns, end->code, end->signal);
    enum rec_break stop = rec_reader_break(r, &offset);
    printf("%s: %" PRIu64 "\n", stops[stop], offset);
    rec_reader_free(r);
    return err ? 1 : 0;
}
