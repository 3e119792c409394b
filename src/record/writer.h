/* The writer: interns, delta-codes and streams a recording to a file or pipe.
 *
 * All calls come from one thread (the sampler's). They append to memory and never block on the output:
 * a block is handed to a thread of the writer's own, which compresses, checksums and writes it. When the
 * output is slower than the sampler, blocks queue up to a stated limit, then samples are dropped and counted.
 *
 * On a failed write (full disk, closed pipe) the writer stops writing, keeps what is whole on disk, and
 * rec_writer_error tells; calls stay safe and do nothing.
 */
#ifndef ZOND_RECORD_WRITER_H
#define ZOND_RECORD_WRITER_H

#include "record/model.h"

struct rec_writer;

/* fd: open for writing, owned by the writer from here on, also on error. */
int rec_writer_new(int fd, const struct rec_header *header, struct rec_writer **out);
/* Ends the recording in the file before (how the command ended is not known there) and goes on with one in
 * fd that is complete by itself: ids stay what they are, tables are repeated, figures of rec_stats start
 * over, processes and threads that are there come again, stack nodes are forgotten (rec_epoch). Call it
 * between samples: no later one may begin much before header->started_ns. Never waits; takes fd, also on
 * error, which ends the output. */
int rec_writer_rotate(struct rec_writer *w, int fd, const struct rec_header *header);
/* Bytes in the present file so far. */
size_t rec_writer_written(const struct rec_writer *w);
/* Flushes, writes the end block if `end` is given, and has the file closed, without waiting for the output.
 * Only rec_writer_free, with no end, may follow. */
void rec_writer_finish(struct rec_writer *w, const struct rec_end *end);
/* The same, and waits. NULL is allowed for w. Returns the first error of the output, if any. */
int rec_writer_free(struct rec_writer *w, const struct rec_end *end);
/* 0, or the negative errno that stopped the output. */
int rec_writer_error(const struct rec_writer *w);

/* Interning: the same content gives the same id. On -ENOMEM the id is 0. */
uint32_t rec_string(struct rec_writer *w, const void *bytes, size_t len);
uint32_t rec_code(struct rec_writer *w, const struct rec_code *code);
uint32_t rec_module(struct rec_writer *w, const struct rec_module *module);
uint32_t rec_frame(struct rec_writer *w, const struct rec_frame *frame);
/* The node of `frame` called from `parent`. Nodes are bounded: see rec_epoch. */
uint32_t rec_push(struct rec_writer *w, uint32_t parent, uint32_t frame);

/* What rec_push made of a node that is not empty. */
struct rec_node rec_pushed(const struct rec_writer *w, uint32_t node);

/* Changes when the writer has forgotten its stack nodes to bound memory (only inside rec_flush). Node ids
 * of an earlier epoch must not be used again. Strings, codes and frames stay. */
uint32_t rec_epoch(const struct rec_writer *w);
/* The node table is half full: call rec_flush before the next stack. Cheap; for after each tick. When it is
 * full, rec_push gives the parent back, and that is counted as REC_LOSS_TRUNCATED. */
bool rec_wants_flush(const struct rec_writer *w);

/* Announce; the index returned names it in samples. UINT32_MAX when there is no room: what names it is then
 * lost, and counted as REC_LOSS_TRUNCATED. */
uint32_t rec_process(struct rec_writer *w, const struct rec_process *process);
uint32_t rec_thread(struct rec_writer *w, const struct rec_thread *thread);
/* A thread's name, learnt or changed later. */
void rec_thread_name(struct rec_writer *w, uint32_t thread, uint32_t name);
/* The version of Python in a process (string id), learnt later. */
void rec_process_python(struct rec_writer *w, uint32_t process, uint32_t python);
void rec_exit(struct rec_writer *w, const struct rec_exit *exit);

void rec_sample(struct rec_writer *w, const struct rec_sample *sample);
void rec_loss(struct rec_writer *w, const struct rec_loss *loss);
void rec_stats(struct rec_writer *w, const struct rec_stats *stats);
void rec_pause(struct rec_writer *w, const struct rec_pause *pause);

/* Memory and collections. A heap is announced as a process is. The node of `frame` called from `parent`, in
 * the trie of stacks that allocated or collected; these stay: there is no epoch of them. When that is full,
 * it gives the parent back, which is counted as REC_LOSS_TRUNCATED. A recording with heaps goes to one file:
 * rec_writer_rotate does not repeat them. */
uint32_t rec_heap(struct rec_writer *w, const struct rec_heap *heap);
uint32_t rec_heap_push(struct rec_writer *w, uint32_t parent, uint32_t frame);
void rec_heap_site(struct rec_writer *w, const struct rec_heap_site *site);
void rec_heap_point(struct rec_writer *w, const struct rec_heap_point *point);
void rec_collector(struct rec_writer *w, const struct rec_collector *collector);
void rec_collection(struct rec_writer *w, const struct rec_collection *collection);

/* Waits while much is to be written still, so that no sample is dropped: for who need not be in time. */
void rec_wait(struct rec_writer *w);

/* Closes the open block and hands it to the output. The sampler calls it once a second, so that at most
 * that is lost when zond is killed; the writer calls it by itself when a block is full. */
void rec_flush(struct rec_writer *w);

#endif
