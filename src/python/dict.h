/* dict: looking things up in dicts, modules and instances of another process.
 *
 * The memory changes while it is read. Every address, size and count found there is bounded before it is
 * used; a lookup that met nonsense fails or does not find, and the caller tries again later.
 * docs/cpython-notes.md describes the layouts.
 */
#ifndef ZOND_PYTHON_DICT_H
#define ZOND_PYTHON_DICT_H

#include "python/find.h"

/* Of a dict with more entries, only the first so many are looked at. */
#define PY_DICT_ENTRIES_MAX (1u << 17)
/* Longer names are not found. */
#define PY_NAME_MAX 32

/* An entry. hash is 0 in dicts whose keys are all str (3.11+: they do not keep it). key_at and value_at:
 * where key and value stand. */
struct py_entry {
    uint64_t hash, key, value;
    uint64_t key_at, value_at;
};

/* Calls `each` for every entry that has a value, in order of insertion; a return other than 0 ends the walk
 * with it. */
int py_dict_each(struct py_runtime *rt, uint64_t dict, int (*each)(void *ctx, const struct py_entry *entry),
                 void *ctx);

/* The first entries that have a value, at most `max`, out of the first PY_DICT_HEAD that there are. */
#define PY_DICT_HEAD 256
int py_dict_head(struct py_runtime *rt, uint64_t dict, struct py_entry *out, size_t max, size_t *count);

/* The value of the ASCII name. -ENOENT: none. */
int py_dict_find(struct py_runtime *rt, uint64_t dict, const char *name, uint64_t *value);

/* The value of a name among an instance's own attributes. -ENOENT: none. */
int py_attribute(struct py_runtime *rt, uint64_t object, const char *name, uint64_t *value);

/* The module of an interpreter's sys.modules. -ENOENT: it was not imported. */
int py_module(struct py_runtime *rt, uint64_t interp, const char *name, uint64_t *module);

#endif
