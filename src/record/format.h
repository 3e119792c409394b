/* The bytes of a recording, as docs/recording-format.md specifies them: numbers only, no behaviour.
 *
 * Private to src/record. The writer keeps the limits, the reader enforces them: a limit here is part of the
 * format, and raising one needs a new REC_FORMAT_VERSION.
 */
#ifndef ZOND_RECORD_FORMAT_H
#define ZOND_RECORD_FORMAT_H

#include "record/model.h"

/* The file opens with these bytes: not ASCII at first, and broken by a transfer that rewrites line ends. */
#define REC_MAGIC "\x89ZOND\r\n\x1a"
#define REC_MAGIC_SIZE 8
/* Magic, u32 version, u32 CRC32C of both. The same in every version. */
#define REC_PREAMBLE_SIZE 16

enum rec_block_type {
    REC_BLOCK_HEADER = 1,
    REC_BLOCK_CHUNK = 2,
    REC_BLOCK_END = 3,
    REC_BLOCK_MERGED = 4,
};

/* Sections of a chunk. Those from REC_COL_THREAD to REC_COL_FRAMES are the columns of the samples. */
enum rec_section {
    REC_SEC_EPOCH = 1,
    REC_SEC_STRINGS = 2,
    REC_SEC_CODES = 3,
    REC_SEC_FRAMES = 4,
    REC_SEC_PROCESSES = 5,
    REC_SEC_THREADS = 6,
    REC_SEC_THREAD_NAMES = 7,
    REC_SEC_PYTHONS = 8,
    REC_SEC_EXITS = 9,
    REC_SEC_LOSSES = 10,
    REC_SEC_STATS = 11,
    REC_SEC_PAUSES = 12,
    REC_SEC_MODULES = 13,
    REC_SEC_PLACES = 14,
    REC_COL_THREAD = 16,
    REC_COL_END = 17,
    REC_COL_START = 18,
    REC_COL_CPU = 19,
    REC_COL_STATE = 20,
    REC_COL_SYSCALL = 21,
    REC_COL_COUNT = 22,
    REC_COL_STACK = 23,
    REC_COL_UP = 24,
    REC_COL_GROWN = 25,
    REC_COL_LEAVES = 26,
    REC_COL_FRAMES = 27,
    REC_SEC_HEAPS = 28,
    REC_SEC_HEAP_NODES = 29,
    REC_SEC_HEAP_SITES = 30,
    REC_SEC_HEAP_POINTS = 31,
    REC_SEC_COLLECTORS = 32,
    REC_SEC_COLLECTIONS = 33,
    REC_SECTIONS
};

/* Values of REC_COL_STACK; from REC_STACK_KNOWN on: the zig-zag distance from the lane's last node. */
#define REC_STACK_SAME 0
#define REC_STACK_GROWN 1
#define REC_STACK_KNOWN 2

/* Sample times are whole multiples of this; what is below carries over to the next sample. */
#define REC_TIME_UNIT_NS 1000

/* Whole units in a time since the start of the recording, rounded down also before it. Times are modulo 2^64.
 */
static inline uint64_t rec_units(uint64_t since_start_ns, uint64_t unit_ns)
{
    int64_t d = (int64_t)since_start_ns;
    int64_t unit = (int64_t)unit_ns;
    return (uint64_t)(d / unit - (d % unit < 0 ? 1 : 0));
}

/* Payload of one block, before compression. */
#define REC_MAX_RAW (16u << 20)
/* ... and after: what zstd may make of the largest payload that does not compress, in up to 64 frames. */
#define REC_MAX_STORED (REC_MAX_RAW + (REC_MAX_RAW >> 8) + 4096)

/* Tables. A multiple of three of a power of two is what a struct map holds before it doubles. */
#define REC_MAX_STRINGS (3u << 18)
#define REC_MAX_STRING_BYTES (32u << 20) /* with a NUL byte after each */
#define REC_MAX_CODES (3u << 17)
#define REC_MAX_FRAMES (3u << 18)
#define REC_MAX_MODULES (3u << 14)
#define REC_MAX_PROCESSES (1u << 20)
/* Of the headers of all parts. */
#define REC_MAX_HEADER_STRINGS (256u << 20)
#define REC_MAX_THREADS (1u << 20)
#define REC_MAX_HEAPS (1u << 20)
#define REC_MAX_HEAP_NODES (3u << 18) /* with node 0 */

/* Steps from the lane's last node to the caller of new nodes; farther callers are named by id. */
#define REC_MAX_UP 255

/* Each thread has two lanes of samples, coded independently: its own stacks, and the await chains of tasks
 * (REC_TASK). */
#define REC_LANES 2

static inline unsigned rec_lane_of(uint8_t state)
{
    return state & REC_TASK ? 1 : 0;
}

#endif
