/* stacks: see stacks.h. */
#include "record/stacks.h"

#include <errno.h>
#include <stdlib.h>

#include "record/format.h"

int stacks_init(struct stacks *s)
{
    *s = (struct stacks){.cap = 1024};
    map_init(&s->by_content);
    s->nodes = malloc(s->cap * sizeof(*s->nodes));
    if (!s->nodes)
        return -ENOMEM;
    stacks_clear(s);
    return 0;
}

void stacks_release(struct stacks *s)
{
    free(s->nodes);
    map_release(&s->by_content);
    *s = (struct stacks){0};
}

void stacks_clear(struct stacks *s)
{
    s->nodes[0] = (struct stack_node){0};
    s->count = 1;
    s->sent = 1;
    map_clear(&s->by_content);
}

static int grow(struct stacks *s)
{
    struct stack_node *nodes = realloc(s->nodes, 2 * s->cap * sizeof(*nodes));
    if (!nodes)
        return -ENOMEM;
    s->nodes = nodes;
    s->cap *= 2;
    return 0;
}

int stacks_push(struct stacks *s, uint32_t parent, uint32_t frame, uint32_t *node)
{
    uint64_t key = (uint64_t)parent << 32 | frame;
    *node = map_get(&s->by_content, key);
    if (*node != MAP_NONE)
        return 0;
    if (parent >= s->count)
        return -EINVAL;
    if (s->count == REC_MAX_NODES)
        return -ENOSPC;
    if (s->count == s->cap && grow(s) != 0)
        return -ENOMEM;
    if (map_put(&s->by_content, key, s->count) != 0)
        return -ENOMEM;
    *node = s->count++;
    s->nodes[*node] = (struct stack_node){.parent = parent, .frame = frame, .wire = STACK_UNSENT};
    return 0;
}

/* Sends the unsent part of node's stack, innermost frame first. Returns the sent node that it grows from. */
static uint32_t send(struct stacks *s, uint32_t node, const struct stack_columns *to)
{
    uint32_t n = 0;
    uint32_t at = node;
    for (; s->nodes[at].wire == STACK_UNSENT; at = s->nodes[at].parent) {
        buf_put_varint(n ? to->frames : to->leaves, s->nodes[at].frame);
        n++;
    }
    s->sent += n;
    uint32_t wire = s->sent;
    for (uint32_t i = node; i != at; i = s->nodes[i].parent)
        s->nodes[i].wire = --wire;
    buf_put_varint(to->grown, n - 1);
    return at;
}

/* Steps from `from` toward the root to reach `to`, or -1 when there is no short way. */
static int steps_up(const struct stacks *s, uint32_t from, uint32_t to)
{
    for (int steps = 0; steps <= REC_MAX_UP; steps++, from = s->nodes[from].parent) {
        if (from == to)
            return steps;
        if (from == 0)
            return -1;
    }
    return -1;
}

void stacks_write(struct stacks *s, uint32_t last, uint32_t node, const struct stack_columns *to)
{
    if (node == last) {
        buf_put_varint(to->stack, REC_STACK_SAME);
        return;
    }
    if (s->nodes[node].wire != STACK_UNSENT) {
        int64_t step = (int64_t)s->nodes[node].wire - s->nodes[last].wire;
        uint64_t zigzag = (uint64_t)step << 1 ^ (uint64_t)(step >> 63);
        buf_put_varint(to->stack, zigzag + REC_STACK_KNOWN);
        return;
    }
    buf_put_varint(to->stack, REC_STACK_GROWN);
    uint32_t base = send(s, node, to);
    int up = steps_up(s, last, base);
    if (up >= 0) {
        buf_put_varint(to->up, (uint64_t)up + 1);
    } else {
        buf_put_varint(to->up, 0);
        buf_put_varint(to->up, s->nodes[base].wire);
    }
}
