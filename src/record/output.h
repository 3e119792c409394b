/* output: the writer's way to the file. A thread of its own compresses, checksums and writes, so that whoever
 * records never waits for a disk or a pipe.
 *
 * One thread calls output_push and output_free; the others may be called from it at any time.
 */
#ifndef ZOND_RECORD_OUTPUT_H
#define ZOND_RECORD_OUTPUT_H

#include "record/block.h"

struct output;

/* Takes fd, also on error. The preamble of the file is the first thing written. */
int output_new(int fd, struct output **out);
/* Writes what is queued, closes. Returns the first error of the output, if any. */
int output_free(struct output *o);

/* Queues one block with this payload and never waits. Takes the memory of payload->raw, also on error. Does
 * not limit the queue: see output_queued. */
int output_push(struct output *o, uint32_t type, const struct payload *payload);

/* Bytes of payload that wait to be written. */
size_t output_queued(const struct output *o);

/* Stops writing for good with this negative errno, unless it has stopped already. */
void output_fail(struct output *o, int error);
/* 0, or the negative errno that stopped the output. */
int output_error(const struct output *o);

#endif
