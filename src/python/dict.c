/* dict: see dict.h.
 *
 * Names are compared, not hashed: the hash of a str has a secret of the process in it. So the keys of a dict
 * are read many at a time, each as the few bytes that tell whether it is the name.
 */
#include "python/dict.h"

#include <errno.h>
#include <string.h>

/* Entries that one call reads. */
#define GROUP 64
#define GENERAL_ENTRY 24 /* hash, key, value */
#define NAME_ENTRY 16    /* key, value */
#define HEADER_MAX 64
/* No index is larger: 2^32 entries of 8 bytes. */
#define INDEX_LOG2_MAX 35

/* Where the entries of a dict's keys are. */
struct keys {
    uint64_t entries;
    size_t count, stride;
};

/* A group of entries as they were read; slot i is at position first + i. */
struct group {
    struct py_entry entries[GROUP];
    size_t first, count;
};

static uint64_t word_at(const uint8_t *copy, size_t offset)
{
    uint64_t value;
    memcpy(&value, copy + offset, sizeof(value));
    return value;
}

/* Bytes of the index of 3.8-3.10, whose length stands in the header; 0 when it cannot be. */
static uint64_t old_index_bytes(uint64_t length)
{
    if (length > 1ull << (INDEX_LOG2_MAX - 3))
        return 0;
    return length * (length <= 0xff ? 1 : length <= 0xffff ? 2 : length <= 0xffffffff ? 4 : 8);
}

static int read_keys(struct py_runtime *rt, uint64_t at, struct keys *keys)
{
    const struct layout *l = &rt->layout;
    uint8_t header[HEADER_MAX];
    uint64_t index_bytes = 0;
    if (!at || l->keys.indices > sizeof(header))
        return -EBADMSG;
    int err = memory_read(&rt->memory, at, header, l->keys.indices);
    if (err)
        return err;
    if (l->keys.log2_index_bytes == ABSENT)
        index_bytes = old_index_bytes(word_at(header, l->keys.size));
    else if (header[l->keys.log2_index_bytes] <= INDEX_LOG2_MAX)
        index_bytes = 1ull << header[l->keys.log2_index_bytes];
    uint64_t count = word_at(header, l->keys.nentries);
    if (!index_bytes || count > index_bytes)
        return -EBADMSG;
    bool general = l->keys.kind == ABSENT || header[l->keys.kind] == KEYS_GENERAL;
    *keys = (struct keys){.entries = at + l->keys.indices + index_bytes,
                          .count = min_u64(count, PY_DICT_ENTRIES_MAX),
                          .stride = general ? GENERAL_ENTRY : NAME_ENTRY};
    return 0;
}

static int read_group(struct py_runtime *rt, const struct keys *keys, size_t first, struct group *group)
{
    uint8_t raw[GROUP * GENERAL_ENTRY];
    size_t stride = keys->stride;
    *group = (struct group){.first = first, .count = min_u64(keys->count - first, GROUP)};
    int err = memory_read(&rt->memory, keys->entries + first * stride, raw, group->count * stride);
    for (size_t i = 0; i < group->count && !err; i++) {
        const uint8_t *entry = raw + i * stride;
        uint64_t end = keys->entries + (first + i + 1) * stride;
        group->entries[i] = (struct py_entry){.hash = stride == GENERAL_ENTRY ? word_at(entry, 0) : 0,
                                              .key = word_at(entry, stride - 16),
                                              .value = word_at(entry, stride - 8),
                                              .key_at = end - 16,
                                              .value_at = end - 8};
    }
    return err;
}

/* In a split table the values stand apart. */
static int read_split_values(struct py_runtime *rt, uint64_t values, struct group *group)
{
    uint64_t raw[GROUP];
    uint64_t at = values + rt->layout.keys.values_first + 8 * group->first;
    int err = memory_read(&rt->memory, at, raw, group->count * 8);
    for (size_t i = 0; i < group->count && !err; i++) {
        group->entries[i].value = raw[i];
        group->entries[i].value_at = at + 8 * i;
    }
    return err;
}

static int read_dict(struct py_runtime *rt, uint64_t dict, struct keys *keys, uint64_t *values)
{
    const struct layout *l = &rt->layout;
    uint64_t keys_at;
    struct piece pieces[] = {{dict + l->dict.keys, &keys_at, 8}, {dict + l->dict.values, values, 8}};
    if (!dict)
        return -EBADMSG;
    int err = memory_readv(&rt->memory, pieces, ARRAY_LEN(pieces), NULL);
    return err ? err : read_keys(rt, keys_at, keys);
}

int py_dict_each(struct py_runtime *rt, uint64_t dict, int (*each)(void *, const struct py_entry *),
                 void *ctx)
{
    struct keys keys;
    struct group group;
    uint64_t values;
    int err = read_dict(rt, dict, &keys, &values);
    for (size_t first = 0; !err && first < keys.count; first += GROUP) {
        err = read_group(rt, &keys, first, &group);
        if (!err && values)
            err = read_split_values(rt, values, &group);
        for (size_t i = 0; !err && i < group.count; i++) {
            if (group.entries[i].key && group.entries[i].value)
                err = each(ctx, &group.entries[i]);
        }
    }
    return err;
}

int py_dict_head(struct py_runtime *rt, uint64_t dict, struct py_entry *out, size_t max, size_t *count)
{
    struct keys keys;
    struct group group;
    uint64_t values;
    int err = read_dict(rt, dict, &keys, &values);
    keys.count = err ? 0 : min_u64(keys.count, PY_DICT_HEAD);
    *count = 0;
    for (size_t first = 0; !err && first < keys.count && *count < max; first += GROUP) {
        err = read_group(rt, &keys, first, &group);
        if (!err && values)
            err = read_split_values(rt, values, &group);
        for (size_t i = 0; !err && i < group.count && *count < max; i++) {
            if (group.entries[i].key && group.entries[i].value)
                out[(*count)++] = group.entries[i];
        }
    }
    return err;
}

/* Is the copy of the start of an object an ASCII str with these characters? */
static bool is_name(const struct layout *l, const uint8_t *object, const char *name, size_t len)
{
    uint32_t state;
    memcpy(&state, object + l->unicode.state, sizeof(state));
    return state >> l->unicode.ascii_shift & 1 && state >> l->unicode.compact_shift & 1 &&
           word_at(object, l->unicode.length) == len &&
           memcmp(object + l->unicode.ascii_data, name, len) == 0;
}

/* Looks for the name among n keys. -ENOENT when it is not there. A key that ends at the end of its mapping
 * can be shorter than what is read of it: it is not the name, which is as long. */
static int find_among(struct py_runtime *rt, const struct group *group, const char *name, size_t *found)
{
    uint8_t objects[GROUP][LAYOUT_FRAME_MAX];
    struct piece pieces[GROUP];
    size_t len = strlen(name), size = rt->layout.unicode.ascii_data + len;
    if (len > PY_NAME_MAX || size > sizeof(objects[0]))
        return -ENOENT;
    for (size_t i = 0; i < group->count; i++)
        pieces[i] = (struct piece){group->entries[i].key, objects[i], size};
    for (size_t from = 0; from < group->count; from++) {
        size_t whole;
        int err = memory_readv(&rt->memory, pieces + from, group->count - from, &whole);
        if (err && err != -EFAULT)
            return err;
        for (size_t end = from + whole; from < end; from++) {
            *found = from;
            if (is_name(&rt->layout, objects[from], name, len))
                return 0;
        }
    }
    return -ENOENT;
}

/* The entry of a name, and its position. */
static int find_in_keys(struct py_runtime *rt, const struct keys *keys, const char *name,
                        struct py_entry *entry, size_t *position)
{
    struct group group;
    size_t found = 0;
    int err = -ENOENT;
    for (size_t first = 0; err == -ENOENT && first < keys->count; first += GROUP) {
        err = read_group(rt, keys, first, &group);
        if (!err)
            err = find_among(rt, &group, name, &found);
        if (!err) {
            *entry = group.entries[found];
            *position = first + found;
        }
    }
    return err;
}

static int value_at(struct py_runtime *rt, uint64_t values, size_t position, uint64_t *value)
{
    int err = memory_read_u64(&rt->memory, values + rt->layout.keys.values_first + 8 * position, value);
    return err ? err : *value ? 0 : -ENOENT;
}

int py_dict_find(struct py_runtime *rt, uint64_t dict, const char *name, uint64_t *value)
{
    struct keys keys;
    struct py_entry entry;
    size_t position;
    uint64_t values;
    int err = read_dict(rt, dict, &keys, &values);
    if (!err)
        err = find_in_keys(rt, &keys, name, &entry, &position);
    if (err)
        return err;
    *value = entry.value;
    return values ? value_at(rt, values, position, value) : *value ? 0 : -ENOENT;
}

/* What of a type says where the attributes of its instances are. */
struct type {
    uint64_t at, flags, basicsize, dictoffset;
};

static int read_type(struct py_runtime *rt, uint64_t object, struct type *type)
{
    const struct layout *l = &rt->layout;
    int err = memory_read_u64(&rt->memory, object + l->object.type, &type->at);
    struct piece pieces[] = {{type->at + l->instance.flags, &type->flags, 8},
                             {type->at + l->instance.basicsize, &type->basicsize, 8},
                             {type->at + l->instance.dictoffset, &type->dictoffset, 8}};
    return err ? err : memory_readv(&rt->memory, pieces, ARRAY_LEN(pieces), NULL);
}

/* Where a managed dict or, while there is none, the values of an instance are; 0 for what is not. */
static int find_managed(struct py_runtime *rt, uint64_t object, const struct type *type, uint64_t *dict,
                        uint64_t *values)
{
    const struct layout *l = &rt->layout;
    *values = 0;
    int err = memory_read_u64(&rt->memory, object - l->instance.dict_before, dict);
    if (err)
        return err;
    switch (l->instance_kind) {
    case INSTANCE_VALUES:
        return memory_read_u64(&rt->memory, object - l->instance.values_before, values);
    case INSTANCE_TAGGED:
        if (*dict & 1) {
            *values = *dict + 1;
            *dict = 0;
        }
        return 0;
    case INSTANCE_INLINE:
        *values = type->flags & TYPE_INLINE_VALUES ? object + type->basicsize : 0;
        return 0;
    case INSTANCE_DICT:
        break;
    }
    return -ENOENT;
}

static int find_in_values(struct py_runtime *rt, const struct type *type, uint64_t values, const char *name,
                          uint64_t *value)
{
    struct keys keys;
    struct py_entry entry;
    size_t position;
    uint64_t keys_at;
    int err = memory_read_u64(&rt->memory, type->at + rt->layout.instance.cached_keys, &keys_at);
    if (!err)
        err = read_keys(rt, keys_at, &keys);
    if (!err)
        err = find_in_keys(rt, &keys, name, &entry, &position);
    return err ? err : value_at(rt, values, position, value);
}

int py_attribute(struct py_runtime *rt, uint64_t object, const char *name, uint64_t *value)
{
    struct type type;
    uint64_t dict = 0, values = 0;
    int err = read_type(rt, object, &type);
    if (err)
        return err;
    if (rt->layout.instance_kind != INSTANCE_DICT && type.flags & TYPE_MANAGED_DICT)
        err = find_managed(rt, object, &type, &dict, &values);
    else
        err = memory_read_u64(&rt->memory, object + type.dictoffset, &dict);
    if (err)
        return err;
    if (dict)
        return py_dict_find(rt, dict, name, value);
    return values ? find_in_values(rt, &type, values, name, value) : -ENOENT;
}

int py_module(struct py_runtime *rt, uint64_t interp, const char *name, uint64_t *module)
{
    uint64_t modules;
    int err = memory_read_u64(&rt->memory, interp + rt->layout.interp.modules, &modules);
    return err ? err : py_dict_find(rt, modules, name, module);
}
