/* list: see list.h. */
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

#define CAP_FIRST 16

void *list_room(void *list, size_t *cap, size_t count, size_t size)
{
    if (count < *cap)
        return list;
    size_t longer = *cap ? *cap * 2 : CAP_FIRST;
    void *moved = reallocarray(list, longer, size);
    if (moved)
        *cap = longer;
    return moved;
}

size_t list_up_to(const void *list, size_t count, size_t size, uint64_t key)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint64_t first;
        memcpy(&first, (const char *)list + middle * size, sizeof(first));
        if (first <= key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
