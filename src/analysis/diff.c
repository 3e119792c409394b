/* diff: see diff.h.
 *
 * Noise. A sample, a stretch of a thread's life, begins and ends between two looks, so that its length is
 * known to about the time between them: a period, or more where looks were late. The looks within it follow
 * from each other: they are one observation, not many. The samples of a function are taken as independent, so
 * that the squares of their errors add up; of code whose visits are far shorter than a period this is what
 * counting looks by chance gives. A difference is clear beyond NOISE_SIGMAS of that, and beyond RUNS_DIFFER
 * of the larger value: two runs of the same program differ for reasons that no sample tells.
 */
#include "analysis/diff.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "analysis/pairs.h"
#include "base/buf.h"
#include "base/map.h"

#define NOISE_SIGMAS 3.0
#define RUNS_DIFFER 0.05

/* What a row adds up. squares: of the errors, in us^2. */
struct sum {
    uint64_t ns;
    double squares;
};

struct entry {
    uint32_t code[DIFF_SIDES];
    uint32_t line[DIFF_SIDES];
    uint32_t caller;
    struct sum self[DIFF_SIDES];
    struct sum total[DIFF_SIDES];
};

/* One side at work. period: seconds between looks, as it came to be. */
struct side {
    struct profile *profile;
    double period;
    double looks_a_native; /* how many looks there are to one that took native stacks */
    double whole;
};

struct work {
    enum metric metric;
    bool shares;
    struct side sides[DIFF_SIDES];
    struct pairs pairs;
};

static struct entry *entries_of(const struct buf *table)
{
    return (struct entry *)table->data;
}

static size_t entry_count(const struct buf *table)
{
    return table->len / sizeof(struct entry);
}

static void add(struct sum *to, const struct weights *w, enum metric metric)
{
    to->ns += weights_of(w, metric);
    to->squares += w->squared_gaps;
}

/* Of a part that runs below the whole (a comprehension and its function) only what is more counts. */
static void raise(struct sum *to, const struct weights *w, enum metric metric)
{
    to->ns = max_u64(to->ns, weights_of(w, metric));
    to->squares = fmax(to->squares, w->squared_gaps);
}

static void add_both(struct entry *to, int side, const struct weights *self, const struct weights *total,
                     bool inlined, enum metric metric)
{
    add(&to->self[side], self, metric);
    if (inlined)
        raise(&to->total[side], total, metric);
    else
        add(&to->total[side], total, metric);
}

static int add_entry(struct buf *table, uint32_t caller, uint32_t *index)
{
    struct entry entry = {.code = {DIFF_NONE, DIFF_NONE}, .caller = caller};
    *index = (uint32_t)entry_count(table);
    buf_put(table, &entry, sizeof(entry));
    return table->error;
}

/* Functions ------------------------------------------------------------------------------------------- */

/* Totals of comprehensions come last, when those of their functions are known. */
static int sum_functions(const struct work *w, struct buf *table)
{
    uint32_t index;
    for (uint32_t i = 0; i < w->pairs.count; i++) {
        if (add_entry(table, DIFF_NONE, &index))
            return table->error;
    }
    for (int pass = 0; pass < 2 * DIFF_SIDES; pass++) {
        int side = pass / 2;
        bool inlined = pass % 2;
        size_t count;
        const struct profile_function *f = profile_functions(w->sides[side].profile, w->metric, &count);
        if (!f)
            return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
            uint32_t pair = w->pairs.of_code[side][f[i].code];
            if (pair == PAIR_NONE || w->pairs.inlined[side][f[i].code] != inlined)
                continue;
            struct entry *to = &entries_of(table)[pair];
            to->code[side] = w->pairs.all[pair].code[side];
            to->line[side] = w->pairs.all[pair].first_line[side];
            add_both(to, side, &f[i].self, &f[i].total, inlined, w->metric);
        }
    }
    return 0;
}

/* Lines ----------------------------------------------------------------------------------------------- */

/* Lines of a function are the same at the same distance from its first: code above it may have changed. */
static int sum_lines(const struct work *w, struct buf *table)
{
    struct map by_place;
    int err = 0;
    map_init(&by_place);
    for (int side = 0; side < DIFF_SIDES; side++) {
        size_t count;
        const struct profile_line *l = profile_lines(w->sides[side].profile, w->metric, &count);
        err = l ? err : -ENOMEM;
        for (size_t i = 0; !err && i < count; i++) {
            uint32_t pair = w->pairs.of_code[side][l[i].code];
            if (pair == PAIR_NONE || !l[i].line)
                continue;
            uint32_t distance = l[i].line - w->pairs.all[pair].first_line[side];
            uint64_t key = (uint64_t)pair << 32 | distance;
            uint32_t index = map_get(&by_place, key);
            if (index == MAP_NONE) {
                err = add_entry(table, DIFF_NONE, &index);
                err = err ? err : map_put(&by_place, key, index);
            }
            if (err)
                break;
            struct entry *to = &entries_of(table)[index];
            to->code[side] = w->pairs.all[pair].code[side];
            to->line[side] = l[i].line;
            add_both(to, side, &l[i].self, &l[i].total, w->pairs.inlined[side][l[i].code], w->metric);
        }
    }
    map_release(&by_place);
    return err;
}

/* Stacks ---------------------------------------------------------------------------------------------- */

/* The entry of the stack that `node` is: a comprehension's is its function's. row_of: by node, that of its
 * caller is there. */
static int stack_of(const struct work *w, int side, const struct profile_node *node, const uint32_t *row_of,
                    struct map *by_content, struct buf *table, uint32_t *row)
{
    uint32_t code = rec_reader_frame(profile_reader(w->sides[side].profile), node->frame).code;
    uint32_t caller = row_of[node->parent];
    uint32_t pair = w->pairs.of_code[side][code];
    *row = caller;
    if (pair == PAIR_NONE || (w->pairs.inlined[side][code] && caller != DIFF_NONE))
        return 0;
    uint64_t key = (uint64_t)(caller + 1) << 32 | pair;
    *row = map_get(by_content, key);
    int err = 0;
    if (*row == MAP_NONE) {
        err = add_entry(table, caller, row);
        err = err ? err : map_put(by_content, key, *row);
    }
    if (err)
        return err;
    entries_of(table)[*row].code[side] = w->pairs.all[pair].code[side];
    entries_of(table)[*row].line[side] = w->pairs.all[pair].first_line[side];
    return 0;
}

static int sum_side_stacks(const struct work *w, int side, struct map *by_content, struct buf *table)
{
    size_t count;
    const struct profile_node *nodes = profile_nodes(w->sides[side].profile, &count);
    uint32_t *row_of = calloc(count, sizeof(*row_of));
    int err = row_of ? 0 : -ENOMEM;
    if (!err)
        row_of[0] = DIFF_NONE;
    for (size_t i = 1; !err && i < count; i++) {
        err = stack_of(w, side, &nodes[i], row_of, by_content, table, &row_of[i]);
        if (!err && row_of[i] != DIFF_NONE)
            add(&entries_of(table)[row_of[i]].self[side], &nodes[i].self, w->metric);
    }
    free(row_of);
    return err;
}

static int sum_stacks(const struct work *w, struct buf *table)
{
    struct map by_content;
    int err = 0;
    map_init(&by_content);
    for (int side = 0; !err && side < DIFF_SIDES; side++)
        err = sum_side_stacks(w, side, &by_content, table);
    map_release(&by_content);
    if (err)
        return err;
    struct entry *all = entries_of(table);
    for (size_t i = entry_count(table); i-- > 0;) {
        for (int side = 0; side < DIFF_SIDES; side++) {
            struct sum *total = &all[i].total[side];
            total->ns += all[i].self[side].ns;
            total->squares += all[i].self[side].squares;
            if (all[i].caller == DIFF_NONE)
                continue;
            all[all[i].caller].total[side].ns += total->ns;
            all[all[i].caller].total[side].squares += total->squares;
        }
    }
    return 0;
}

/* Changes --------------------------------------------------------------------------------------------- */

/* split: what Python frames and native ones share was seen at the looks that took native stacks only, and
 * distributed over the others: so many times fewer observations, each of a longer time. What was not seen at
 * all could have been missed once. */
static struct diff_change change_of(const struct work *w, const struct sum sums[DIFF_SIDES], bool split)
{
    struct diff_change c = {0};
    double squares = 0;
    for (int i = 0; i < DIFF_SIDES; i++) {
        double unit = !w->shares ? 1 : w->sides[i].whole > 0 ? 1 / w->sides[i].whole : 0;
        double us = unit * NS_PER_US / NS_PER_S;
        double missed = w->sides[i].period * w->sides[i].period * unit * unit;
        double square = fmax(sums[i].squares * us * us, missed);
        c.value[i] = (double)sums[i].ns / NS_PER_S * unit;
        squares += split ? square * w->sides[i].looks_a_native : square;
    }
    double change = fabs(c.value[1] - c.value[0]);
    c.noise = NOISE_SIGMAS * sqrt(squares);
    c.clear = change > c.noise && change > RUNS_DIFFER * fmax(c.value[0], c.value[1]);
    return c;
}

static bool is_python(const struct work *w, const struct entry *e)
{
    int side = e->code[0] == DIFF_NONE;
    return rec_reader_code(profile_reader(w->sides[side].profile), e->code[side]).kind == REC_PYTHON;
}

/* split: own times are those of Python frames apart from native ones. */
static int finish(const struct work *w, struct buf *table, bool split, struct diff_table *out)
{
    const struct entry *all = entries_of(table);
    size_t count = entry_count(table);
    out->rows = calloc(count + 1, sizeof(*out->rows));
    if (!out->rows)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct diff_row *row = &out->rows[i];
        for (int side = 0; side < DIFF_SIDES; side++) {
            row->code[side] = all[i].code[side];
            row->line[side] = all[i].line[side];
        }
        row->caller = all[i].caller;
        row->self = change_of(w, all[i].self, split);
        row->total = change_of(w, all[i].total, !is_python(w, &all[i]));
    }
    out->count = count;
    return 0;
}

/* Of the looks that were made, not of those that were asked for: late ones make a stretch less well known. */
static double period_of(const struct profile *p)
{
    const struct rec_header *h = rec_reader_header(profile_reader(p));
    uint64_t ticks = profile_stats(p)->ticks;
    double asked = (double)h->period_ns / NS_PER_S;
    double made = ticks ? (double)profile_recorded_ns(p) / NS_PER_S / (double)ticks : 0;
    return fmax(asked, made);
}

/* How many looks there are to one that took native stacks; 1 without native stacks. */
static double looks_a_native(const struct profile *p)
{
    const struct rec_stats *stats = profile_stats(p);
    return stats->stops && stats->samples > stats->stops ? (double)stats->samples / (double)stats->stops : 1;
}

int diff_new(struct profile *a, struct profile *b, enum metric metric, bool shares, struct diff **out)
{
    typedef int sum_fn(const struct work *w, struct buf *table);
    struct work w = {.metric = metric, .shares = shares, .sides = {{.profile = a}, {.profile = b}}};
    struct diff *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    for (int i = 0; i < DIFF_SIDES; i++) {
        w.sides[i].period = period_of(w.sides[i].profile);
        w.sides[i].looks_a_native = looks_a_native(w.sides[i].profile);
        w.sides[i].whole = (double)weights_of(profile_sum(w.sides[i].profile), metric) / NS_PER_S;
        d->whole[i] = w.sides[i].whole;
    }
    const struct {
        sum_fn *sum;
        struct diff_table *to;
        bool split; /* a line has what native code did for it */
    } tables[] = {
        {sum_functions, &d->functions, true}, {sum_lines, &d->lines, false}, {sum_stacks, &d->stacks, true}};
    int err = pairs_init(&w.pairs, (struct profile *[]){a, b});
    for (size_t i = 0; !err && i < ARRAY_LEN(tables); i++) {
        struct buf table;
        buf_init(&table, SIZE_MAX);
        err = tables[i].sum(&w, &table);
        if (!err)
            err = finish(&w, &table, tables[i].split, tables[i].to);
        buf_release(&table);
    }
    pairs_release(&w.pairs);
    if (err) {
        diff_free(d);
        return err;
    }
    *out = d;
    return 0;
}

void diff_free(struct diff *d)
{
    if (!d)
        return;
    free(d->functions.rows);
    free(d->lines.rows);
    free(d->stacks.rows);
    free(d);
}
