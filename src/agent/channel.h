/* channel: the memory that a program and zond share: the contract between src/agent, which writes into it,
 * and src/feed, which made it and takes out what it holds. Plain memory with atomics, no calls.
 *
 * Each program image has one: a memfd of sizeof(struct channel), sparse, so that only what is used costs
 * memory. An agent gets its channel from zond's socket, whose abstract name (without the NUL byte) is in
 * CHANNEL_ENV: it connects, receives the version and the descriptor (SCM_RIGHTS), maps it, and keeps neither
 * descriptor.
 *
 * The ring is one for the whole process. Who has an event takes a ticket (fetch_add on `head`), which is the
 * event's place in the one order in which zond applies events, waits while its slot is in use, fills the slot
 * and publishes it by `turn` (release). A block is announced as freed before it is given back, and as
 * allocated after it was got: so the events of one address are in order, whichever threads they are of. zond
 * alone moves `tail`.
 *
 * Tables only grow; a number is given once. What an event names was published before the event. zond trusts
 * nothing of it: the program can write anywhere.
 */
#ifndef ZOND_AGENT_CHANNEL_H
#define ZOND_AGENT_CHANNEL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define CHANNEL_ENV "ZOND_AGENT"

/* Of this header: agent and zond are of one installation, but a program that runs on keeps its agent. */
#define CHANNEL_VERSION 2u

/* Events under way. A full ring makes the program wait for zond. */
#define CHANNEL_SLOTS (1u << 15)

/* Rows of the tables, with row 0, and bytes of text. What finds no room is counted in `full`, and stands for
 * less: a place without a line, a function without a name, a stack cut at its innermost caller that is there.
 */
#define CHANNEL_NODES (3u << 18)
#define CHANNEL_FRAMES (3u << 16)
#define CHANNEL_CODES (3u << 15)
#define CHANNEL_TEXT (32u << 20)

/* One text; longer names are cut. */
#define CHANNEL_TEXT_MAX 16384u

/* Chains of each table, by a hash of the key. */
#define CHANNEL_HEADS (1u << 14)

/* When the futex word of `owner` has this bit, zond died (set by the kernel: a robust mutex). */
#define CHANNEL_OWNER_DIED 0x40000000u

enum channel_kind {
    CHANNEL_ALLOCATE = 1, /* stack, address, size */
    CHANNEL_FREE,         /* address */
    CHANNEL_MOVE,         /* address: about to be reallocated; its ticket is the token */
    CHANNEL_MOVED,        /* token; stack, address, size: as of an allocation. address 0: freed */
    CHANNEL_STAYED,       /* token: was not moved, and is as it was; also of mappings */
    CHANNEL_MAP,          /* stack, address, size: anonymous memory; replaces what was mapped there */
    CHANNEL_UNMAP,        /* address, size */
    CHANNEL_REMAP,        /* address, size: a mapping, about to be moved; its ticket is the token */
    CHANNEL_REMAPPED,  /* token; stack, address, size: as of a mapping, if the old one was of such memory */
    CHANNEL_LISTENS,   /* address: time from which on collections are told, once Python has begun */
    CHANNEL_LISTENED,  /* address: time of the end of that, by the program */
    CHANNEL_COLLECTS,  /* stack; token: generation; address: time; its ticket is the token */
    CHANNEL_COLLECTED, /* token; address: time; size: objects collected; stack: uncollectable ones, modulo
                          2^32 */
};

/* Times are ns of CLOCK_MONOTONIC. turn: 1 + the ticket of the event that the slot holds, modulo 2^32. */
struct channel_event {
    _Atomic uint32_t turn;
    uint32_t kind; /* enum channel_kind */
    uint32_t stack;
    uint32_t token;
    uint64_t address;
    uint64_t size;
};

/* A chain's link, at the start of each row. next: row, 0 ends the chain. */
struct channel_link {
    uint64_t key;
    uint32_t next;
    uint32_t unused;
};

/* A stack: key is node of the caller << 32 | frame. Node 0 is the empty stack. */
struct channel_node {
    struct channel_link link;
};

/* A place: key is code << 32 | instruction. As struct py_place. */
struct channel_frame {
    struct channel_link link;
    uint32_t line, end_line, column, end_column;
};

/* A function: key is a hash of what identifies it. Texts are UTF-8, `len` bytes at `at` of the channel's
 * text. */
struct channel_code {
    struct channel_link link;
    uint32_t first_line;
    uint32_t name_at, name_len;
    uint32_t file_at, file_len;
    uint32_t unused;
};

/* count: rows given so far, also beyond the limit of the table. */
struct channel_index {
    _Atomic uint32_t count;
    _Atomic uint32_t heads[CHANNEL_HEADS];
};

/* allocations: 0: zond wants to know of collections only. owner: held by zond as long as it listens, a robust
 * mutex that is shared; the first word of glibc's is a futex. closed: written by zond when it wants no more.
 * gave_up: written by the agent when it waited in vain.
 */
struct channel {
    _Alignas(64) uint32_t version;
    uint32_t allocations;
    _Atomic uint32_t closed;
    pthread_mutex_t owner;
    _Alignas(64) _Atomic uint32_t head; /* tickets given; both modulo 2^32 */
    _Alignas(64) _Atomic uint32_t tail; /* events taken */
    _Alignas(64) _Atomic uint32_t gave_up;
    _Atomic uint64_t full;      /* things for which a table had no room */
    _Atomic uint64_t truncated; /* stacks that were too deep */
    _Atomic uint32_t text_used;
    struct channel_index node_index, frame_index, code_index;
    struct channel_event events[CHANNEL_SLOTS];
    struct channel_node nodes[CHANNEL_NODES];
    struct channel_frame frames[CHANNEL_FRAMES];
    struct channel_code codes[CHANNEL_CODES];
    uint8_t text[CHANNEL_TEXT];
};

#endif
