/* value: see value.h. */
#include "python/value.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "python/dict.h"
#include "python/repr.h"

/* How often a value that changes meanwhile is read. */
#define ATTEMPTS 3
/* No object has more items, characters or bytes. */
#define LENGTH_MAX (1ull << 48)
/* Slots of a set's table that are looked through for its first items, so many at a time. */
#define SET_SLOTS_MAX 256
#define SET_GROUP 32
/* setentry of setobject.h: {key, hash}; the hash of what was removed. */
#define SET_ENTRY 16
#define SET_REMOVED UINT64_MAX

/* One value while it is read. steps: pointers that were followed, to be compared in the end. When there is no
 * room for more of them the rest of the value is left out. */
struct reading {
    struct py_values *v;
    struct repr text;
    struct {
        uint64_t at, word;
    } steps[MEMORY_PIECES_MAX];
    size_t step_count;
};

/* Memory ----------------------------------------------------------------------------------------------- */

static const struct layout *layout(const struct reading *r)
{
    return &r->v->rt->layout;
}

static int read_at(struct reading *r, uint64_t at, void *to, size_t len)
{
    struct memory *m = &r->v->rt->memory;
    return m->reads < r->v->reads_end ? memory_read(m, at, to, len) : -EDQUOT;
}

/* What was read at `at` has to be the same in the end. */
static void step(struct reading *r, uint64_t at, uint64_t word)
{
    if (r->step_count == ARRAY_LEN(r->steps)) {
        repr_overflow(&r->text);
        return;
    }
    r->steps[r->step_count].at = at;
    r->steps[r->step_count++].word = word;
}

static int read_step(struct reading *r, uint64_t at, uint64_t *word)
{
    int err = read_at(r, at, word, sizeof(*word));
    if (!err)
        step(r, at, *word);
    return err;
}

static int read_length(struct reading *r, uint64_t at, uint64_t *length)
{
    int err = read_at(r, at, length, sizeof(*length));
    return err ? err : *length > LENGTH_MAX ? -EBADMSG : 0;
}

static bool is_unchanged(struct reading *r)
{
    uint64_t now[ARRAY_LEN(r->steps)];
    struct piece pieces[ARRAY_LEN(r->steps)];
    for (size_t i = 0; i < r->step_count; i++)
        pieces[i] = (struct piece){r->steps[i].at, &now[i], sizeof(now[i])};
    if (memory_readv(&r->v->rt->memory, pieces, r->step_count, NULL) != 0)
        return false;
    for (size_t i = 0; i < r->step_count; i++) {
        if (now[i] != r->steps[i].word)
            return false;
    }
    return true;
}

/* The type of the object. NULL: it has none that makes sense. The pointer is valid until the next call. */
static const struct py_type *type_of(struct reading *r, uint64_t object)
{
    uint64_t at;
    if (!object || object % sizeof(void *) != 0 || read_step(r, object + layout(r)->object.type, &at) != 0)
        return NULL;
    return py_type_at(&r->v->types, at);
}

/* Numbers ---------------------------------------------------------------------------------------------- */

/* How many digits an int has, and whether it is below zero. */
static int read_int_size(struct reading *r, uint64_t object, uint64_t *n, bool *negative)
{
    const struct layout *l = layout(r);
    bool tagged = l->integer.tag != ABSENT;
    uint64_t word;
    int err = read_at(r, object + (tagged ? l->integer.tag : l->object.var_size), &word, sizeof(word));
    if (err)
        return err;
    *negative = tagged ? (word & INT_SIGN_MASK) == INT_NEGATIVE : (int64_t)word < 0;
    *n = tagged ? word >> INT_SIGN_BITS : *negative ? 0 - word : word;
    return *n > LENGTH_MAX ? -EBADMSG : 0;
}

/* Zero has a digit that does not count, which is 0. */
static int put_int(struct reading *r, uint64_t object)
{
    uint32_t digits[REPR_DIGITS_MAX], top;
    uint64_t n, at = object + layout(r)->integer.digits;
    bool negative;
    int err = read_int_size(r, object, &n, &negative);
    if (!err && n > REPR_DIGITS_MAX) {
        err = read_at(r, at + 4 * (n - 1), &top, sizeof(top));
        if (!err && (!top || top >> INT_DIGIT_BITS))
            err = -EBADMSG;
        if (!err)
            repr_format(&r->text, "<%sint of %llu bits>", negative ? "negative " : "",
                        (unsigned long long)(n * INT_DIGIT_BITS) -
                            (unsigned)(__builtin_clz(top) - (32 - INT_DIGIT_BITS)));
        return err;
    }
    if (!err && n)
        err = read_at(r, at, digits, 4 * n);
    for (size_t i = 0; !err && i < n; i++)
        err = digits[i] >> INT_DIGIT_BITS ? -EBADMSG : 0;
    if (err)
        return err;
    repr_put(&r->text, negative ? "-" : "");
    repr_decimal(&r->text, digits, n);
    return 0;
}

static int put_bool(struct reading *r, uint64_t object)
{
    uint64_t n;
    uint32_t digit = 0;
    bool negative;
    int err = read_int_size(r, object, &n, &negative);
    if (!err && n)
        err = read_at(r, object + layout(r)->integer.digits, &digit, sizeof(digit));
    if (err || n > 1 || digit > 1 || negative)
        return err ? err : -EBADMSG;
    repr_put(&r->text, digit ? "True" : "False");
    return 0;
}

static int put_float(struct reading *r, uint64_t object)
{
    double x;
    int err = read_at(r, object + layout(r)->number.real, &x, sizeof(x));
    if (!err)
        repr_double(&r->text, x, false);
    return err;
}

static int put_complex(struct reading *r, uint64_t object)
{
    double x[2];
    int err = read_at(r, object + layout(r)->number.complex, x, sizeof(x));
    if (err)
        return err;
    bool real = x[0] != 0 || signbit(x[0]);
    repr_put(&r->text, real ? "(" : "");
    if (real)
        repr_double(&r->text, x[0], true);
    repr_put(&r->text, real && !signbit(x[1]) ? "+" : "");
    repr_double(&r->text, x[1], true);
    repr_put(&r->text, real ? "j)" : "j");
    return 0;
}

/* Strings ---------------------------------------------------------------------------------------------- */

static uint32_t unit_at(const uint8_t *data, uint32_t kind, size_t i)
{
    uint32_t c = 0;
    memcpy(&c, data + kind * i, kind);
    return c;
}

/* Units of 1, 2 or 4 bytes in quotes; `length` of them are there, n were read. */
static void put_units(struct reading *r, const uint8_t *data, uint32_t kind, size_t n, uint64_t length,
                      bool bytes, size_t depth)
{
    bool single = false, twofold = false;
    for (size_t i = 0; i < n; i++) {
        single |= unit_at(data, kind, i) == '\'';
        twofold |= unit_at(data, kind, i) == '"';
    }
    char quote = single && !twofold ? '"' : '\'';
    repr_chars(&r->text, (char[]){quote, 0}, 1);
    for (size_t i = 0; i < n && !r->text.full; i++)
        repr_quoted(&r->text, unit_at(data, kind, i), quote, bytes);
    if (n < length)
        repr_chars(&r->text, "…", 1);
    repr_chars(&r->text, (char[]){quote, 0}, 1);
    if (n < length || (depth == 0 && r->text.full))
        repr_length(&r->text, length, depth);
}

static size_t shown_units(uint64_t length, size_t depth)
{
    return min_u64(length, depth ? PY_VALUE_TEXT_INSIDE : PY_VALUE_TEXT);
}

/* A str that is not compact, as those of subclasses, has a pointer where the data of others is. */
static int find_text(struct reading *r, uint64_t object, uint32_t state, uint64_t *data)
{
    const struct layout *l = layout(r);
    bool ascii = state >> l->unicode.ascii_shift & 1;
    *data = object + (ascii ? l->unicode.ascii_data : l->unicode.data);
    if (state >> l->unicode.compact_shift & 1)
        return 0;
    return read_step(r, object + l->unicode.data, data);
}

static int put_str(struct reading *r, uint64_t object, size_t depth)
{
    const struct layout *l = layout(r);
    uint8_t units[4 * PY_VALUE_TEXT];
    uint64_t length, data;
    uint32_t state;
    int err = read_length(r, object + l->unicode.length, &length);
    if (!err)
        err = read_at(r, object + l->unicode.state, &state, sizeof(state));
    if (!err)
        err = find_text(r, object, state, &data);
    if (err)
        return err;
    uint32_t kind = state >> l->unicode.kind_shift & 7;
    size_t n = shown_units(length, depth);
    if (kind != 1 && kind != 2 && kind != 4)
        return -EBADMSG;
    if (n)
        err = read_at(r, data, units, n * kind);
    if (!err)
        put_units(r, units, kind, n, length, false, depth);
    return err;
}

static int put_bytes(struct reading *r, uint64_t object, size_t depth)
{
    uint8_t units[PY_VALUE_TEXT];
    uint64_t length;
    int err = read_length(r, object + layout(r)->bytes.size, &length);
    size_t n = err ? 0 : shown_units(length, depth);
    if (n)
        err = read_at(r, object + layout(r)->bytes.data, units, n);
    if (err)
        return err;
    repr_put(&r->text, "b");
    put_units(r, units, 1, n, length, true, depth);
    return 0;
}

/* Containers ------------------------------------------------------------------------------------------- */

static void put_object(struct reading *r, uint64_t object, size_t depth);

/* The brackets of an empty one, or of one that is not opened. True: that is all. */
static bool put_closed(struct reading *r, const char *open, const char *close, uint64_t length, size_t depth)
{
    if (length && depth < PY_VALUE_DEPTH)
        return false;
    repr_put(&r->text, open);
    if (length)
        repr_chars(&r->text, "…", 1);
    repr_put(&r->text, close);
    return true;
}

/* Behind the last item. `length` of them are there, n were shown. */
static void put_end(struct reading *r, const char *close, size_t n, uint64_t length, size_t depth)
{
    if (n < length) {
        repr_put(&r->text, n ? ", " : "");
        repr_chars(&r->text, "…", 1);
    }
    repr_put(&r->text, close);
    if (n < length || (depth == 0 && r->text.full))
        repr_length(&r->text, length, depth);
}

/* A tuple or a list: pointers from `items` on. */
static int put_sequence(struct reading *r, uint64_t items, uint64_t length, const char *brackets,
                        size_t depth)
{
    uint64_t words[PY_VALUE_ITEMS];
    char open[] = {brackets[0], 0}, close[] = {brackets[1], 0};
    if (put_closed(r, open, close, length, depth))
        return 0;
    size_t n = min_u64(length, PY_VALUE_ITEMS);
    int err = read_at(r, items, words, n * sizeof(*words));
    if (err)
        return err;
    repr_put(&r->text, open);
    for (size_t i = 0; i < n && !r->text.full; i++) {
        step(r, items + i * sizeof(*words), words[i]);
        repr_put(&r->text, i ? ", " : "");
        put_object(r, words[i], depth + 1);
    }
    put_end(r, length == 1 && brackets[0] == '(' ? ",)" : close, n, length, depth);
    return 0;
}

static int put_tuple(struct reading *r, uint64_t object, size_t depth)
{
    uint64_t length;
    int err = read_length(r, object + layout(r)->object.var_size, &length);
    return err ? err : put_sequence(r, object + layout(r)->tuple.items, length, "()", depth);
}

static int put_list(struct reading *r, uint64_t object, size_t depth)
{
    uint64_t length, items;
    int err = read_length(r, object + layout(r)->object.var_size, &length);
    if (!err)
        err = read_step(r, object + layout(r)->list.items, &items);
    return err ? err : put_sequence(r, items, length, "[]", depth);
}

static int put_dict(struct reading *r, uint64_t object, size_t depth)
{
    const struct layout *l = layout(r);
    struct py_entry entries[PY_VALUE_ITEMS];
    uint64_t length, keys;
    size_t n;
    int err = read_length(r, object + l->dict.used, &length);
    if (err || put_closed(r, "{", "}", length, depth))
        return err;
    err = read_step(r, object + l->dict.keys, &keys);
    if (!err)
        err = py_dict_head(r->v->rt, object, entries, PY_VALUE_ITEMS, &n);
    if (err)
        return err;
    repr_put(&r->text, "{");
    for (size_t i = 0; i < n && !r->text.full; i++) {
        step(r, entries[i].key_at, entries[i].key);
        step(r, entries[i].value_at, entries[i].value);
        repr_put(&r->text, i ? ", " : "");
        put_object(r, entries[i].key, depth + 1);
        repr_put(&r->text, ": ");
        put_object(r, entries[i].value, depth + 1);
    }
    put_end(r, "}", n, length, depth);
    return 0;
}

/* The first items of a set: where they stand. */
static int find_set_items(struct reading *r, uint64_t table, uint64_t slots, uint64_t *found, size_t *count)
{
    uint64_t group[SET_GROUP][SET_ENTRY / sizeof(uint64_t)];
    *count = 0;
    for (uint64_t first = 0; first < slots && *count < PY_VALUE_ITEMS; first += SET_GROUP) {
        size_t n = min_u64(slots - first, SET_GROUP);
        int err = read_at(r, table + first * SET_ENTRY, group, n * SET_ENTRY);
        if (err)
            return err;
        for (size_t i = 0; i < n && *count < PY_VALUE_ITEMS; i++) {
            if (group[i][0] && group[i][1] != SET_REMOVED)
                found[(*count)++] = table + (first + i) * SET_ENTRY;
        }
    }
    return 0;
}

/* An empty one is written by the name of its type: is_named tells that this is done already. */
static int put_set(struct reading *r, uint64_t object, bool is_named, size_t depth)
{
    const struct layout *l = layout(r);
    uint64_t length, mask, table, found[PY_VALUE_ITEMS], item;
    size_t n;
    int err = read_length(r, object + l->set.used, &length);
    if (!err && !length) {
        repr_put(&r->text, is_named ? "" : "set()");
        return 0;
    }
    if (err || put_closed(r, "{", "}", length, depth))
        return err;
    err = read_length(r, object + l->set.mask, &mask);
    if (!err)
        err = read_step(r, object + l->set.table, &table);
    if (!err)
        err = find_set_items(r, table, min_u64(mask + 1, SET_SLOTS_MAX), found, &n);
    if (err)
        return err;
    repr_put(&r->text, "{");
    for (size_t i = 0; i < n && !r->text.full; i++) {
        repr_put(&r->text, i ? ", " : "");
        if (read_step(r, found[i], &item) != 0)
            return -EBADMSG;
        put_object(r, item, depth + 1);
    }
    put_end(r, "}", n, length, depth);
    return 0;
}

/* Objects ---------------------------------------------------------------------------------------------- */

/* An instance of which nothing is known but its type; a type by its own name. */
static int put_other(struct reading *r, uint64_t object, const struct py_type *type)
{
    if (type->kind == PY_KIND_TYPE) {
        const struct py_type *itself = py_type_at(&r->v->types, object);
        if (itself)
            repr_format(&r->text, "<class %s>", itself->name);
        return itself ? 0 : -EBADMSG;
    }
    repr_format(&r->text, "<%s at 0x%llx>", type->name, (unsigned long long)object);
    return 0;
}

static int put_kind(struct reading *r, uint64_t object, const struct py_type *type, size_t depth)
{
    switch (type->kind) {
    case PY_KIND_NONE:
        repr_put(&r->text, "None");
        return 0;
    case PY_KIND_ELLIPSIS:
        repr_put(&r->text, "Ellipsis");
        return 0;
    case PY_KIND_BOOL:
        return put_bool(r, object);
    case PY_KIND_INT:
        return put_int(r, object);
    case PY_KIND_FLOAT:
        return put_float(r, object);
    case PY_KIND_COMPLEX:
        return put_complex(r, object);
    case PY_KIND_STR:
        return put_str(r, object, depth);
    case PY_KIND_BYTES:
        return put_bytes(r, object, depth);
    case PY_KIND_TUPLE:
        return put_tuple(r, object, depth);
    case PY_KIND_LIST:
        return put_list(r, object, depth);
    case PY_KIND_DICT:
        return put_dict(r, object, depth);
    case PY_KIND_SET:
    case PY_KIND_FROZENSET:
        return put_set(r, object, py_type_wears_name(type), depth);
    case PY_KIND_OTHER:
    case PY_KIND_TYPE:
    case PY_KIND_CELL:
        break;
    }
    return put_other(r, object, type);
}

static void put_object(struct reading *r, uint64_t object, size_t depth)
{
    const struct py_type *known = r->text.full ? NULL : type_of(r, object);
    struct py_type type;
    if (r->text.full)
        return;
    if (!known) {
        repr_put(&r->text, PY_VALUE_UNREADABLE);
        return;
    }
    type = *known;
    bool wears = py_type_wears_name(&type);
    if (wears)
        repr_format(&r->text, "%s(", type.name);
    size_t chars = r->text.chars, len = r->text.out->len;
    if (put_kind(r, object, &type, depth) != 0) {
        /* Nothing half. */
        r->text.chars = r->text.full ? r->text.chars : chars;
        r->text.out->len = r->text.full ? r->text.out->len : len;
        repr_put(&r->text, PY_VALUE_UNREADABLE);
    }
    repr_put(&r->text, wears ? ")" : "");
}

/* From the slot to the object. -ENOENT: unbound. */
static int find_object(struct reading *r, uint64_t slot, uint32_t tag_mask, bool cell, uint64_t *object)
{
    uint64_t word = 0;
    int err = read_step(r, slot, &word);
    *object = word & ~(uint64_t)tag_mask;
    if (err || (tag_mask && (word & tag_mask) == tag_mask))
        return err;
    if (!*object)
        return -ENOENT;
    if (!cell)
        return 0;
    const struct py_type *type = type_of(r, *object);
    if (!type || type->kind != PY_KIND_CELL)
        return 0;
    err = read_step(r, *object + layout(r)->cell.content, object);
    return err ? err : *object ? 0 : -ENOENT;
}

static int put_slot(struct reading *r, uint64_t slot, uint32_t tag_mask, bool cell)
{
    uint64_t object;
    int err = find_object(r, slot, tag_mask, cell, &object);
    if (err)
        return err;
    if (tag_mask && r->steps[0].word % (tag_mask + 1ull) == tag_mask)
        repr_format(&r->text, "%lld", (long long)((int64_t)r->steps[0].word >> STACKREF_SHIFT));
    else
        put_object(r, object, 0);
    return 0;
}

int py_values_init(struct py_values *v, struct py_runtime *rt, uint64_t some_type, uint64_t reads_end)
{
    *v = (struct py_values){.rt = rt, .reads_end = reads_end};
    return py_types_init(&v->types, rt, some_type);
}

int py_value(struct py_values *v, uint64_t slot, uint32_t tag_mask, bool cell, struct buf *out)
{
    size_t start = out->len;
    for (int i = 0; i < ATTEMPTS; i++) {
        struct reading r = {.v = v, .text = {.out = out}};
        out->len = start;
        int err = put_slot(&r, slot, tag_mask, cell);
        if (err == -ESRCH || err == -EPERM)
            return err;
        if (v->rt->memory.reads >= v->reads_end) {
            out->len = start;
            buf_put_str(out, PY_VALUE_LEFT_OUT);
            return out->error;
        }
        if (is_unchanged(&r)) {
            if (err && err != -ENOENT)
                buf_put_str(out, PY_VALUE_UNREADABLE);
            return err == -ENOENT ? err : out->error;
        }
    }
    out->len = start;
    buf_put_str(out, PY_VALUE_CHANGED);
    return out->error;
}
