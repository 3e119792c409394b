/* The vocabulary of a recording: what the sampler hands to the writer and the reader hands to analysis.
 *
 * Tables (strings, codes, frames, stack nodes, processes, threads) are interned: an id is dense, starts at
 * 0, and is given once. Times are ns of CLOCK_MONOTONIC. docs/recording-format.md specifies the bytes.
 */
#ifndef ZOND_RECORD_MODEL_H
#define ZOND_RECORD_MODEL_H

#include "base/base.h"

/* Of a recording as it is made, and of one merged from others: the newest. */
#define REC_FORMAT_VERSION 1
#define REC_FORMAT_MERGED 2

enum rec_kind {
    REC_PYTHON = 0,
    REC_NATIVE = 1,
    REC_JIT = 2,
    REC_GC = 3,
    REC_SYSCALL = 4,
    REC_GUESSED = 5, /* native, found by what its stack looks like, not by call frame information */
};

/* A function: what its frames share. name is the qualified name where the version has one. */
struct rec_code {
    uint32_t name; /* string id */
    uint32_t file; /* string id; 0 (empty) when there is none */
    uint32_t first_line;
    uint8_t kind; /* enum rec_kind */
};

/* A file with native code, as it was mapped. Strings; build_id in hexadecimal, empty when it has none. */
struct rec_module {
    uint32_t path;
    uint32_t build_id;
};

/* A place in a function. 0 means unknown for each number; columns are counted from 1, in bytes, end
 * exclusive. Native code is at `address` of the module, as its ELF file counts (p_vaddr): of a function that
 * called another, within the call. */
struct rec_frame {
    uint32_t code;
    uint32_t line;
    uint32_t end_line;
    uint32_t column;
    uint32_t end_column;
    uint32_t module; /* REC_NO_MODULE: not known */
    uint64_t address;
};

#define REC_NO_MODULE 0u

/* A stack is a node of a trie: the frame, and the node of its caller. Node 0 is the empty stack. */
struct rec_node {
    uint32_t parent;
    uint32_t frame;
};

#define REC_NO_STACK 0u

/* Nodes in one epoch, with node 0: a limit of the format, as those of record/format.h. */
#define REC_MAX_NODES (3u << 18)

/* State of a sample: bits that can hold at once. None set, with cpu_ns 0: it waited. */
enum rec_state {
    REC_ON_CPU = 1 << 0,   /* ran on a CPU for at least half of the sample's time */
    REC_GIL_HELD = 1 << 1, /* held the GIL */
    REC_GIL_WAIT = 1 << 2, /* was blocked in the acquisition of the GIL */
    REC_IN_GC = 1 << 3,    /* the cyclic garbage collector was running on this thread */
    REC_IN_C = 1 << 4,     /* the innermost Python frame was calling a function written in C */
    REC_TASK = 1 << 5,     /* not a thread's own stack but the await chain of a waiting asyncio task: weighs
                            * wall time only, and belongs to no thread's total */
};

#define REC_NO_SYSCALL 0xffffu

/* A stretch of a thread's life that ends at end_ns and lasts wall_ns, seen with one stack and one state.
 * The stretches of one thread follow each other without a gap, from its first to its last. count is how
 * many looks at the thread gave this same answer in a row. */
struct rec_sample {
    uint32_t thread; /* index of the thread in the recording */
    uint32_t stack;  /* node */
    uint64_t end_ns;
    uint64_t wall_ns;
    uint64_t cpu_ns; /* from the scheduler's accounting */
    uint32_t count;
    uint16_t syscall; /* number of the system call that it is blocked in, or REC_NO_SYSCALL */
    uint8_t state;    /* enum rec_state */
};

/* A process, announced once it is known. A process that execs another program gets a new entry. */
struct rec_process {
    uint32_t pid; /* as zond sees it */
    uint32_t ppid;
    uint64_t start_ns;
    uint32_t python;  /* string id: "3.11.7", "3.14.0t" (free-threaded), or 0 when it is no Python */
    uint32_t command; /* string id: the arguments, each ended by a NUL byte */
};

struct rec_thread {
    uint32_t process;  /* index of the process */
    uint32_t tid;      /* as the target sees it in its own PID namespace */
    uint64_t start_ns; /* when the first stretch begins */
    uint32_t name;     /* string id: Python's name, else the kernel's */
};

#define REC_NO_CODE INT32_MIN

/* The end of a process. Exactly one of code and signal is known, or neither: REC_NO_CODE and 0. */
struct rec_exit {
    uint32_t process;
    uint64_t end_ns;
    int32_t code;
    int32_t signal;
    uint64_t cpu_ns; /* user + system time of the whole process; 0 when unknown */
};

/* What was not seen. Every loss is one of these; a view prints the sums. */
enum rec_loss_kind {
    REC_LOSS_MISSED = 0,     /* ticks that the sampler was too late for */
    REC_LOSS_TORN = 1,       /* reads that changed while they were made, or are doubtful; made again */
    REC_LOSS_DROPPED = 2,    /* samples given up after too many torn reads */
    REC_LOSS_UNREADABLE = 3, /* samples whose memory could not be read or made no sense */
    REC_LOSS_TRUNCATED = 4,  /* stacks cut at the depth limit */
    REC_LOSS_PROCESS = 5,    /* processes that could not be looked into (rights, not CPython ...) */
    REC_LOSS_WRITE = 6,      /* samples lost as the output could not take them */
    REC_LOSS_MEMORY = 7,     /* allocations that are not in the sums, and stacks of others cut or lost */
    REC_LOSS_GC = 8,         /* garbage collections that were not recorded, and stacks of others cut */
    REC_LOSS_KINDS
};

struct rec_loss {
    uint8_t kind; /* enum rec_loss_kind */
    uint64_t time_ns;
    uint64_t count;
    uint32_t detail; /* string id: a sentence for people, or 0 */
};

/* The sampler on itself, written at intervals; each is the total so far. */
struct rec_stats {
    uint64_t time_ns;
    uint64_t ticks;   /* times the sampler looked */
    uint64_t samples; /* stacks taken: threads looked at, summed */
    uint64_t cpu_ns;  /* CPU time of zond itself */
    uint64_t reads;   /* system calls that read the target's memory */
    uint64_t read_bytes;
    uint64_t stops; /* threads stopped: 0 without native stacks */
};

/* For how long threads were stopped since the record before: `count` times for up to `ns`. */
struct rec_pause {
    uint64_t ns, count;
};

/* A program that zond's library is in, from when zond heard of it, with the memory that it allocated if that
 * is recorded: a process that execs has one for each program. A stack of it is a node of a trie of its own,
 * over the whole recording: REC_NO_STACK is that of code that no Python function called. */
struct rec_heap {
    uint32_t pid;
    uint64_t start_ns;
};

/* Sums of a heap and a stack up to now: the latest counts. Bytes are those that were asked for. peak: bytes
 * when the heap held most, as of now. */
struct rec_heap_site {
    uint32_t heap;
    uint32_t stack; /* node of rec_heap_push */
    uint64_t allocated, allocations;
    uint64_t freed, frees;
    uint64_t peak;
};

/* A heap at a time. rss, rss_peak: resident memory of the process, and the most of it so far, by the kernel;
 * 0: not known. peak, peak_ns: the most that was live so far, and when. */
struct rec_heap_point {
    uint32_t heap;
    uint64_t time_ns;
    uint64_t live;
    uint64_t rss, rss_peak;
    uint64_t peak, peak_ns;
};

/* The collections of a heap's program are recorded from since_ns until until_ns, as of now: the latest
 * counts. */
struct rec_collector {
    uint32_t heap;
    uint64_t since_ns, until_ns;
};

#define REC_GENERATIONS 3

/* A garbage collection that has ended. stack: where it began, a node of rec_heap_push. */
struct rec_collection {
    uint32_t heap;
    uint32_t stack;
    uint64_t start_ns, length_ns;
    uint32_t generation; /* below REC_GENERATIONS */
    uint64_t collected, uncollectable;
};

/* What a recording says of itself. Strings are owned by whoever made the struct. */
struct rec_header {
    uint32_t version; /* REC_FORMAT_VERSION of the writer */
    const char *zond; /* version of zond */
    const char *host;
    const char *command; /* arguments, each ended by a NUL byte */
    size_t command_len;
    uint64_t started_wall_ns; /* ns since 1970: the same instant as started_ns */
    uint64_t started_ns;
    uint64_t period_ns; /* between ticks; 0 = as fast as possible */
    bool attached;      /* attach, not run */
    uint32_t rank;      /* of the program among those of its job, or REC_NO_RANK */
};

#define REC_NO_RANK UINT32_MAX

/* The last block of a complete recording. */
struct rec_end {
    uint64_t ended_ns;
    int32_t code;   /* of the command; REC_NO_CODE if unknown */
    int32_t signal; /* 0 if none */
};

/* What stopped the reading of a recording before its end block. */
enum rec_break {
    REC_WHOLE = 0, /* complete: the end block was there */
    REC_CUT,       /* ends without an end block, or inside a block */
    REC_CORRUPT,   /* a checksum or a content does not fit */
};

/* What a merge did, as the merged recording says at its end. cut and corrupt are of those that were merged,
 * as far as they go; left_out: not even a header could be read. */
struct rec_merged {
    uint64_t parts;
    uint64_t cut;
    uint64_t corrupt;
    uint64_t left_out;
};

#endif
