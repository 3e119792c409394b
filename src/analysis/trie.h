/* trie: the distinct stacks of a whole recording, over all epochs, with what each weighs itself. */
#ifndef ZOND_ANALYSIS_TRIE_H
#define ZOND_ANALYSIS_TRIE_H

#include "analysis/profile.h"
#include "base/buf.h"
#include "base/map.h"

/* 72 bytes each: what bounds the memory of a profile whose stacks are all different. */
#define TRIE_MAX (3u << 18)

/* Invariants: nodes holds count profile_nodes, the first of them the empty stack; a node's parent has a
 * smaller index; by_content maps parent << 32 | what it is told apart by, to
 * the node. */
struct trie {
    struct buf nodes; /* struct profile_node */
    struct map by_content;
    uint32_t count;
};

int trie_init(struct trie *t);
void trie_release(struct trie *t);

/* The node that `what` (the frame, or its function) makes of `parent`, made with `frame` if it is new;
 * `parent` itself once there are TRIE_MAX nodes. */
int trie_child(struct trie *t, uint32_t parent, uint32_t what, uint32_t frame, uint32_t *node);

static inline struct profile_node *trie_at(const struct trie *t, uint32_t node)
{
    return (struct profile_node *)t->nodes.data + node;
}

#endif
