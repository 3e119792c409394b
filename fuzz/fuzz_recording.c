/* libFuzzer on the reader and the analysis of recordings.
 *
 * A mutated file rarely gets past its checksums and zstd, so an input is one of two things, by its first
 * byte: 'F': the bytes of a file, as they are; else: a list of blocks, each a type byte, a length (u16,
 * little-endian) and an uncompressed payload, which this puts into a proper file: 'H' behind a header of its
 * own, 'M' likewise, as a merged recording, any other letter without; of 'R' a copy is made with other native
 * frames, and read, too.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "analysis/profile.h"
#include "record/block.h"
#include "record/format.h"
#include "record/resolve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* zond, host and command of no bytes, times 0, a period of 1 ms, a unit of 1 us, not attached. */
static const uint8_t header[] = {0, 0, 0, 0, 0, 0xc0, 0x84, 0x3d, 0xe8, 0x07, 0};

static void put_block(struct buf *file, struct block_packer *packer, uint8_t type, const void *bytes,
                      size_t len)
{
    struct payload payload = {0};
    struct buf block;
    buf_init(&payload.raw, REC_MAX_RAW);
    buf_init(&block, BLOCK_HEAD_SIZE + REC_MAX_STORED);
    buf_put(&payload.raw, bytes, len);
    if (block_pack(packer, type, &payload, &block) == 0)
        buf_put(file, block.data, block.len);
    buf_release(&payload.raw);
    buf_release(&block);
}

static void put_blocks(struct buf *file, uint8_t kind, struct cursor c)
{
    struct block_packer *packer = block_packer_new();
    uint8_t preamble[REC_PREAMBLE_SIZE];
    preamble_put(preamble, kind == 'M' ? REC_FORMAT_MERGED : REC_FORMAT_VERSION);
    buf_put(file, preamble, sizeof(preamble));
    if (kind == 'H' || kind == 'M')
        put_block(file, packer, REC_BLOCK_HEADER, header, sizeof(header));
    while (c.at < c.end) {
        uint8_t type = cursor_u8(&c);
        size_t len = cursor_u8(&c);
        len |= (size_t)cursor_u8(&c) << 8;
        size_t left = (size_t)(c.end - c.at);
        len = len < left ? len : left;
        put_block(file, packer, type, cursor_bytes(&c, len), len);
    }
    block_packer_free(packer);
}

static void look_at_name(const struct rec_reader *r, uint32_t code)
{
    size_t len;
    const char *name = rec_reader_string(r, rec_reader_code(r, code).name, &len);
    if (name[len] != 0)
        abort();
}

/* Looks at everything that a view would. */
static void look(struct profile *p)
{
    size_t count;
    for (enum metric by = 0; by < METRIC_COUNT; by++) {
        profile_lines(p, by, &count);
        const struct profile_function *functions = profile_functions(p, by, &count);
        for (size_t i = 0; i < count && i < 4; i++) {
            look_at_name(profile_reader(p), functions[i].code);
            struct profile_function *calls;
            size_t n;
            if (profile_callers(p, functions[i].code, by, &calls, &n) == 0)
                free(calls);
            if (profile_callees(p, functions[i].code, by, &calls, &n) == 0)
                free(calls);
        }
    }
    const struct profile_node *nodes = profile_nodes(p, &count);
    for (size_t i = 1; i < count; i++) {
        if (nodes[i].parent >= i)
            abort();
    }
    profile_elapsed_ns(p);
    profile_cpu_ns(p);
}

static void read_recording(int fd, bool tasks)
{
    struct rec_reader *r;
    struct profile *p;
    struct profile_filter filter = {.tasks = tasks};
    if (lseek(fd, 0, SEEK_SET) != 0 || rec_reader_new(fd, &r) != 0)
        return;
    if (profile_new(r, &filter, &p) == 0) {
        uint64_t offset;
        bool ended = rec_reader_end(r) || rec_reader_merged(r);
        if ((rec_reader_break(r, &offset) == REC_WHOLE) != ended)
            abort();
        look(p);
        profile_free(p);
    }
    rec_reader_free(r);
}

/* By its address a place is nothing, one function, or several. */
static size_t resolve(void *ctx, const char *path, const char *build_id, uint64_t address,
                      struct rec_resolved *out)
{
    size_t count = address % (REC_RESOLVED_MAX + 1);
    (void)ctx;
    if (path[strlen(path)] || build_id[strlen(build_id)])
        abort();
    for (size_t i = 0; i < count; i++)
        out[i] = (struct rec_resolved){.function = i % 2 ? "f" : "", .file = i % 3 ? "f.c" : ""};
    return count;
}

static void copy_recording(int fd)
{
    struct rec_reader *r;
    int copy = memfd_create("copy", MFD_CLOEXEC);
    if (lseek(fd, 0, SEEK_SET) == 0 && rec_reader_new(fd, &r) == 0) {
        if (rec_resolve(r, copy, resolve, NULL) == 0)
            read_recording(copy, false);
        rec_reader_free(r);
    }
    close(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct buf file;
    buf_init(&file, SIZE_MAX);
    if (data[0] == 'F')
        buf_put(&file, data + 1, size - 1);
    else
        put_blocks(&file, data[0], cursor_of(data + 1, size - 1));
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd >= 0 && write(fd, file.data, file.len) == (ssize_t)file.len) {
        read_recording(fd, false);
        read_recording(fd, true);
        if (data[0] == 'R')
            copy_recording(fd);
    }
    close(fd);
    buf_release(&file);
    return 0;
}
