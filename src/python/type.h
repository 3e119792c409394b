/* type: what the types of another process's objects say of their instances.
 *
 * A type counts as one only when its own type is `type` or derived from it and it is finished: so memory that
 * holds something else by now is found out. What an instance is like is told by flags that CPython keeps for
 * the commonest builtins, and by the names of the others, whose types are static.
 */
#ifndef ZOND_PYTHON_TYPE_H
#define ZOND_PYTHON_TYPE_H

#include "python/find.h"

/* Bytes of a type's name; longer ones are cut. */
#define PY_TYPE_NAME_MAX 64
/* Types that are remembered. */
#define PY_TYPES 16

/* From PY_KIND_INT to PY_KIND_FROZENSET those that can be derived from. */
enum py_kind {
    PY_KIND_OTHER,
    PY_KIND_NONE,
    PY_KIND_ELLIPSIS,
    PY_KIND_BOOL,
    PY_KIND_INT,
    PY_KIND_FLOAT,
    PY_KIND_COMPLEX,
    PY_KIND_STR,
    PY_KIND_BYTES,
    PY_KIND_TUPLE,
    PY_KIND_LIST,
    PY_KIND_DICT,
    PY_KIND_SET,
    PY_KIND_FROZENSET,
    PY_KIND_TYPE,
    PY_KIND_CELL,
};

/* kind: the builtin that it is or derives from. plain: it is that builtin. name: as the type has it, not
 * empty; UTF-8 for all that is known. */
struct py_type {
    uint64_t at;
    enum py_kind kind;
    bool plain;
    char name[PY_TYPE_NAME_MAX + 1];
};

/* type_type: the address of `type`. list: a ring of those that were read last. */
struct py_types {
    struct py_runtime *rt;
    uint64_t type_type;
    struct py_type list[PY_TYPES];
    size_t count;
};

/* some_type: a type object that is known to be an instance of `type` itself. -EBADMSG: it is none. What is
 * remembered holds for one look. */
int py_types_init(struct py_types *t, struct py_runtime *rt, uint64_t some_type);

/* The type at this address; NULL: there is none. Valid until the next call. */
const struct py_type *py_type_at(struct py_types *t, uint64_t at);

/* Is the type's name to stand around a value of it? */
bool py_type_wears_name(const struct py_type *type);

#endif
