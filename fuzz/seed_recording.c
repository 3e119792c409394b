/* Writes the corpus that fuzz_recording starts from into the directory of its argument: a small recording as
 * a file, the same as a list of blocks, to be copied, merged with itself, and blocks that the writer does not
 * make of so little. Run again when the format changes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record/block.h"
#include "record/format.h"
#include "record/writer.h"

#define STARTED_NS 1000000000ull

static void fill_tables(struct rec_writer *w, uint32_t frames[4])
{
    struct rec_process process = {
        .pid = 7, .ppid = 1, .start_ns = STARTED_NS, .command = rec_string(w, "a\0b", 4)};
    rec_process(w, &process);
    for (uint32_t i = 0; i < 2; i++)
        rec_thread(w, &(struct rec_thread){.process = 0, .tid = 7 + i, .start_ns = STARTED_NS});
    for (uint32_t i = 0; i < 4; i++) {
        struct rec_code code = {.name = rec_string(w, "abcd" + i, 1), .file = rec_string(w, "x.py", 4)};
        frames[i] = rec_frame(w, &(struct rec_frame){.code = rec_code(w, &code), .line = i});
    }
    struct rec_module module = {rec_string(w, "l.so", 4), rec_string(w, "ab12", 4)};
    struct rec_code code = {.name = rec_string(w, "n", 1), .kind = REC_NATIVE};
    for (uint32_t i = 2; i < 4; i++) {
        frames[i] = rec_frame(w, &(struct rec_frame){.code = rec_code(w, &code),
                                                     .module = rec_module(w, &module),
                                                     .address = 0x1000 + i});
    }
}

static void fill_heaps(struct rec_writer *w, const uint32_t frames[4])
{
    uint32_t stack = REC_NO_STACK;
    for (uint32_t i = 0; i < 2; i++)
        rec_heap(w, &(struct rec_heap){.pid = 7 + i, .start_ns = STARTED_NS});
    for (uint32_t i = 0; i < 4; i++) {
        stack = rec_heap_push(w, i == 2 ? REC_NO_STACK : stack, frames[i]);
        rec_heap_site(w, &(struct rec_heap_site){.heap = i % 2,
                                                 .stack = stack,
                                                 .allocated = 1000 << i,
                                                 .allocations = 3,
                                                 .freed = 10,
                                                 .frees = 1,
                                                 .peak = 500});
        rec_heap_point(w, &(struct rec_heap_point){.heap = i % 2,
                                                   .time_ns = STARTED_NS + i,
                                                   .live = 990,
                                                   .rss = 4096,
                                                   .rss_peak = 8192,
                                                   .peak = 1000,
                                                   .peak_ns = STARTED_NS});
        rec_collection(w, &(struct rec_collection){.heap = i % 2,
                                                   .stack = stack,
                                                   .start_ns = STARTED_NS + i,
                                                   .length_ns = 100,
                                                   .generation = i % REC_GENERATIONS,
                                                   .collected = 5,
                                                   .uncollectable = 1});
        rec_collector(w, &(struct rec_collector){i % 2, STARTED_NS, STARTED_NS + i});
    }
}

static void fill_samples(struct rec_writer *w, const uint32_t frames[4])
{
    for (uint32_t i = 0; i < 60; i++) {
        struct rec_sample s = {.thread = i % 2, .wall_ns = 1000000, .count = 1, .syscall = REC_NO_SYSCALL};
        s.end_ns = STARTED_NS + (i / 2 + 1) * 1000000;
        s.cpu_ns = i % 3 ? 990000 : 0;
        s.state = (uint8_t)(i % 3 ? REC_ON_CPU | REC_GIL_HELD : i % 64);
        for (uint32_t depth = 0; depth < i % 7; depth++)
            s.stack = rec_push(w, s.stack, frames[(i * depth) % 4]);
        rec_sample(w, &s);
        if (i % 20 == 19)
            rec_flush(w);
    }
    rec_thread_name(w, 1, rec_string(w, "worker", 6));
    rec_process_python(w, 0, rec_string(w, "3.11.2", 6));
    rec_exit(w, &(struct rec_exit){.process = 0, .end_ns = STARTED_NS, .code = 1, .cpu_ns = 5});
    rec_loss(w, &(struct rec_loss){.kind = REC_LOSS_TORN, .time_ns = STARTED_NS, .count = 2});
    rec_stats(w, &(struct rec_stats){.time_ns = STARTED_NS, .ticks = 30, .samples = 60});
    fill_heaps(w, frames);
}

static int record(int fd)
{
    struct rec_header header = {.zond = "0",
                                .host = "h",
                                .command = "c",
                                .command_len = 1,
                                .started_ns = STARTED_NS,
                                .period_ns = 1000000};
    struct rec_writer *w;
    uint32_t frames[4];
    int err = rec_writer_new(fd, &header, &w);
    if (err)
        return err;
    fill_tables(w, frames);
    fill_samples(w, frames);
    return rec_writer_free(w, &(struct rec_end){.ended_ns = STARTED_NS + 40000000});
}

/* The form that fuzz_recording puts into a file again. */
static void list_blocks(const struct buf *file, struct buf *list)
{
    struct block_unpacker *unpacker = block_unpacker_new();
    struct buf raw;
    buf_init(&raw, REC_MAX_RAW + 1);
    buf_put_u8(list, 'B');
    struct block_head head;
    for (size_t at = REC_PREAMBLE_SIZE; at < file->len; at += BLOCK_HEAD_SIZE + head.stored) {
        if (block_head_get(file->data + at, &head) != 0)
            break;
        if (block_unpack(unpacker, &head, file->data + at + BLOCK_HEAD_SIZE, &raw) != 0)
            break;
        buf_put_u8(list, (uint8_t)head.type);
        buf_put_u8(list, (uint8_t)raw.len);
        buf_put_u8(list, (uint8_t)(raw.len >> 8));
        buf_put(list, raw.data, raw.len);
    }
    buf_release(&raw);
    block_unpacker_free(unpacker);
}

/* The blocks of a recording twice, as those of a merged one. */
static void list_merged(const struct buf *blocks, struct buf *list)
{
    static const uint8_t end[] = {REC_BLOCK_MERGED, 4, 0, 2, 0, 0, 0};
    buf_put_u8(list, 'M');
    for (int i = 0; i < 2; i++)
        buf_put(list, blocks->data + 1, blocks->len - 1);
    buf_put(list, end, sizeof(end));
}
/* Behind a header of the fuzzer: an unknown block, and a chunk with an epoch, an unknown section and a loss
 * of an unknown kind. */
static const uint8_t odd[] = {'H', 99, 1,  0, 'x', REC_BLOCK_CHUNK, 12, 0,   REC_SEC_EPOCH,
                              1,   1,  99, 1, 'x', REC_SEC_LOSSES,  4,  200, 0,
                              1,   0};

static int save(int dir, const char *name, const struct buf *bytes)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, bytes->data, bytes->len) != (ssize_t)bytes->len) {
        perror(name);
        return 1;
    }
    return close(fd) != 0;
}

int main(int argc, char **argv)
{
    int dir = argc == 2 ? open(argv[1], O_DIRECTORY | O_RDONLY | O_CLOEXEC) : -1;
    int fd = memfd_create("seed", MFD_CLOEXEC);
    struct stat st;
    if (dir < 0 || fd < 0 || record(dup(fd)) != 0 || fstat(fd, &st) != 0) {
        fprintf(stderr, "usage: seed_recording DIRECTORY\n");
        return 2;
    }
    struct buf file;
    struct buf list;
    struct buf merged;
    buf_init(&file, SIZE_MAX);
    buf_init(&list, SIZE_MAX);
    buf_init(&merged, SIZE_MAX);
    buf_put_u8(&file, 'F');
    uint8_t *to = buf_reserve(&file, (size_t)st.st_size);
    int failed = !to || pread(fd, to, (size_t)st.st_size, 0) != st.st_size;
    file.len += (size_t)st.st_size;
    if (!failed) {
        struct buf whole = {.data = file.data + 1, .len = file.len - 1};
        list_blocks(&whole, &list);
        list_merged(&list, &merged);
        struct buf parts = {.data = (uint8_t *)odd, .len = sizeof(odd)};
        failed = save(dir, "recording-file", &file) || save(dir, "recording-blocks", &list) ||
                 save(dir, "recording-merged", &merged) || save(dir, "recording-odd", &parts);
        list.data[0] = 'R';
        failed = failed || save(dir, "recording-copied", &list);
    }
    buf_release(&merged);
    buf_release(&file);
    buf_release(&list);
    return failed;
}
