/* locals: the local variables of the frames of one look. They stand beside the recording, not in it: values
 * are shown once, to whoever asked, and kept nowhere. A frame is known by its thread's index in the recording
 * and by how many Python frames of that thread are inside of it.
 */
#ifndef ZOND_RECORD_LOCALS_H
#define ZOND_RECORD_LOCALS_H

#include "base/buf.h"
#include "base/map.h"

/* Text of all of a look; what comes beyond is refused (-EFBIG). */
#define REC_LOCALS_BYTES (64u << 20)

/* The name of what is said of a frame's variables instead of one. */
#define REC_LOCALS_REST "…"

/* Strings are UTF-8 and not ended by NUL. */
struct rec_local {
    const char *name, *value;
    size_t name_len, value_len;
};

/* Invariants: by_frame maps (thread << 32 | frame) to an index of frames; a frame's variables are `count` of
 * items from `first` on. */
struct rec_locals {
    struct buf text;
    struct rec_locals_item {
        size_t at; /* name and value, in text */
        uint32_t name_len, value_len;
    } * items;
    size_t count, cap;
    struct rec_locals_frame {
        size_t first, count;
    } * frames;
    size_t frame_count, frame_cap;
    struct map by_frame;
};

void rec_locals_init(struct rec_locals *l);
void rec_locals_release(struct rec_locals *l);

/* Begins a frame anew: what follows is added to it. 0 or -ENOMEM. */
int rec_locals_begin(struct rec_locals *l, uint32_t thread, uint32_t frame);
/* Adds a variable to the frame that was begun last. 0, -ENOMEM or -EFBIG. */
int rec_locals_add(struct rec_locals *l, const char *name, size_t name_len, const char *value,
                   size_t value_len);

/* How many variables a frame has; 0 also when it was never begun. */
size_t rec_locals_count(const struct rec_locals *l, uint32_t thread, uint32_t frame);
/* i < rec_locals_count; valid until the next change. */
struct rec_local rec_locals_get(const struct rec_locals *l, uint32_t thread, uint32_t frame, size_t i);

#endif
