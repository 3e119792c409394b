/* collections: the garbage collections that an agent tells of, until they are written.
 *
 * What the agent says is the program's memory: what makes no sense is passed over.
 */
#ifndef ZOND_FEED_COLLECTIONS_H
#define ZOND_FEED_COLLECTIONS_H

#include "agent/channel.h"
#include "record/model.h"

/* Collections that wait to be written, for a second: more than a program can do that does nothing else (1.5
 * us each). Those beyond are counted in `lost`. */
#define FEED_COLLECTIONS_MAX (1u << 20)

/* since_ns 0: nobody listens. until_ns 0: it still does. list: the stacks are rows of the channel, the heap
 * is not set. under_way, token: `present` has begun. lost: also for lack of memory. */
struct feed_collections {
    uint64_t since_ns, until_ns;
    bool under_way;
    uint32_t token;
    struct rec_collection present;
    struct rec_collection *list;
    size_t count, cap;
    uint64_t lost;
};

void feed_collections_release(struct feed_collections *f);

/* Takes the event that had this ticket, if it is of collections; else false. */
bool feed_collections_take(struct feed_collections *f, uint32_t ticket, const struct channel_event *event);

#endif
