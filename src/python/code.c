/* code: see code.h. */
#include "python/code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "python/text.h"

void py_codes_init(struct py_codes *c)
{
    *c = (struct py_codes){0};
    map_init(&c->by_address);
}

static void code_free(struct py_code *code)
{
    if (!code)
        return;
    free(code->name);
    free(code->file);
    free(code->lines);
    free(code->bytecode);
    free(code->ids);
    free(code);
}

static void forget_all(struct py_codes *c)
{
    for (size_t i = 0; i < c->count; i++)
        code_free(c->list[i]);
    c->count = 0;
    map_clear(&c->by_address);
    c->epoch++;
}

void py_codes_release(struct py_codes *c)
{
    forget_all(c);
    free(c->list);
    map_release(&c->by_address);
    *c = (struct py_codes){0};
}

static uint64_t word(const uint8_t *object, uint32_t offset)
{
    uint64_t value = 0;
    if (offset != ABSENT)
        memcpy(&value, object + offset, sizeof(value));
    return value;
}

static struct py_code_identity identity_of(const struct layout *l, const uint8_t *object)
{
    struct py_code_identity id = {
        .type = word(object, l->object.type),
        .size = l->code.bytecode_inline ? word(object, l->object.var_size) : word(object, l->code.bytecode),
        .filename = word(object, l->code.filename),
        .name = word(object, l->code.name),
        .qualname = word(object, l->code.qualname),
        .linetable = word(object, l->code.linetable),
    };
    memcpy(&id.first_line, object + l->code.firstlineno, sizeof(id.first_line));
    return id;
}

static bool same_identity(const struct py_code_identity *a, const struct py_code_identity *b)
{
    return a->type == b->type && a->size == b->size && a->filename == b->filename && a->name == b->name &&
           a->qualname == b->qualname && a->linetable == b->linetable && a->first_line == b->first_line;
}

/* Is this the type object called "code"? Remembered, as there is one. */
static bool is_code_type(struct py_codes *c, struct py_runtime *rt, uint64_t type)
{
    uint64_t name;
    char text[5];
    if (c->code_type)
        return type == c->code_type;
    if (!type || memory_read_u64(&rt->memory, type + rt->layout.object.type_name, &name) != 0 ||
        memory_read(&rt->memory, name, text, sizeof(text)) != 0 || memcmp(text, "code", 5) != 0)
        return false;
    c->code_type = type;
    return true;
}

static int read_name(struct py_runtime *rt, uint64_t object, char **out)
{
    struct buf text;
    buf_init(&text, 4 * PY_TEXT_MAX + 1);
    int err = py_read_str(rt, object, &text);
    buf_put_u8(&text, 0);
    if (!err)
        err = text.error;
    if (err) {
        buf_release(&text);
        return err;
    }
    *out = (char *)text.data;
    return 0;
}

static int read_bytecode(struct py_runtime *rt, struct py_code *code)
{
    const struct layout *l = &rt->layout;
    size_t len;
    if (!l->code.bytecode_inline) {
        int err = py_read_bytes(rt, code->identity.size, &code->bytecode, &len);
        code->units = len / 2;
        return err;
    }
    /* ob_size counts instructions of two bytes. */
    if (code->identity.size > PY_BYTES_MAX / 2)
        return -EBADMSG;
    code->units = code->identity.size;
    code->bytecode = malloc(code->units * 2 + 1);
    if (!code->bytecode)
        return -ENOMEM;
    return memory_read(&rt->memory, code->address + l->code.bytecode, code->bytecode, code->units * 2);
}

static int read_code(struct py_codes *c, struct py_runtime *rt, struct py_code *code)
{
    const struct layout *l = &rt->layout;
    uint8_t object[LAYOUT_CODE_MAX];
    int err = memory_read(&rt->memory, code->address, object, l->code.size);
    if (err)
        return err;
    code->identity = identity_of(l, object);
    if (!is_code_type(c, rt, code->identity.type))
        return -EBADMSG;
    uint64_t name = code->identity.qualname ? code->identity.qualname : code->identity.name;
    if ((err = read_name(rt, name, &code->name)) != 0 ||
        (err = read_name(rt, code->identity.filename, &code->file)) != 0 ||
        (err = py_read_bytes(rt, code->identity.linetable, &code->lines, &code->lines_len)) != 0 ||
        (err = read_bytecode(rt, code)) != 0)
        return err;
    code->shim = strcmp(code->name, "__init__") == 0 && strcmp(code->file, "__init__") == 0;
    code->ids = malloc((code->units + 1) * sizeof(*code->ids));
    if (!code->ids)
        return -ENOMEM;
    for (size_t i = 0; i <= code->units; i++)
        code->ids[i] = PY_NO_ID;
    return 0;
}

static int insert(struct py_codes *c, struct py_code *code)
{
    struct py_code **list = list_room(c->list, &c->cap, c->count, sizeof(struct py_code *));
    if (!list)
        return -ENOMEM;
    c->list = list;
    int err = map_put(&c->by_address, code->address, (uint32_t)c->count);
    if (!err)
        c->list[c->count++] = code;
    return err;
}

int py_codes_get(struct py_codes *c, struct py_runtime *rt, uint64_t address, uint64_t now_ns,
                 struct py_code **out)
{
    uint32_t known = map_get(&c->by_address, address);
    if (known != MAP_NONE && !c->list[known]->stale) {
        *out = c->list[known];
        return 0;
    }
    if (c->count >= PY_CODES_MAX)
        forget_all(c);
    struct py_code *code = calloc(1, sizeof(*code));
    if (!code)
        return -ENOMEM;
    code->address = address;
    code->checked_ns = now_ns;
    int err = read_code(c, rt, code);
    if (!err)
        err = insert(c, code);
    if (err) {
        code_free(code);
        return err;
    }
    *out = code;
    return 0;
}

int py_codes_check(struct py_runtime *rt, struct py_code **entries, size_t n, uint64_t now_ns)
{
    static _Thread_local uint8_t objects[MEMORY_PIECES_MAX][LAYOUT_CODE_MAX];
    struct piece pieces[MEMORY_PIECES_MAX] = {0};
    if (n > MEMORY_PIECES_MAX)
        return -EINVAL;
    for (size_t i = 0; i < n; i++)
        pieces[i] = (struct piece){entries[i]->address, objects[i], rt->layout.code.size};
    size_t whole;
    int err = memory_readv(&rt->memory, pieces, n, &whole);
    if (err && err != -EFAULT)
        return err;
    /* What is not mapped any more is stale as well. */
    size_t stale = 0;
    for (size_t i = 0; i < n; i++) {
        struct py_code_identity now = identity_of(&rt->layout, objects[i]);
        entries[i]->stale = i >= whole || !same_identity(&now, &entries[i]->identity);
        entries[i]->checked_ns = now_ns;
        stale += entries[i]->stale;
    }
    return stale ? -ESTALE : 0;
}

struct py_place py_code_place(const struct py_runtime *rt, const struct py_code *code, uint32_t unit)
{
    return py_place_of(rt->layout.lines_kind, code->lines, code->lines_len, code->identity.first_line,
                       unit * 2);
}

bool py_code_calls(const struct py_runtime *rt, const struct py_code *code, uint32_t unit)
{
    return code->bytecode && unit < code->units &&
           opcode_is_call(rt->layout.version, code->bytecode[(size_t)unit * 2]);
}
