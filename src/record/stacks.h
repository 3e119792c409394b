/* stacks: the writer's trie of stack nodes, and the way their growth is written.
 *
 * A node gets its id when it is pushed, but goes to the file only when a sample refers to it or to a callee
 * of it: its number there, the wire id, is given then. So a stack that was walked and thrown away costs no
 * byte.
 */
#ifndef ZOND_RECORD_STACKS_H
#define ZOND_RECORD_STACKS_H

#include "base/buf.h"
#include "base/map.h"

struct stack_node {
    uint32_t parent;
    uint32_t frame;
    uint32_t wire; /* STACK_UNSENT until it is in the file */
};

#define STACK_UNSENT UINT32_MAX

/* Invariants: node 0 is the empty stack with wire id 0; a node's parent has a smaller id, and a smaller wire
 * id; a sent node's parent is sent; by_content maps parent << 32 | frame to the node. */
struct stacks {
    struct stack_node *nodes;
    size_t cap;
    uint32_t count;
    uint32_t sent;
    struct map by_content;
};

/* Columns of a chunk that receive the growth: docs/recording-format.md, "Stacks". */
struct stack_columns {
    struct buf *stack;
    struct buf *up;
    struct buf *grown;
    struct buf *leaves;
    struct buf *frames;
};

int stacks_init(struct stacks *s);
void stacks_release(struct stacks *s);
/* Forgets all nodes but the empty stack; keeps the memory. */
void stacks_clear(struct stacks *s);

/* -ENOSPC beyond REC_MAX_NODES, -EINVAL for a parent that does not exist, -ENOMEM. */
int stacks_push(struct stacks *s, uint32_t parent, uint32_t frame, uint32_t *node);

/* Writes how to get from node `last` to `node`, sending what the file does not have yet. */
void stacks_write(struct stacks *s, uint32_t last, uint32_t node, const struct stack_columns *to);

#endif
