/* type: see type.h. */
#include "python/type.h"

#include <errno.h>
#include <string.h>

/* Types of types of types, and bases of a type, before it is called absurd. */
#define METAS_MAX 4
#define BASES_MAX 16
#define PAGE 4096u

/* Builtins that no flag tells: their types are static, so that the name cannot be a program's. */
static const struct {
    const char *name;
    enum py_kind kind;
} named[] = {
    {"ellipsis", PY_KIND_ELLIPSIS}, {"NoneType", PY_KIND_NONE},       {"bool", PY_KIND_BOOL},
    {"float", PY_KIND_FLOAT},       {"complex", PY_KIND_COMPLEX},     {"frozendict", PY_KIND_DICT},
    {"set", PY_KIND_SET},           {"frozenset", PY_KIND_FROZENSET}, {"cell", PY_KIND_CELL},
};

static const struct {
    const char *name;
    uint32_t flag;
    enum py_kind kind;
} flagged[] = {
    {"int", TYPE_INT, PY_KIND_INT},       {"str", TYPE_STR, PY_KIND_STR},
    {"tuple", TYPE_TUPLE, PY_KIND_TUPLE}, {"list", TYPE_LIST, PY_KIND_LIST},
    {"dict", TYPE_DICT, PY_KIND_DICT},    {"bytes", TYPE_BYTES, PY_KIND_BYTES},
    {"type", TYPE_TYPE, PY_KIND_TYPE},
};

/* Is the object at `at` a type? */
static bool is_type(struct py_types *t, uint64_t at, int metas)
{
    const struct layout *l = &t->rt->layout;
    struct memory *m = &t->rt->memory;
    uint64_t meta, flags;
    if (!at || at % sizeof(void *) != 0 || memory_read_u64(m, at + l->object.type, &meta) != 0)
        return false;
    if (meta == t->type_type)
        return true;
    return metas > 0 && memory_read_u64(m, meta + l->instance.flags, &flags) == 0 && flags & TYPE_TYPE &&
           is_type(t, meta, metas - 1);
}

/* A C string, up to the end of its page first: what is behind it may not be mapped. -EBADMSG: a name is no
 * such thing. */
static int read_type_name(struct memory *m, uint64_t at, char out[static PY_TYPE_NAME_MAX + 1])
{
    size_t first = min_u64(PY_TYPE_NAME_MAX, PAGE - at % PAGE);
    int err = memory_read(m, at, out, first);
    if (!err && first < PY_TYPE_NAME_MAX && !memchr(out, 0, first))
        err = memory_read(m, at + first, out + first, PY_TYPE_NAME_MAX - first);
    out[PY_TYPE_NAME_MAX] = 0;
    size_t len = err ? 0 : strlen(out);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
            return -EBADMSG;
    }
    return err ? err : len ? 0 : -EBADMSG;
}

struct raw_type {
    uint64_t flags, base;
    char name[PY_TYPE_NAME_MAX + 1];
};

static int read_raw_type(struct py_types *t, uint64_t at, struct raw_type *raw)
{
    const struct layout *l = &t->rt->layout;
    struct memory *m = &t->rt->memory;
    uint64_t name;
    if (!is_type(t, at, METAS_MAX))
        return -EBADMSG;
    struct piece pieces[] = {{at + l->object.type_name, &name, 8},
                             {at + l->instance.flags, &raw->flags, 8},
                             {at + l->instance.base, &raw->base, 8}};
    int err = memory_readv(m, pieces, ARRAY_LEN(pieces), NULL);
    if (!err && !(raw->flags & TYPE_READY))
        err = -EBADMSG;
    return err ? err : read_type_name(m, name, raw->name);
}

/* The builtin that this very type is; PY_KIND_OTHER: none. */
static enum py_kind kind_by_name(const struct raw_type *raw)
{
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (!(raw->flags & TYPE_HEAP) && strcmp(raw->name, named[i].name) == 0)
            return named[i].kind;
    }
    return PY_KIND_OTHER;
}

static enum py_kind kind_by_flags(uint64_t flags)
{
    for (size_t i = 0; i < ARRAY_LEN(flagged); i++) {
        if (flags & flagged[i].flag)
            return flagged[i].kind;
    }
    return PY_KIND_OTHER;
}

/* Is the type called as the builtin that it is like? Then the text needs no name. */
static bool is_plain(const struct raw_type *raw, enum py_kind kind)
{
    if (raw->flags & TYPE_HEAP)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(flagged); i++) {
        if (flagged[i].kind == kind && strcmp(raw->name, flagged[i].name) == 0)
            return true;
    }
    return kind_by_name(raw) == kind && strcmp(raw->name, "frozendict") != 0;
}

static int read_type(struct py_types *t, uint64_t at, struct py_type *out)
{
    struct raw_type raw, base;
    int err = read_raw_type(t, at, &raw);
    if (err)
        return err;
    base = raw;
    enum py_kind kind = kind_by_name(&raw);
    if (kind == PY_KIND_OTHER)
        kind = kind_by_flags(raw.flags);
    for (int i = 0; i < BASES_MAX && kind == PY_KIND_OTHER && base.base; i++) {
        if (read_raw_type(t, base.base, &base) != 0)
            return -EBADMSG;
        kind = kind_by_name(&base);
    }
    *out = (struct py_type){.at = at, .kind = kind, .plain = is_plain(&raw, kind)};
    memcpy(out->name, raw.name, sizeof(out->name));
    return 0;
}

int py_types_init(struct py_types *t, struct py_runtime *rt, uint64_t some_type)
{
    *t = (struct py_types){.rt = rt};
    return some_type ? memory_read_u64(&rt->memory, some_type + rt->layout.object.type, &t->type_type)
                     : -EBADMSG;
}

const struct py_type *py_type_at(struct py_types *t, uint64_t at)
{
    struct py_type found;
    for (size_t i = 0; i < t->count && i < PY_TYPES; i++) {
        if (t->list[i].at == at)
            return &t->list[i];
    }
    if (read_type(t, at, &found) != 0)
        return NULL;
    struct py_type *type = &t->list[t->count++ % PY_TYPES];
    *type = found;
    return type;
}

/* frozenset is written so, too. */
bool py_type_wears_name(const struct py_type *type)
{
    bool is_value = type->kind >= PY_KIND_INT && type->kind <= PY_KIND_FROZENSET;
    return type->kind == PY_KIND_FROZENSET || (is_value && !type->plain);
}
