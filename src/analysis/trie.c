/* trie: see trie.h. */
#include "analysis/trie.h"

#include <errno.h>

static int add(struct trie *t, const struct profile_node *node)
{
    buf_put(&t->nodes, node, sizeof(*node));
    if (t->nodes.error)
        return t->nodes.error;
    t->count++;
    return 0;
}

int trie_init(struct trie *t)
{
    *t = (struct trie){0};
    buf_init(&t->nodes, TRIE_MAX * sizeof(struct profile_node));
    map_init(&t->by_content);
    return add(t, &(struct profile_node){0});
}

void trie_release(struct trie *t)
{
    buf_release(&t->nodes);
    map_release(&t->by_content);
}

int trie_child(struct trie *t, uint32_t parent, uint32_t what, uint32_t frame, uint32_t *node)
{
    uint64_t key = (uint64_t)parent << 32 | what;
    *node = map_get(&t->by_content, key);
    if (*node != MAP_NONE)
        return 0;
    *node = parent;
    if (t->count == TRIE_MAX)
        return 0;
    int err = add(t, &(struct profile_node){.parent = parent, .frame = frame});
    if (!err)
        err = map_put(&t->by_content, key, t->count - 1);
    *node = t->count - 1;
    return err;
}
