/* collections: see collections.h. One is under way at most: those of an interpreter follow each other. What
 * has not ended when the program ends is none: nobody knows how long it would have taken.
 */
#include "feed/collections.h"

#include <stdlib.h>

#include "base/list.h"

void feed_collections_release(struct feed_collections *f)
{
    free(f->list);
    *f = (struct feed_collections){0};
}

static void begin(struct feed_collections *f, uint32_t ticket, const struct channel_event *event)
{
    f->under_way = event->token < REC_GENERATIONS;
    f->token = ticket;
    f->present = (struct rec_collection){
        .stack = event->stack, .start_ns = event->address, .generation = event->token};
}

static void end(struct feed_collections *f, const struct channel_event *event)
{
    if (!f->under_way || f->token != event->token || event->address < f->present.start_ns)
        return;
    f->under_way = false;
    f->present.length_ns = event->address - f->present.start_ns;
    f->present.collected = event->size;
    f->present.uncollectable = event->stack;
    struct rec_collection *list =
        f->count < FEED_COLLECTIONS_MAX ? list_room(f->list, &f->cap, f->count, sizeof(*list)) : NULL;
    if (!list) {
        f->lost++;
        return;
    }
    f->list = list;
    list[f->count++] = f->present;
}

bool feed_collections_take(struct feed_collections *f, uint32_t ticket, const struct channel_event *event)
{
    switch (event->kind) {
    case CHANNEL_LISTENS:
        f->since_ns = f->since_ns ? f->since_ns : event->address;
        f->until_ns = 0;
        return true;
    case CHANNEL_LISTENED:
        f->until_ns = f->since_ns ? event->address : 0;
        return true;
    case CHANNEL_COLLECTS:
        begin(f, ticket, event);
        return true;
    case CHANNEL_COLLECTED:
        end(f, event);
        return true;
    default:
        return false;
    }
}
