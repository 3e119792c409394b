/* list: growth of plain arrays, and search in them, one for the whole tree. The array, its count and its
 * capacity belong to the caller's struct; it is freed with free().
 */
#ifndef ZOND_BASE_LIST_H
#define ZOND_BASE_LIST_H

#include "base/base.h"

/* The array with room for one item of `size` bytes behind the first `count`: itself, or where it was moved
 * to, twice as long, *cap updated. NULL: no memory, and nothing has changed. New items are not cleared. */
void *list_room(void *list, size_t *cap, size_t count, size_t size);

/* How many of the items, which are sorted by their first member, a uint64_t, are not beyond `key`. */
size_t list_up_to(const void *list, size_t count, size_t size, uint64_t key);

#endif
