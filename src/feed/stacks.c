/* stacks: see stacks.h. */
#include "feed/stacks.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"

void feed_stacks_release(struct feed_stacks *s)
{
    free(s->nodes);
    free(s->frames);
    free(s->codes);
    free(s->path);
    *s = (struct feed_stacks){0};
}

/* The entry of a row, new ones being 0; NULL: no memory. */
static uint32_t *entry(uint32_t **list, size_t *count, size_t *cap, uint32_t row)
{
    while (*count <= row) {
        uint32_t *grown = list_room(*list, cap, *count, sizeof(*grown));
        if (!grown)
            return NULL;
        *list = grown;
        size_t room = min_u64(*cap, (uint64_t)row + 1);
        memset(grown + *count, 0, (room - *count) * sizeof(*grown));
        *count = room;
    }
    return &(*list)[row];
}

static uint32_t put_text(const struct channel *c, struct rec_writer *w, uint32_t at, uint32_t len)
{
    bool fits = at <= CHANNEL_TEXT && len <= CHANNEL_TEXT - at && len <= CHANNEL_TEXT_MAX;
    return fits ? rec_string(w, c->text + at, len) : 0;
}

static uint32_t code_of(struct feed_stacks *s, const struct channel *c, struct rec_writer *w, uint32_t row)
{
    uint32_t *known = row && row < CHANNEL_CODES ? entry(&s->codes, &s->code_count, &s->code_cap, row) : NULL;
    if (!known)
        return 0;
    const struct channel_code *code = &c->codes[row];
    if (!*known)
        *known = 1 + rec_code(w, &(struct rec_code){.name = put_text(c, w, code->name_at, code->name_len),
                                                    .file = put_text(c, w, code->file_at, code->file_len),
                                                    .first_line = code->first_line,
                                                    .kind = REC_PYTHON});
    return *known - 1;
}

static uint32_t frame_of(struct feed_stacks *s, const struct channel *c, struct rec_writer *w, uint32_t row)
{
    uint32_t *known =
        row && row < CHANNEL_FRAMES ? entry(&s->frames, &s->frame_count, &s->frame_cap, row) : NULL;
    if (!known)
        return 0;
    const struct channel_frame *frame = &c->frames[row];
    if (!*known)
        *known =
            1 + rec_frame(w, &(struct rec_frame){.code = code_of(s, c, w, (uint32_t)(frame->link.key >> 32)),
                                                 .line = frame->line,
                                                 .end_line = frame->end_line,
                                                 .column = frame->column,
                                                 .end_column = frame->end_column});
    return *known - 1;
}

/* From a node to the first caller that is known: how many, and that caller's number in *base. A caller has a
 * smaller number: one that has not ends the stack. */
static size_t find_path(struct feed_stacks *s, const struct channel *c, uint32_t node, uint32_t *base)
{
    size_t depth = 0;
    *base = REC_NO_STACK;
    while (node) {
        const uint32_t *known = entry(&s->nodes, &s->node_count, &s->node_cap, node);
        uint32_t *path = list_room(s->path, &s->path_cap, depth, sizeof(*path));
        s->path = path ? path : s->path;
        if (known && *known) {
            *base = *known - 1;
            break;
        }
        if (!known || !path)
            break;
        path[depth++] = node;
        uint32_t caller = (uint32_t)(c->nodes[node].link.key >> 32);
        node = caller < node ? caller : 0;
    }
    return depth;
}

uint32_t feed_stacks_node(struct feed_stacks *s, const struct channel *c, struct rec_writer *w, uint32_t node)
{
    uint32_t made;
    if (node >= CHANNEL_NODES)
        return REC_NO_STACK;
    size_t depth = find_path(s, c, node, &made);
    while (depth) {
        uint32_t row = s->path[--depth];
        made = rec_heap_push(w, made, frame_of(s, c, w, (uint32_t)c->nodes[row].link.key));
        s->nodes[row] = 1 + made;
    }
    return made;
}
