/* base: buffers, cursors, maps, strings. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/histogram.h"
#include "base/list.h"
#include "base/map.h"
#include "base/strtab.h"
#include "support.h"

static void buf_keeps_what_is_put(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    for (int i = 0; i < 100; i++)
        buf_printf(&b, "%02d,", i);
    assert_int_equal(b.error, 0);
    assert_int_equal(b.len, 300);
    assert_memory_equal(b.data, "00,01,02,", 9);
    assert_memory_equal(b.data + 291, "97,98,99,", 9);
    buf_release(&b);
}

static void buf_stops_at_its_maximum(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_put(&b, "0123456789", 10);
    assert_int_equal(b.error, 0);
    buf_put_u8(&b, 'x');
    assert_int_equal(b.error, -EFBIG);
    assert_int_equal(b.len, 10);
    buf_clear(&b);
    buf_put_str(&b, "again");
    assert_int_equal(b.error, 0);
    assert_memory_equal(b.data, "again", 5);
    buf_release(&b);
}

static void varints_come_back(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        size_t size;
    } rows[] = {
        {0, 1}, {127, 1}, {128, 2}, {16383, 2}, {16384, 3}, {UINT32_MAX, 5}, {INT64_MAX, 9}, {UINT64_MAX, 10},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        buf_init(&b, 100);
        buf_put_varint(&b, rows[i].value);
        assert_int_equal(b.len, rows[i].size);
        buf_put_svarint(&b, (int64_t)rows[i].value);
        buf_put_svarint(&b, (int64_t)(0 - rows[i].value));
        struct cursor c = cursor_of(b.data, b.len);
        assert_true(cursor_varint(&c) == rows[i].value);
        assert_true(cursor_svarint(&c) == (int64_t)rows[i].value);
        assert_true(cursor_svarint(&c) == (int64_t)(0 - rows[i].value));
        assert_false(c.bad);
        assert_ptr_equal(c.at, c.end);
        buf_release(&b);
    }
}

static void cursor_stops_at_the_end(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x80, 0x80};
    struct cursor c = cursor_of(bytes, sizeof(bytes));
    assert_int_equal(cursor_varint(&c), 0);
    assert_true(c.bad);
    c = cursor_of(bytes, sizeof(bytes));
    assert_null(cursor_bytes(&c, 3));
    assert_true(c.bad);
    c = cursor_of(bytes, sizeof(bytes));
    assert_ptr_equal(cursor_bytes(&c, 2), bytes);
    assert_int_equal(cursor_u8(&c), 0);
    assert_true(c.bad);
}

static void a_varint_has_at_most_ten_bytes(void **state)
{
    (void)state;
    static const uint8_t bytes[12] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0};
    struct cursor c = cursor_of(bytes, sizeof(bytes));
    cursor_varint(&c);
    assert_true(c.bad);
}

static void map_agrees_with_an_array(void **state)
{
    (void)state;
    enum { KEYS = 5000 };
    static uint32_t values[KEYS];
    for (size_t i = 0; i < KEYS; i++)
        values[i] = MAP_NONE;
    struct rng rng = {1};
    struct map m;
    map_init(&m);
    assert_true(map_get(&m, 7) == MAP_NONE);
    for (int i = 0; i < 20000; i++) {
        uint32_t key = rng_below(&rng, KEYS);
        values[key] = rng_below(&rng, 1000000);
        assert_int_equal(map_put(&m, (uint64_t)key << 40 | key, values[key]), 0);
    }
    for (uint64_t key = 0; key < KEYS; key++)
        assert_true(map_get(&m, key << 40 | key) == values[key]);
    map_clear(&m);
    assert_true(map_get(&m, 0) == MAP_NONE);
    assert_int_equal(m.count, 0);
    map_release(&m);
}

static void sorted_lists_are_searched(void **state)
{
    const struct {
        uint64_t first;
        char rest;
    } list[] = {{2, 'a'}, {4, 'b'}, {4, 'c'}, {UINT64_MAX, 'd'}};
    const struct {
        uint64_t key;
        size_t count, up_to;
    } cases[] = {{0, 0, 0}, {1, 4, 0}, {2, 4, 1}, {3, 4, 1},
                 {4, 4, 3}, {4, 2, 2}, {9, 4, 3}, {UINT64_MAX, 4, 4}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(list_up_to(list, cases[i].count, sizeof(*list), cases[i].key), cases[i].up_to);
}

static void hexadecimal_comes_back(void **state)
{
    const struct {
        const char *text;
        size_t len;
    } cases[] = {{"", 0}, {"00ff7f10", 4}, {"0", 0}, {"0g", 0}, {"0F", 0}, {" 0", 0}, {"0011223344", 0}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t bytes[4];
        char text[9];
        assert_int_equal(hex_get(cases[i].text, bytes, sizeof(bytes)), cases[i].len);
        hex_put(text, bytes, cases[i].len);
        assert_string_equal(text, cases[i].len ? cases[i].text : "");
    }
}

static void strings_are_interned_once(void **state)
{
    (void)state;
    struct strtab t;
    assert_int_equal(strtab_init(&t), 0);
    uint32_t ids[500];
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < ARRAY_LEN(ids); i++) {
            uint32_t id;
            char text[16] = {0};
            memcpy(text, &i, sizeof(i));
            assert_int_equal(strtab_intern(&t, text, i % 12, &id), 0);
            if (round)
                assert_int_equal(id, ids[i]);
            ids[i] = id;
            assert_int_equal(strtab_len(&t, id), i % 12);
            assert_memory_equal(strtab_get(&t, id), text, i % 12);
            assert_int_equal(strtab_get(&t, id)[i % 12], 0);
        }
    }
    assert_int_equal(ids[0], 0);
    assert_string_equal(strtab_get(&t, 1u << 30), "?");
    assert_int_equal(strtab_len(&t, 1u << 30), 0);
    strtab_release(&t);
}

static void long_strings_are_cut(void **state)
{
    (void)state;
    struct strtab t;
    assert_int_equal(strtab_init(&t), 0);
    char *text = malloc(STRTAB_MAX_LEN + 100);
    assert_non_null(text);
    memset(text, 'x', STRTAB_MAX_LEN + 100);
    uint32_t a;
    uint32_t b;
    assert_int_equal(strtab_intern(&t, text, STRTAB_MAX_LEN + 100, &a), 0);
    assert_int_equal(strtab_intern(&t, text, STRTAB_MAX_LEN, &b), 0);
    assert_int_equal(a, b);
    assert_int_equal(strtab_len(&t, a), STRTAB_MAX_LEN);
    free(text);
    strtab_release(&t);
}

/* Every power of two and its neighbours: the bucket holds the value, and is an eighth wide at most. */
static void quantiles_are_bounds(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int near = -1; near <= 1; near++) {
            uint64_t value = ((uint64_t)1 << bit) + (uint64_t)(int64_t)near;
            struct histogram h = {0};
            histogram_add(&h, value, 1);
            uint64_t upper = histogram_quantile(&h, 0.5);
            assert_true(upper >= value && upper - value <= value / 8);
        }
    }
    struct histogram h = {0};
    assert_true(histogram_quantile(&h, 1) == 0);
    for (uint64_t value = 1; value <= 10; value++)
        histogram_add(&h, value, 2);
    assert_true(histogram_quantile(&h, 0.5) == 5 && histogram_quantile(&h, 0.9) == 9);
    assert_true(histogram_quantile(&h, 0.91) == 10 && histogram_quantile(&h, 1) == 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_keeps_what_is_put),    cmocka_unit_test(buf_stops_at_its_maximum),
        cmocka_unit_test(varints_come_back),        cmocka_unit_test(cursor_stops_at_the_end),
        cmocka_unit_test(map_agrees_with_an_array), cmocka_unit_test(a_varint_has_at_most_ten_bytes),
        cmocka_unit_test(long_strings_are_cut),     cmocka_unit_test(strings_are_interned_once),
        cmocka_unit_test(quantiles_are_bounds),     cmocka_unit_test(sorted_lists_are_searched),
        cmocka_unit_test(hexadecimal_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
