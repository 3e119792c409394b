/* pairs: see pairs.h.
 *
 * Functions are the same if their files are (files.h) and their names; of several with one name those on the
 * same line are, then the others in the order of their lines. Names are compared without what qualifies them
 * if a Python of either recording does not know qualified names (before 3.11). A list, set or dict
 * comprehension is part of the function around it, as it is from 3.12 on: found by who calls it.
 */
#include "analysis/pairs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/files.h"

/* A function of one side. key: what it is called in both. Several codes can be one (a file that is reached by
 * two paths). */
struct subject {
    uint32_t key;
    uint32_t line;
    uint32_t code;
};

struct subjects {
    struct subject *all;
    size_t count;
};

static const char *name_of(const struct rec_reader *r, uint32_t code, size_t *len)
{
    return rec_reader_string(r, rec_reader_code(r, code).name, len);
}

/* The last component of a qualified name. */
static const char *last_part(const char *name, size_t *len)
{
    const char *dot = memrchr(name, '.', *len);
    if (!dot)
        return name;
    *len -= (size_t)(dot + 1 - name);
    return dot + 1;
}

static bool is_inlined(const struct rec_reader *r, uint32_t code)
{
    size_t len;
    const char *name = name_of(r, code, &len);
    name = last_part(name, &len);
    return strcmp(name, "<listcomp>") == 0 || strcmp(name, "<setcomp>") == 0 ||
           strcmp(name, "<dictcomp>") == 0;
}

/* Whether a Python of the recording gives functions their qualified names. */
static bool knows_qualified_names(const struct rec_reader *r)
{
    for (uint32_t i = 0; i < rec_reader_process_count(r); i++) {
        const char *python = rec_reader_string(r, rec_reader_process(r, i).python, NULL);
        if (strncmp(python, "3.", 2) == 0 && atoi(python + 2) < 11)
            return false;
    }
    return true;
}

/* owner[code], PAIR_NONE at first: the only function that calls a comprehension. 0 or -ENOMEM. */
static int find_owners(const struct profile *p, uint32_t *owner)
{
    const struct rec_reader *r = profile_reader(p);
    uint32_t codes = rec_reader_code_count(r);
    size_t count;
    const struct profile_node *nodes = profile_nodes(p, &count);
    uint8_t *comprehension = calloc((size_t)codes + 1, 1);
    if (!comprehension)
        return -ENOMEM;
    for (uint32_t i = 0; i < codes; i++)
        comprehension[i] = is_inlined(r, i);
    for (size_t i = 1; i < count; i++) {
        uint32_t callee = rec_reader_frame(r, nodes[i].frame).code;
        if (!comprehension[callee] || !nodes[i].parent)
            continue;
        uint32_t caller = rec_reader_frame(r, nodes[nodes[i].parent].frame).code;
        if (caller != callee)
            owner[callee] = owner[callee] == PAIR_NONE || owner[callee] == caller ? caller : callee;
    }
    /* Its own owner: called by several. */
    for (uint32_t i = 0; i < codes; i++)
        owner[i] = owner[i] == i ? PAIR_NONE : owner[i];
    free(comprehension);
    return 0;
}

/* The function that a comprehension, maybe in another one, stands in. */
static uint32_t outer_of(const uint32_t *owner, uint32_t code)
{
    for (int depth = 0; depth < 64 && owner[code] != PAIR_NONE; depth++)
        code = owner[code];
    return code;
}

static int by_key(const void *x, const void *y)
{
    const struct subject *a = x;
    const struct subject *b = y;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->code < b->code ? -1 : a->code > b->code;
}

/* What both recordings call a function: its file's name and its own. */
static int key_of(struct strtab *keys, const struct rec_reader *r, uint32_t code, uint32_t file,
                  bool qualified, uint32_t *key)
{
    struct buf text;
    size_t len;
    const char *name = name_of(r, code, &len);
    if (!qualified)
        name = last_part(name, &len);
    buf_init(&text, SIZE_MAX);
    buf_printf(&text, "%u:", file);
    buf_put(&text, name, len);
    int err = text.error ? text.error : strtab_intern(keys, text.data, text.len, key);
    buf_release(&text);
    return err;
}

/* The functions with any weight but comprehensions, by key and line. */
static int collect(struct subjects *to, struct strtab *keys, struct profile *p, const uint32_t *of_file,
                   const uint32_t *owner, bool qualified)
{
    const struct rec_reader *r = profile_reader(p);
    size_t count;
    int err = 0;
    const struct profile_function *f = profile_functions(p, METRIC_WALL, &count);
    to->all = calloc(count + 1, sizeof(*to->all));
    if (!f || !to->all)
        return -ENOMEM;
    for (size_t i = 0; !err && i < count; i++) {
        struct rec_code code = rec_reader_code(r, f[i].code);
        struct subject *s = &to->all[to->count];
        if (owner[f[i].code] != PAIR_NONE)
            continue;
        *s = (struct subject){.line = code.first_line, .code = f[i].code};
        err = key_of(keys, r, f[i].code, of_file[code.file], qualified, &s->key);
        to->count++;
    }
    qsort(to->all, to->count, sizeof(*to->all), by_key);
    return err;
}

static uint32_t add_pair(struct pairs *p)
{
    p->all[p->count] = (struct pair){.code = {PAIR_NONE, PAIR_NONE}};
    return p->count++;
}

/* Puts the subject at *i, and those that are the same function, into a pair. */
static void put(struct pairs *p, int side, const struct subjects *s, size_t *i, uint32_t pair)
{
    struct subject first = s->all[*i];
    p->all[pair].code[side] = first.code;
    p->all[pair].first_line[side] = first.line;
    for (; *i < s->count && s->all[*i].key == first.key && s->all[*i].line == first.line; ++*i)
        p->of_code[side][s->all[*i].code] = pair;
}

static size_t end_of_key(const struct subjects *s, size_t i, uint32_t key)
{
    while (i < s->count && s->all[i].key == key)
        i++;
    return i;
}

/* The next subject of a key from i on that has no pair yet. */
static size_t next_free(const struct pairs *p, int side, const struct subjects *s, size_t i, size_t end)
{
    while (i < end && p->of_code[side][s->all[i].code] != PAIR_NONE)
        i++;
    return i;
}

/* Functions of one name: a to a_end, b to b_end. */
static void pair_key(struct pairs *p, const struct subjects s[2], size_t a, size_t a_end, size_t b,
                     size_t b_end)
{
    for (size_t i = a, j = b; i < a_end && j < b_end;) {
        if (s[0].all[i].line < s[1].all[j].line) {
            i++;
        } else if (s[0].all[i].line > s[1].all[j].line) {
            j++;
        } else {
            uint32_t pair = add_pair(p);
            put(p, 0, &s[0], &i, pair);
            put(p, 1, &s[1], &j, pair);
        }
    }
    for (;;) {
        a = next_free(p, 0, &s[0], a, a_end);
        b = next_free(p, 1, &s[1], b, b_end);
        if (a == a_end && b == b_end)
            return;
        uint32_t pair = add_pair(p);
        if (a < a_end)
            put(p, 0, &s[0], &a, pair);
        if (b < b_end)
            put(p, 1, &s[1], &b, pair);
    }
}

static void pair_all(struct pairs *p, const struct subjects s[2])
{
    size_t a = 0;
    size_t b = 0;
    while (a < s[0].count || b < s[1].count) {
        bool has_a = a < s[0].count;
        bool has_b = b < s[1].count;
        uint32_t key =
            has_a && (!has_b || s[0].all[a].key < s[1].all[b].key) ? s[0].all[a].key : s[1].all[b].key;
        size_t a_end = end_of_key(&s[0], a, key);
        size_t b_end = end_of_key(&s[1], b, key);
        pair_key(p, s, a, a_end, b, b_end);
        a = a_end;
        b = b_end;
    }
}

/* Comprehensions go where their functions are. */
static void place_inlined(struct pairs *p, int side, const uint32_t *owner, uint32_t codes)
{
    for (uint32_t i = 0; i < codes; i++) {
        if (owner[i] == PAIR_NONE)
            continue;
        p->of_code[side][i] = p->of_code[side][outer_of(owner, i)];
        p->inlined[side][i] = p->of_code[side][i] != PAIR_NONE;
    }
}

static int init_side(struct pairs *p, int side, uint32_t codes, uint32_t **owner)
{
    p->of_code[side] = malloc(((size_t)codes + 1) * sizeof(uint32_t));
    p->inlined[side] = calloc((size_t)codes + 1, sizeof(bool));
    *owner = malloc(((size_t)codes + 1) * sizeof(uint32_t));
    if (!p->of_code[side] || !p->inlined[side] || !*owner)
        return -ENOMEM;
    memset(p->of_code[side], 0xff, ((size_t)codes + 1) * sizeof(uint32_t)); /* PAIR_NONE */
    memset(*owner, 0xff, ((size_t)codes + 1) * sizeof(uint32_t));
    return 0;
}

int pairs_init(struct pairs *p, struct profile *const profiles[PAIR_SIDES])
{
    struct subjects s[2] = {0};
    struct strtab keys;
    struct files files;
    uint32_t *owner[2] = {0};
    bool qualified = true;
    *p = (struct pairs){0};
    int err = files_init(&files, profiles);
    int failed = strtab_init(&keys);
    err = err ? err : failed;
    for (int i = 0; i < 2; i++)
        qualified &= knows_qualified_names(profile_reader(profiles[i]));
    for (int i = 0; !err && i < 2; i++) {
        const struct rec_reader *r = profile_reader(profiles[i]);
        err = init_side(p, i, rec_reader_code_count(r), &owner[i]);
        err = err ? err : find_owners(profiles[i], owner[i]);
        err = err ? err : collect(&s[i], &keys, profiles[i], files.of_file[i], owner[i], qualified);
    }
    p->all = err ? NULL : calloc(s[0].count + s[1].count + 1, sizeof(*p->all));
    err = !err && !p->all ? -ENOMEM : err;
    if (!err)
        pair_all(p, s);
    for (int i = 0; i < 2; i++) {
        if (!err)
            place_inlined(p, i, owner[i], rec_reader_code_count(profile_reader(profiles[i])));
        free(owner[i]);
        free(s[i].all);
    }
    strtab_release(&keys);
    files_release(&files);
    return err;
}

void pairs_release(struct pairs *p)
{
    free(p->all);
    for (int i = 0; i < PAIR_SIDES; i++) {
        free(p->of_code[i]);
        free(p->inlined[i]);
    }
}
