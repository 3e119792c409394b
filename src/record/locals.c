/* locals: see locals.h. */
#include "record/locals.h"

#include <errno.h>
#include <stdlib.h>

#include "base/list.h"

void rec_locals_init(struct rec_locals *l)
{
    *l = (struct rec_locals){0};
    buf_init(&l->text, REC_LOCALS_BYTES);
    map_init(&l->by_frame);
}

void rec_locals_release(struct rec_locals *l)
{
    buf_release(&l->text);
    map_release(&l->by_frame);
    free(l->items);
    free(l->frames);
    *l = (struct rec_locals){0};
}

static uint64_t key_of(uint32_t thread, uint32_t frame)
{
    return (uint64_t)thread << 32 | frame;
}

int rec_locals_begin(struct rec_locals *l, uint32_t thread, uint32_t frame)
{
    struct rec_locals_frame *frames = list_room(l->frames, &l->frame_cap, l->frame_count, sizeof(*frames));
    if (!frames)
        return -ENOMEM;
    l->frames = frames;
    l->frames[l->frame_count] = (struct rec_locals_frame){.first = l->count};
    return map_put(&l->by_frame, key_of(thread, frame), (uint32_t)l->frame_count++);
}

int rec_locals_add(struct rec_locals *l, const char *name, size_t name_len, const char *value,
                   size_t value_len)
{
    struct rec_locals_item *items = list_room(l->items, &l->cap, l->count, sizeof(*items));
    if (!items)
        return -ENOMEM;
    l->items = items;
    size_t at = l->text.len;
    buf_put(&l->text, name, name_len);
    buf_put(&l->text, value, value_len);
    if (l->text.error)
        return l->text.error;
    l->items[l->count++] =
        (struct rec_locals_item){.at = at, .name_len = (uint32_t)name_len, .value_len = (uint32_t)value_len};
    l->frames[l->frame_count - 1].count++;
    return 0;
}

size_t rec_locals_count(const struct rec_locals *l, uint32_t thread, uint32_t frame)
{
    uint32_t index = map_get(&l->by_frame, key_of(thread, frame));
    return index == MAP_NONE ? 0 : l->frames[index].count;
}

struct rec_local rec_locals_get(const struct rec_locals *l, uint32_t thread, uint32_t frame, size_t i)
{
    const struct rec_locals_frame *f = &l->frames[map_get(&l->by_frame, key_of(thread, frame))];
    const struct rec_locals_item *item = &l->items[f->first + i];
    const char *name = (const char *)l->text.data + item->at;
    return (struct rec_local){.name = name,
                              .value = name + item->name_len,
                              .name_len = item->name_len,
                              .value_len = item->value_len};
}
