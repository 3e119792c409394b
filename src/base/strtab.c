/* strtab: see strtab.h. */
#include "base/strtab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

int strtab_init(struct strtab *t)
{
    *t = (struct strtab){0};
    buf_init(&t->bytes, UINT32_MAX);
    map_init(&t->by_hash);
    uint32_t empty;
    return strtab_intern(t, "", 0, &empty);
}

void strtab_release(struct strtab *t)
{
    buf_release(&t->bytes);
    free(t->offsets);
    free(t->lens);
    map_release(&t->by_hash);
    *t = (struct strtab){0};
}

static bool equals(const struct strtab *t, uint32_t id, const void *bytes, size_t len)
{
    return t->lens[id] == len && (!len || memcmp(t->bytes.data + t->offsets[id], bytes, len) == 0);
}

static int grow(struct strtab *t)
{
    size_t cap = t->cap ? t->cap * 2 : 256;
    uint32_t *offsets = realloc(t->offsets, cap * sizeof(*offsets));
    if (!offsets)
        return -ENOMEM;
    t->offsets = offsets;
    uint32_t *lens = realloc(t->lens, cap * sizeof(*lens));
    if (!lens)
        return -ENOMEM;
    t->lens = lens;
    t->cap = cap;
    return 0;
}

static int append(struct strtab *t, const void *bytes, size_t len)
{
    if (t->count == t->cap) {
        int err = grow(t);
        if (err)
            return err;
    }
    t->offsets[t->count] = (uint32_t)t->bytes.len;
    t->lens[t->count] = (uint32_t)len;
    if (!buf_reserve(&t->bytes, len + 1))
        return t->bytes.error;
    buf_put(&t->bytes, bytes, len);
    buf_put_u8(&t->bytes, 0);
    return t->bytes.error;
}

int strtab_intern(struct strtab *t, const void *bytes, size_t len, uint32_t *id)
{
    if (len > STRTAB_MAX_LEN)
        len = STRTAB_MAX_LEN;
    uint64_t hash = XXH3_64bits(bytes, len);
    for (;; hash++) {
        *id = map_get(&t->by_hash, hash);
        if (*id == MAP_NONE)
            break;
        if (equals(t, *id, bytes, len))
            return 0;
    }
    int err = append(t, bytes, len);
    if (err)
        return err;
    *id = (uint32_t)t->count++;
    return map_put(&t->by_hash, hash, *id);
}

const char *strtab_get(const struct strtab *t, uint32_t id)
{
    return id < t->count ? (const char *)t->bytes.data + t->offsets[id] : "?";
}

size_t strtab_len(const struct strtab *t, uint32_t id)
{
    return id < t->count ? t->lens[id] : 0;
}
