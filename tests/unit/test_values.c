/* python/value and python/locals on memory that makes no sense: random words, many of which point to others,
 * with types among them that look real. Read from this very process.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/utf8.h"
#include "python/locals.h"
#include "python/repr.h"
#include "support.h"

#define WORDS 8192
#define TYPES 12
#define TYPE_WORDS 128
#define PAGE 4096
#define ROUNDS 300
#define VALUES 60
/* Far above what a value takes that is read three times. */
#define READS_MAX 5000

/* Types first, then objects; behind both is nothing. */
static uint64_t *memory_begin(void)
{
    size_t size = WORDS * sizeof(uint64_t);
    uint8_t *at = mmap(NULL, size + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    assert_int_equal(mprotect(at, size, PROT_READ | PROT_WRITE), 0);
    return (uint64_t *)at;
}

static uint64_t any_word(struct rng *r, const uint64_t *words)
{
    switch (rng_below(r, 10)) {
    case 0:
        return rng_next(r);
    case 1:
        return rng_below(r, 300);
    case 2:
        return (uint64_t)(words + TYPE_WORDS * rng_below(r, TYPES)) | rng_below(r, 4);
    case 5:
    case 6:
        return (uint64_t)(words + TYPE_WORDS * rng_below(r, TYPES));
    case 3:
        return 0x0101010101010101u * rng_below(r, 256);
    case 4:
        return 0 - (uint64_t)rng_below(r, 300);
    default:
        return (uint64_t)(words + TYPE_WORDS * TYPES + rng_below(r, WORDS - TYPE_WORDS * TYPES));
    }
}

static void put_word(uint64_t *type, uint32_t offset, uint64_t word)
{
    memcpy((uint8_t *)type + offset, &word, sizeof(word));
}

/* The first type is `type`; the others are like a builtin by flag, by name, by their base, or none. */
static void make_types(struct rng *r, const struct layout *l, uint64_t *words)
{
    static const char *const names[TYPES] = {"type",    "int",  "str",      "tuple",
                                             "list",    "dict", "float",    "frozenset",
                                             "complex", "bool", "NoneType", "Möbius\x1b"};
    static const uint32_t flags[TYPES] = {TYPE_TYPE, TYPE_INT, TYPE_STR, TYPE_TUPLE, TYPE_LIST, TYPE_DICT};
    for (size_t i = 0; i < TYPES; i++) {
        uint64_t *type = words + TYPE_WORDS * i;
        put_word(type, l->object.type, (uint64_t)words);
        put_word(type, l->object.type_name, (uint64_t)names[i]);
        put_word(type, l->instance.flags, TYPE_READY | flags[i] | (rng_below(r, 3) ? 0 : TYPE_HEAP));
        put_word(type, l->instance.base,
                 rng_below(r, 2) ? (uint64_t)(words + TYPE_WORDS * rng_below(r, TYPES)) : 0);
    }
}

static void check_text(const struct buf *text)
{
    size_t used, chars = 0;
    assert_int_equal(text->error, 0);
    assert_true(text->len <= PY_VALUE_BYTES);
    for (size_t i = 0; i < text->len; i += used, chars++) {
        uint32_t c = utf8_next((char *)text->data + i, text->len - i, &used);
        assert_int_not_equal(c, UTF8_INVALID);
        assert_true(c >= 0x20);
    }
    assert_in_range(chars, 1, REPR_CHARS + sizeof("… len=") + 20);
}

static int take(void *ctx, const char *name, size_t name_len, const char *value, size_t value_len)
{
    size_t *count = ctx;
    assert_non_null(name);
    assert_true(name_len > 0 && value_len > 0 && value_len <= PY_VALUE_BYTES);
    assert_non_null(value);
    ++*count;
    return 0;
}

/* How many were values. */
static size_t read_values(struct rng *r, struct py_values *v, uint64_t *words)
{
    size_t readable = 0;
    uint64_t *reads = &v->rt->memory.reads;
    for (int i = 0; i < VALUES; i++) {
        uint64_t before = *reads;
        uint64_t slot = (uint64_t)(words + TYPE_WORDS * TYPES + rng_below(r, WORDS - TYPE_WORDS * TYPES));
        struct buf text;
        buf_init(&text, PY_VALUE_BYTES);
        int err = py_value(v, slot, rng_below(r, 2) ? 3 : 0, rng_below(r, 2), &text);
        assert_true(err == 0 || err == -ENOENT);
        if (!err)
            check_text(&text);
        readable += !err && memcmp(text.data, PY_VALUE_UNREADABLE,
                                   min_u64(text.len, sizeof(PY_VALUE_UNREADABLE) - 1)) != 0;
        buf_release(&text);
        assert_in_range(*reads - before, 1, READS_MAX);
    }
    return readable;
}

static void read_locals(struct rng *r, struct py_values *v, uint64_t *words)
{
    struct py_frame frame = {.at = any_word(r, words), .code = any_word(r, words)};
    size_t count = 0, more;
    uint64_t before = v->rt->memory.reads;
    v->reads_end = before + READS_MAX;
    py_locals(v, &frame, take, &count, &more);
    v->reads_end = UINT64_MAX;
    assert_true(count <= PY_LOCALS_MAX);
    assert_true(v->rt->memory.reads - before <= 2 * READS_MAX);
}

static void test_garbage(void **state)
{
    uint64_t *words = memory_begin();
    struct rng r = {.state = 7};
    size_t readable = 0;
    (void)state;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct py_runtime rt = {.memory = {.source = {.pid = getpid()}},
                                .layout = *layout_of(0x0308 + round % 5)};
        struct py_values v;
        for (size_t i = 0; i < WORDS; i++)
            words[i] = any_word(&r, words);
        make_types(&r, &rt.layout, words);
        assert_int_equal(py_values_init(&v, &rt, (uint64_t)words, UINT64_MAX), 0);
        readable += read_values(&r, &v, words);
        read_locals(&r, &v, words);
    }
    /* The test is of what lies behind the types, too. */
    assert_in_range(readable, ROUNDS * VALUES / 10, ROUNDS * VALUES);
    munmap(words, WORDS * sizeof(uint64_t) + PAGE);
}

/* When no more is to be read, nothing is. */
static void test_the_limit_of_reads(void **state)
{
    uint64_t *words = memory_begin();
    struct rng r = {.state = 9};
    struct py_runtime rt = {.memory = {.source = {.pid = getpid()}}, .layout = *layout_of(0x030b)};
    struct py_values v;
    struct buf text;
    (void)state;
    for (size_t i = 0; i < WORDS; i++)
        words[i] = any_word(&r, words);
    make_types(&r, &rt.layout, words);
    assert_int_equal(py_values_init(&v, &rt, (uint64_t)words, 0), 0);
    buf_init(&text, PY_VALUE_BYTES);
    assert_int_equal(py_value(&v, (uint64_t)(words + TYPE_WORDS * TYPES), 0, false, &text), 0);
    assert_int_equal(text.len, strlen(PY_VALUE_LEFT_OUT));
    assert_memory_equal(text.data, PY_VALUE_LEFT_OUT, text.len);
    buf_release(&text);
    munmap(words, WORDS * sizeof(uint64_t) + PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_the_limit_of_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
