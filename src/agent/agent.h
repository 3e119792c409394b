/* The parts of the agent, which runs inside of other programs: agent.c (its life and the ring), hooks.c (the
 * functions that it stands in for), collections.c (Python's garbage collections), walk.c (the Python stack of
 * the calling thread) and tables.c (what was seen, numbered).
 *
 * Its own world: it calls no function that allocates, locks or writes, keeps errno, and takes memory from the
 * kernel alone. It may be called in any thread, in signal handlers, before main and after exit.
 */
#ifndef ZOND_AGENT_AGENT_H
#define ZOND_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/channel.h"

/* dlsym as the oldest C library has it, so that the agent can be loaded into any. */
#if defined(__x86_64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.2.5");
#endif

#define AGENT_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Begins a probe: the channel to record into, or NULL where nothing is to be recorded: there is no zond, the
 * thread is inside of a probe already, or the probe is of an allocation and zond wants none. agent_leave ends
 * it, but for NULL. */
struct channel *agent_enter(bool allocation);
void agent_leave(void);

/* Writes an event, and waits while the ring is full. Returns its ticket. Falls silent for ever when zond is
 * gone. */
uint32_t agent_put(struct channel *c, const struct channel_event *event);

/* Finds the functions that the hooks stand in for; at the agent's start, or by the first of them if that is
 * earlier. */
void hooks_find(void);

/* Finds what Python has for those who listen to its collections: before main, once. */
void collections_find(void);
/* The process has a channel, which nothing was written into yet. */
void collections_attached(struct channel *c);
/* True: collections_listen is to be called, from any thread in which the program may run: it listens once
 * Python has begun. */
extern _Atomic bool collections_wait;
void collections_listen(void);

/* Finds the Python of this process, if there is one: before main, once. */
void walk_find(void);
/* The Python stack of the calling thread as a node of the channel; 0 where it runs no Python. */
uint32_t walk_stack(struct channel *c);
/* After a fork: what other threads held is free again. */
void walk_reset(void);

/* Numbers for what was seen; the same for the same. 0 when the table is full. */
uint32_t tables_node(struct channel *c, uint32_t caller, uint32_t frame);

/* How a new row is filled. ctx, of whoever asks. */
typedef void tables_fill_fn(struct channel *c, uint32_t row, const void *ctx);
uint32_t tables_frame(struct channel *c, uint64_t key, tables_fill_fn *fill, const void *ctx);
uint32_t tables_code(struct channel *c, uint64_t key, tables_fill_fn *fill, const void *ctx);

/* Room for n bytes of text, or NULL. *at: where that is in the channel's text. */
uint8_t *tables_text(struct channel *c, uint32_t n, uint32_t *at);

#endif
