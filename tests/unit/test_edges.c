/* edges: which edges can be torn, by how often each was seen. Places are of the function 100; place 9 does
 * not stand on a call. A row is seen in the order of its list, over and over. */
#include "sample/edges.h"

#include "support.h"

#define SEEN 8
#define CALLER 100
#define NO_CALL 9

struct seen {
    unsigned place, callee, times;
};

struct row {
    const char *name;
    struct seen seen[SEEN]; /* ends at one with no times; the edge that is asked for is the first */
    unsigned rounds;
    bool doubtful;
    unsigned shown; /* the place that is shown, if it is doubtful; 0: without the callee */
};

static const struct row rows[] = {
    {.name = "an edge alone", .seen = {{1, 50, 1}}, .rounds = 1},
    {.name = "a place that calls two functions", .seen = {{1, 50, 1}, {1, 51, 100}}, .rounds = 9},
    {.name = "a function called from two places", .seen = {{1, 50, 1}, {2, 50, 100}}, .rounds = 9},
    {.name = "rare on both sides is shown where it is not",
     .seen = {{1, 50, 1}, {1, 51, 30}, {2, 50, 30}},
     .rounds = 20,
     .doubtful = true,
     .shown = 2},
    {.name = "half as often is not rare", .seen = {{1, 50, 10}, {1, 51, 20}, {2, 50, 20}}, .rounds = 20},
    {.name = "a place that does not call",
     .seen = {{NO_CALL, 50, 1}, {2, 50, 30}},
     .rounds = 20,
     .doubtful = true,
     .shown = 2},
    {.name = "a caller that never calls it", /* callee 50 is called from function 201 */
     .seen = {{1, 50, 1}, {1, 51, 60}, {201, 50, 60}},
     .rounds = 20,
     .doubtful = true,
     .shown = 0},
    {.name = "or not very seldom",
     .seen = {{1, 50, 6}, {1, 51, 40}, {201, 50, 40}},
     .rounds = 20,
     .doubtful = true,
     .shown = 1},
};

static uint32_t see(struct edges *e, const struct seen *seen)
{
    uint32_t caller = seen->place > CALLER ? seen->place + 1000 : CALLER;
    uint32_t edge = edges_find(e, seen->place, seen->callee);
    if (edge == EDGES_NONE)
        edge = edges_add(e, seen->place, caller, seen->callee, seen->place != NO_CALL);
    assert_int_not_equal(edge, EDGES_NONE);
    edges_see(e, edge);
    return edge;
}

/* Sees the row's edges in turn, so that none is of the past. */
static void see_all(struct edges *e, const struct row *row)
{
    for (unsigned round = 0; round < row->rounds; round++) {
        for (size_t i = 0; i < SEEN && row->seen[i].times; i++)
            for (unsigned n = 0; n < row->seen[i].times; n++)
                see(e, &row->seen[i]);
    }
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct edges e;
        edges_init(&e);
        see_all(&e, &rows[i]);
        uint32_t edge = edges_find(&e, rows[i].seen[0].place, rows[i].seen[0].callee);
        if (edges_doubtful(&e, edge) != rows[i].doubtful)
            fail_msg("%s: doubtful is not %d", rows[i].name, rows[i].doubtful);
        uint32_t shown = rows[i].shown ? rows[i].shown : EDGES_NONE;
        if (rows[i].doubtful && edges_place(&e, edge) != shown)
            fail_msg("%s: shown at %u", rows[i].name, edges_place(&e, edge));
        edges_release(&e);
    }
}

static void test_confirmed(void **state)
{
    (void)state;
    struct edges e;
    edges_init(&e);
    see_all(&e, &rows[3]);
    edges_confirm(&e, edges_find(&e, 1, 50));
    see_all(&e, &rows[3]);
    assert_false(edges_doubtful(&e, edges_find(&e, 1, 50)));
    edges_release(&e);
}

static void test_the_past_weighs_little(void **state)
{
    (void)state;
    static const struct seen before[] = {{1, 51, 100000}, {2, 50, 100000}}, now = {1, 50, 600};
    struct edges e;
    edges_init(&e);
    for (size_t i = 0; i < ARRAY_LEN(before); i++)
        for (unsigned n = 0; n < before[i].times; n++)
            see(&e, &before[i]);
    uint32_t edge = 0;
    for (unsigned n = 0; n < 16; n++)
        edge = see(&e, &now);
    assert_true(edges_doubtful(&e, edge));
    for (unsigned n = 16; n < now.times; n++)
        edge = see(&e, &now);
    assert_false(edges_doubtful(&e, edge));
    edges_release(&e);
}

static void test_bounded(void **state)
{
    (void)state;
    struct edges e;
    edges_init(&e);
    for (unsigned place = 1; place < 600000; place++)
        see(&e, &(struct seen){place, 50, 1});
    assert_true(e.count < 500000);
    edges_release(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_confirmed),
        cmocka_unit_test(test_the_past_weighs_little),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
