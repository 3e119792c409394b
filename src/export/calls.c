/* calls: see calls.h. */
#include "export/calls.h"

#include <errno.h>
#include <stdlib.h>

#include "base/list.h"

static uint32_t row_at(const struct calls *c, uint32_t node)
{
    uint32_t spot = c->paths->nodes[node].spot;
    return c->row_of ? c->row_of[spot] : spot;
}

static int add_call(struct calls *c, uint32_t caller, uint32_t callee, uint32_t *out)
{
    struct call *calls = list_room(c->calls, &c->call_cap, c->call_count, sizeof(*calls));
    if (!calls)
        return -ENOMEM;
    c->calls = calls;
    c->calls[c->call_count] =
        (struct call){.caller = caller, .callee = callee, .next = c->first_call[callee]};
    *out = c->first_call[callee] = c->call_count++;
    return 0;
}

static int find_calls(struct calls *c)
{
    struct map by_pair;
    uint32_t none;
    int rc = add_call(c, 0, 0, &none);
    c->first_call[0] = 0;
    map_init(&by_pair);
    for (uint32_t i = 1; rc == 0 && i < c->paths->count; i++) {
        uint32_t parent = c->paths->nodes[i].parent;
        if (!parent)
            continue;
        uint32_t caller = row_at(c, parent), callee = row_at(c, i);
        uint64_t pair = (uint64_t)caller << 32 | callee;
        c->call_of[i] = map_get(&by_pair, pair);
        if (c->call_of[i] != MAP_NONE)
            continue;
        rc = add_call(c, caller, callee, &c->call_of[i]);
        if (rc == 0)
            rc = map_put(&by_pair, pair, c->call_of[i]);
    }
    map_release(&by_pair);
    return rc;
}

int calls_init(struct calls *c, const struct paths *p, const uint32_t *row_of, uint32_t row_count)
{
    *c = (struct calls){.paths = p, .row_of = row_of, .row_count = row_count};
    c->rows = calloc((size_t)row_count + 1, sizeof(*c->rows));
    c->first_call = calloc((size_t)row_count + 1, sizeof(*c->first_call));
    c->call_of = calloc(p->count, sizeof(*c->call_of));
    return c->rows && c->first_call && c->call_of ? find_calls(c) : -ENOMEM;
}

void calls_release(struct calls *c)
{
    free(c->rows);
    free(c->first_call);
    free(c->call_of);
    free(c->calls);
    *c = (struct calls){0};
}

static void add_sum(struct sum *to, struct sum sum)
{
    to->weight += sum.weight;
    to->looks += sum.looks;
}

static void add_cost(struct cost *cost, struct sum sum, uint64_t stack, bool innermost)
{
    if (innermost)
        add_sum(&cost->self, sum);
    if (cost->stack != stack)
        add_sum(&cost->total, sum);
    cost->stack = stack;
}

void calls_add(struct calls *c, uint32_t path, struct sum sum)
{
    c->stacks++;
    for (uint32_t i = path; i; i = c->paths->nodes[i].parent) {
        add_cost(&c->rows[row_at(c, i)], sum, c->stacks, i == path);
        if (c->call_of[i])
            add_cost(&c->calls[c->call_of[i]].cost, sum, c->stacks, i == path);
    }
}

void calls_clear(struct calls *c)
{
    for (uint32_t i = 0; i < c->row_count; i++)
        c->rows[i] = (struct cost){0};
    for (uint32_t i = 0; i < c->call_count; i++)
        c->calls[i].cost = (struct cost){0};
}
