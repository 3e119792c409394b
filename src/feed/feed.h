/* feed: zond's side of the agents: gives each program image of the recorded tree its channel, takes events
 * out of them all the time, in a thread of its own, and keeps the heap and the collections of each.
 *
 * What was found out is written by feed_write, in the thread that the writer is of.
 */
#ifndef ZOND_FEED_FEED_H
#define ZOND_FEED_FEED_H

#include "record/writer.h"

struct feed;

/* Makes the socket that agents ask; nobody answers before feed_start. allocations: these, too, not only
 * collections. 0 or a negative errno. */
int feed_new(bool allocations, struct feed **out);
/* NAME=VALUE: what agents find in their environment. Valid as long as the feed. */
const char *feed_variable(const struct feed *f);

/* Starts the thread. 0 or a negative errno. */
int feed_start(struct feed *f);
/* Takes what is there by now, and lets the agents fall silent. */
void feed_stop(struct feed *f);
/* Stops, if need be. NULL is allowed. */
void feed_free(struct feed *f);

/* Writes what there is to say since the last time. last: also the sums that are written every few seconds
 * only. */
void feed_write(struct feed *f, struct rec_writer *w, bool last);

#endif
