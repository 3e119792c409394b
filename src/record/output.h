/* output: the writer's way to the file. A thread of its own compresses, checksums and writes, so that whoever
 * records never waits for a disk or a pipe.
 *
 * One thread calls all of these.
 */
#ifndef ZOND_RECORD_OUTPUT_H
#define ZOND_RECORD_OUTPUT_H

#include "record/block.h"

struct output;

/* Takes fd, also on error. The preamble of the file is the first thing written. */
int output_new(int fd, struct output **out);
/* Nothing more will be pushed: what is queued is written, and the file is closed, without waiting for it. */
void output_finish(struct output *o);
/* The same, and waits. Returns the first error of the output, if any. */
int output_free(struct output *o);

/* Queues one block with this payload and never waits. Takes the memory of payload->raw, also on error. Does
 * not limit the queue: see output_queued. */
int output_push(struct output *o, uint32_t type, const struct payload *payload);

/* What is pushed from now on goes to fd, which begins with a preamble; the file before is closed once all of
 * its blocks are written. Never waits. Takes fd, also on error. */
int output_switch(struct output *o, int fd);

/* Bytes of payload that wait to be written. */
size_t output_queued(const struct output *o);
/* Waits until no more than `most` of them wait. */
void output_wait(struct output *o, size_t most);
/* Bytes of whole blocks in the present file; 0 while a switch is queued. */
size_t output_written(const struct output *o);

/* Stops writing for good with this negative errno, unless it has stopped already. */
void output_fail(struct output *o, int error);
/* 0, or the negative errno that stopped the output. */
int output_error(const struct output *o);

#endif
