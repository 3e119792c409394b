/* heap: blocks, mappings and moves are summed to the byte, in whatever order they come; the peak is that of a
 * plain count.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "feed/heap.h"

#define PAGE 4096u

/* A step of a case: the event, and what is live and at the peak afterwards. */
struct step {
    uint32_t kind, stack, token;
    uint64_t address, size;
    uint64_t live, peak;
};

static void take(struct heap *h, uint32_t ticket, const struct step *s)
{
    struct channel_event event = {
        .kind = s->kind, .stack = s->stack, .token = s->token, .address = s->address, .size = s->size};
    heap_take(h, ticket, &event, 1000 + ticket);
}

/* Takes all steps; the index of one is its ticket. The caller frees. */
static struct heap *take_steps(const struct step *steps, size_t n)
{
    struct heap *h;
    assert_int_equal(heap_new(&h), 0);
    for (size_t i = 0; i < n; i++) {
        take(h, (uint32_t)i, &steps[i]);
        struct heap_sum sum = heap_sum(h);
        if (sum.live != steps[i].live || sum.peak != steps[i].peak)
            print_error("step %zu: live %llu, peak %llu\n", i, (unsigned long long)sum.live,
                        (unsigned long long)sum.peak);
        assert_int_equal(sum.live, steps[i].live);
        assert_int_equal(sum.peak, steps[i].peak);
    }
    return h;
}

static struct heap_site site_of(const struct heap *h, uint32_t stack)
{
    size_t count;
    const struct heap_site *sites = heap_sites(h, &count);
    for (size_t i = 0; i < count; i++) {
        if (sites[i].stack == stack)
            return sites[i];
    }
    fail_msg("stack %u has no site", stack);
    return (struct heap_site){0};
}

static void check_site(const struct heap *h, uint32_t stack, struct heap_site expected)
{
    struct heap_site s = site_of(h, stack);
    assert_int_equal(s.allocated, expected.allocated);
    assert_int_equal(s.allocations, expected.allocations);
    assert_int_equal(s.freed, expected.freed);
    assert_int_equal(s.frees, expected.frees);
    assert_int_equal(heap_at_peak(h, &s), expected.peak);
}

static void blocks(void **state)
{
    static const struct step steps[] = {
        {CHANNEL_ALLOCATE, 1, 0, 0x1000, 100, 100, 100},
        {CHANNEL_ALLOCATE, 2, 0, 0x2000, 50, 150, 150},
        {CHANNEL_FREE, 0, 0, 0x1000, 0, 50, 150},
        {CHANNEL_FREE, 0, 0, 0x1000, 0, 50, 150},      /* not ours */
        {CHANNEL_ALLOCATE, 2, 0, 0x1000, 0, 50, 150},  /* of no bytes */
        {CHANNEL_ALLOCATE, 1, 0, 0x2000, 20, 20, 150}, /* the one there was freed unseen */
        {CHANNEL_ALLOCATE, 3, 0, 0x3000, 140, 160, 160},
        {CHANNEL_FREE, 0, 0, 0x2000, 0, 140, 160},
    };
    (void)state;
    struct heap *h = take_steps(steps, ARRAY_LEN(steps));
    check_site(h, 1,
               (struct heap_site){.allocated = 120, .allocations = 2, .freed = 120, .frees = 2, .peak = 20});
    check_site(h, 2, (struct heap_site){.allocated = 50, .allocations = 2, .freed = 50, .frees = 1});
    check_site(h, 3, (struct heap_site){.allocated = 140, .allocations = 1, .peak = 140});
    assert_int_equal(heap_sum(h).allocations, 5);
    assert_int_equal(heap_sum(h).peak_ns, 1006);
    heap_free(h);
}

/* Between the beginning and the end of a move, another thread gets the old address. */
static void moves(void **state)
{
    static const struct step steps[] = {
        {CHANNEL_ALLOCATE, 1, 0, 0x1000, 100, 100, 100},
        {CHANNEL_MOVE, 0, 0, 0x1000, 0, 0, 100},
        {CHANNEL_ALLOCATE, 2, 0, 0x1000, 30, 30, 100},
        {CHANNEL_MOVE, 0, 0, 0x1000, 0, 0, 100},
        {CHANNEL_MOVED, 3, 1, 0x5000, 300, 300, 300},
        {CHANNEL_STAYED, 0, 3, 0, 1 << 20, 330, 330}, /* no memory: the other thread's is as it was */
        {CHANNEL_FREE, 0, 0, 0x1000, 0, 300, 330},
        {CHANNEL_MOVE, 0, 0, 0x5000, 0, 0, 330},
        {CHANNEL_MOVED, 0, 7, 0, 0, 0, 330}, /* to nothing: freed */
        {CHANNEL_MOVE, 0, 0, 0x9000, 0, 0, 330},
        {CHANNEL_MOVED, 4, 9, 0xa000, 7, 7, 330}, /* of a block that is nobody's */
        {CHANNEL_MOVE, 0, 0, 0x9000, 0, 7, 330},
        {CHANNEL_STAYED, 0, 11, 0, 9, 7, 330},
        {CHANNEL_STAYED, 0, 99, 0, 9, 7, 330}, /* never begun */
    };
    (void)state;
    struct heap *h = take_steps(steps, ARRAY_LEN(steps));
    check_site(h, 1, (struct heap_site){.allocated = 100, .allocations = 1, .freed = 100, .frees = 1});
    check_site(h, 2,
               (struct heap_site){.allocated = 30, .allocations = 1, .freed = 30, .frees = 1, .peak = 30});
    check_site(h, 3,
               (struct heap_site){.allocated = 300, .allocations = 1, .freed = 300, .frees = 1, .peak = 300});
    check_site(h, 4, (struct heap_site){.allocated = 7, .allocations = 1});
    heap_free(h);
}

static void mappings(void **state)
{
    static const struct step steps[] = {
        {CHANNEL_MAP, 1, 0, 16 * PAGE, 8 * PAGE, 8 * PAGE, 8 * PAGE},
        {CHANNEL_UNMAP, 0, 0, 18 * PAGE, 2 * PAGE, 6 * PAGE, 8 * PAGE},   /* out of its middle */
        {CHANNEL_UNMAP, 0, 0, 0, 17 * PAGE, 5 * PAGE, 8 * PAGE},          /* its start, and what is before */
        {CHANNEL_MAP, 2, 0, 17 * PAGE, 2 * PAGE, 6 * PAGE, 8 * PAGE},     /* over its first piece */
        {CHANNEL_UNMAP, 0, 0, 22 * PAGE, 100 * PAGE, 4 * PAGE, 8 * PAGE}, /* its end, and what is behind */
        {CHANNEL_MAP, 3, 0, 64 * PAGE, 100, 4 * PAGE + 100, 8 * PAGE},    /* less than a page */
        {CHANNEL_UNMAP, 0, 0, 64 * PAGE, 1, 4 * PAGE, 8 * PAGE},          /* is given back as a page */
        {CHANNEL_REMAP, 0, 0, 20 * PAGE, 2 * PAGE, 2 * PAGE, 8 * PAGE},
        {CHANNEL_REMAPPED, 4, 7, 80 * PAGE, 9 * PAGE, 11 * PAGE, 11 * PAGE},
        {CHANNEL_REMAP, 0, 0, 80 * PAGE, 9 * PAGE, 2 * PAGE, 11 * PAGE},
        {CHANNEL_STAYED, 0, 9, 0, 0, 11 * PAGE, 11 * PAGE},
        {CHANNEL_REMAP, 0, 0, 200 * PAGE, PAGE, 11 * PAGE, 11 * PAGE}, /* one that is not counted */
        {CHANNEL_REMAPPED, 4, 11, 300 * PAGE, 9 * PAGE, 11 * PAGE, 11 * PAGE},
        {CHANNEL_UNMAP, 0, 0, 80 * PAGE, 9 * PAGE, 2 * PAGE, 11 * PAGE},
        {CHANNEL_MAP, 5, 0, UINT64_MAX - PAGE, 9 * PAGE, 2 * PAGE, 11 * PAGE}, /* beyond all addresses */
        {CHANNEL_UNMAP, 0, 0, UINT64_MAX - PAGE, 9 * PAGE, 2 * PAGE, 11 * PAGE},
    };
    (void)state;
    struct heap *h = take_steps(steps, ARRAY_LEN(steps));
    check_site(h, 2, (struct heap_site){.allocated = 2 * PAGE, .allocations = 1, .peak = 2 * PAGE});
    check_site(h, 3, (struct heap_site){.allocated = 100, .allocations = 1, .freed = 100, .frees = 1});
    check_site(h, 4,
               (struct heap_site){
                   .allocated = 9 * PAGE, .allocations = 1, .freed = 9 * PAGE, .frees = 1, .peak = 9 * PAGE});
    heap_free(h);
}

#define ADDRESSES 3000
#define STACKS 20
#define ROUNDS 200000

/* Blocks by chance, at addresses whose hashes meet, against a plain table of what is live. */
static void many_blocks(void **state)
{
    static uint64_t size_at[ADDRESSES], live_of[STACKS], peak_of[STACKS];
    static uint32_t stack_at[ADDRESSES];
    struct heap *h;
    uint64_t live = 0, peak = 0;
    unsigned seed = 1;
    (void)state;
    assert_int_equal(heap_new(&h), 0);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t at = (uint32_t)rand_r(&seed) % ADDRESSES;
        struct step s = {.kind = CHANNEL_FREE, .address = 0x7f0000000000u + 16u * at};
        live -= size_at[at];
        live_of[stack_at[at]] -= size_at[at];
        size_at[at] = 0;
        if (rand_r(&seed) % 3) {
            s.kind = CHANNEL_ALLOCATE;
            s.stack = stack_at[at] = (uint32_t)rand_r(&seed) % STACKS;
            s.size = size_at[at] = (uint64_t)rand_r(&seed) % 100000 + 1;
            live += s.size;
            live_of[s.stack] += s.size;
        }
        for (uint32_t k = 0; live > peak && k < STACKS; k++)
            peak_of[k] = live_of[k];
        peak = max_u64(peak, live);
        take(h, i, &s);
        assert_int_equal(heap_sum(h).live, live);
        assert_int_equal(heap_sum(h).peak, peak);
    }
    for (uint32_t k = 0; k < STACKS; k++) {
        struct heap_site s = site_of(h, k);
        assert_int_equal(s.allocated - s.freed, live_of[k]);
        assert_int_equal(heap_at_peak(h, &s), peak_of[k]);
    }
    assert_int_equal(heap_sum(h).lost, 0);
    heap_free(h);
}

/* What a program writes into its channel is not trusted. */
static void nonsense(void **state)
{
    struct heap *h;
    unsigned seed = 7;
    (void)state;
    assert_int_equal(heap_new(&h), 0);
    for (uint32_t i = 0; i < 100000; i++) {
        uint64_t high = (uint64_t)rand_r(&seed) << (rand_r(&seed) % 34);
        struct step s = {.kind = (uint32_t)rand_r(&seed) % 12,
                         .stack = (uint32_t)rand_r(&seed) % 50,
                         .token = i - (uint32_t)rand_r(&seed) % 8,
                         .address = high % 3 ? high : UINT64_MAX - high,
                         .size = (uint64_t)rand_r(&seed) << (rand_r(&seed) % 34)};
        take(h, i, &s);
    }
    heap_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks),      cmocka_unit_test(moves),    cmocka_unit_test(mappings),
        cmocka_unit_test(many_blocks), cmocka_unit_test(nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
