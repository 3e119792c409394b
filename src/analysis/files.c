/* files: see files.h.
 *
 * Modules of the standard library and installed ones have names of their own (modules.h). The program's own
 * files are paired: first those with the same path, then those whose paths end alike, the longest common end
 * first, at last the two scripts that were run, whatever they are called. A common end of one component, the
 * file's own name, counts only when no other file of either side could be meant.
 */
#include "analysis/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/modules.h"

/* More own files than this on a side are compared by their whole paths only. */
#define OWN_MAX 4096

/* A file of the program's own. base: its last component. */
struct own {
    const char *path;
    size_t len;
    uint32_t string;
    bool script; /* was run as the main program */
    bool paired;
};

struct own_list {
    struct own *all;
    size_t count;
};

/* A file of either side with an end in common, so many components long. */
struct candidate {
    uint32_t a, b;
    uint32_t common;
};

static bool is_main_name(const struct rec_reader *r, struct rec_code code)
{
    return strcmp(rec_reader_string(r, code.name, NULL), "<module>") == 0;
}

static enum module_origin origin_of(const struct rec_reader *r, uint32_t file)
{
    size_t len, start;
    const char *path = rec_reader_string(r, file, &len);
    return module_origin(path, len, &start);
}

/* Marks the files of module bodies that nothing but C and the standard library (runpy) called: scripts.
 * outermost: by node, whether only these are on the stack above its callee. */
static int find_scripts(struct profile *p, uint8_t *script)
{
    const struct rec_reader *r = profile_reader(p);
    size_t count;
    const struct profile_node *nodes = profile_nodes(p, &count);
    uint8_t *outermost = calloc(count, 1);
    uint8_t *stdlib = calloc((size_t)rec_reader_code_count(r) + 1, 1);
    if (!outermost || !stdlib) {
        free(outermost);
        free(stdlib);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < rec_reader_code_count(r); i++)
        stdlib[i] = rec_reader_code(r, i).kind != REC_PYTHON ||
                    origin_of(r, rec_reader_code(r, i).file) == MODULE_STDLIB;
    outermost[0] = 1;
    for (size_t i = 1; i < count; i++) {
        if (!outermost[nodes[i].parent])
            continue;
        uint32_t id = rec_reader_frame(r, nodes[i].frame).code;
        struct rec_code code = rec_reader_code(r, id);
        outermost[i] = stdlib[id];
        if (!stdlib[id] && is_main_name(r, code))
            script[code.file] = 1;
    }
    free(outermost);
    free(stdlib);
    return 0;
}

/* Names what has a name of its own, and lists the rest. */
static int name_files(struct files *f, int side, struct profile *p, uint8_t *seen, struct own_list *own)
{
    const struct rec_reader *r = profile_reader(p);
    struct buf name;
    int err = 0;
    buf_init(&name, UINT16_MAX);
    own->all = calloc((size_t)rec_reader_code_count(r) + 1, sizeof(*own->all));
    if (!own->all)
        return -ENOMEM;
    for (uint32_t i = 0; !err && i < rec_reader_code_count(r); i++) {
        uint32_t file = rec_reader_code(r, i).file;
        size_t len;
        const char *path = rec_reader_string(r, file, &len);
        /* What has no file (a system call, the garbage collector) is the same on both sides. */
        if (seen[file] || !len)
            continue;
        seen[file] = 1;
        buf_clear(&name);
        if (module_name(&name, path, len))
            err = strtab_intern(&f->names, name.data, name.len, &f->of_file[side][file]);
        else
            own->all[own->count++] = (struct own){.path = path, .len = len, .string = file};
    }
    buf_release(&name);
    return err;
}

/* How many components the ends of two paths have in common. */
static uint32_t common_end(const struct own *a, const struct own *b)
{
    size_t i = 0;
    uint32_t components = 0;
    while (i < a->len && i < b->len && a->path[a->len - 1 - i] == b->path[b->len - 1 - i]) {
        components += a->path[a->len - 1 - i] == '/';
        i++;
    }
    bool a_ends = i == a->len || a->path[a->len - 1 - i] == '/';
    bool b_ends = i == b->len || b->path[b->len - 1 - i] == '/';
    /* One path is an end of the other. */
    if (i && a_ends && b_ends && a->path[a->len - i] != '/')
        components++;
    return components;
}

/* Gives both the name of the first: a path, which no module's name begins like. */
static int pair_files(struct files *f, struct own *a, struct own *b)
{
    a->paired = b->paired = true;
    int err = strtab_intern(&f->names, a->path, a->len, &f->of_file[0][a->string]);
    f->of_file[1][b->string] = f->of_file[0][a->string];
    return err;
}

static bool same_path(const struct own *a, const struct own *b)
{
    return a->len == b->len && memcmp(a->path, b->path, a->len) == 0;
}

static int longest_first(const void *x, const void *y)
{
    const struct candidate *a = x;
    const struct candidate *b = y;
    if (a->common != b->common)
        return a->common < b->common ? 1 : -1;
    if (a->a != b->a)
        return a->a < b->a ? -1 : 1;
    return a->b < b->b ? -1 : a->b > b->b;
}

/* Whether the files' own names, all that they have in common, are those of no other file left. */
static bool is_only(const struct own_list own[2], const struct candidate *c)
{
    size_t others = 0;
    for (size_t i = 0; i < own[0].count; i++)
        others += !own[0].all[i].paired && common_end(&own[0].all[i], &own[1].all[c->b]) > 0;
    for (size_t i = 0; i < own[1].count; i++)
        others += !own[1].all[i].paired && common_end(&own[0].all[c->a], &own[1].all[i]) > 0;
    return others == 2;
}

static int take_candidates(struct files *f, struct own_list own[2], struct candidate *list, size_t count)
{
    int err = 0;
    qsort(list, count, sizeof(*list), longest_first);
    for (size_t i = 0; !err && i < count; i++) {
        struct own *a = &own[0].all[list[i].a];
        struct own *b = &own[1].all[list[i].b];
        if (!a->paired && !b->paired && (list[i].common > 1 || is_only(own, &list[i])))
            err = pair_files(f, a, b);
    }
    return err;
}

static int pair_by_path(struct files *f, struct own_list own[2])
{
    struct strtab paths;
    int err = strtab_init(&paths);
    /* Ids follow the order of the list, behind the empty string. */
    for (size_t i = 0; !err && i < own[0].count; i++) {
        uint32_t id;
        err = strtab_intern(&paths, own[0].all[i].path, own[0].all[i].len, &id);
    }
    bool whole = paths.count == own[0].count + 1;
    for (size_t i = 0; !err && i < own[1].count; i++) {
        uint32_t id;
        struct own *b = &own[1].all[i];
        err = strtab_intern(&paths, b->path, b->len, &id);
        if (!err && whole && id && id <= own[0].count && same_path(&own[0].all[id - 1], b))
            err = pair_files(f, &own[0].all[id - 1], b);
    }
    strtab_release(&paths);
    return err;
}

static int pair_by_end(struct files *f, struct own_list own[2])
{
    struct buf list;
    if (own[0].count > OWN_MAX || own[1].count > OWN_MAX)
        return 0;
    buf_init(&list, SIZE_MAX);
    for (uint32_t a = 0; a < own[0].count; a++) {
        for (uint32_t b = 0; !own[0].all[a].paired && b < own[1].count; b++) {
            if (own[1].all[b].paired)
                continue;
            struct candidate c = {a, b, common_end(&own[0].all[a], &own[1].all[b])};
            if (c.common)
                buf_put(&list, &c, sizeof(c));
        }
    }
    int err = list.error;
    if (!err && list.len)
        err = take_candidates(f, own, (struct candidate *)list.data, list.len / sizeof(struct candidate));
    buf_release(&list);
    return err;
}

/* The only script that is left on a side, or NULL. Code without a file (-c) is one only where no file is: the
 * standard library runs lines of .pth files when it starts. */
static struct own *only_script(struct own_list *own, const uint8_t *script)
{
    struct own *found[2] = {NULL, NULL}; /* with a file, without */
    size_t count[2] = {0, 0};
    for (size_t i = 0; i < own->count; i++) {
        if (own->all[i].paired || !script[own->all[i].string])
            continue;
        bool bare = own->all[i].len && own->all[i].path[0] == '<';
        found[bare] = &own->all[i];
        count[bare]++;
    }
    if (count[0])
        return count[0] == 1 ? found[0] : NULL;
    return count[1] == 1 ? found[1] : NULL;
}

/* What is left has nothing to be paired with: each has a name that the other side has not. */
static int name_rest(struct files *f, int side, const struct own_list *own)
{
    struct buf name;
    int err = 0;
    buf_init(&name, SIZE_MAX);
    for (size_t i = 0; !err && i < own->count; i++) {
        const struct own *file = &own->all[i];
        if (file->paired)
            continue;
        buf_clear(&name);
        buf_put_str(&name, side ? "only B:" : "only A:");
        buf_put(&name, file->path, file->len);
        err = name.error ? name.error
                         : strtab_intern(&f->names, name.data, name.len, &f->of_file[side][file->string]);
    }
    buf_release(&name);
    return err;
}

static int match(struct files *f, struct profile *const profiles[2], struct own_list own[2],
                 uint8_t *const script[2])
{
    int err = pair_by_path(f, own);
    if (!err)
        err = pair_by_end(f, own);
    for (int side = 0; !err && side < 2; side++)
        err = find_scripts(profiles[side], script[side]);
    if (err)
        return err;
    struct own *a = only_script(&own[0], script[0]);
    struct own *b = only_script(&own[1], script[1]);
    if (a && b)
        err = pair_files(f, a, b);
    for (int side = 0; !err && side < 2; side++)
        err = name_rest(f, side, &own[side]);
    return err;
}

int files_init(struct files *f, struct profile *const profiles[2])
{
    struct own_list own[2] = {0};
    uint8_t *seen[2] = {0};
    uint8_t *script[2] = {0};
    *f = (struct files){0};
    int err = strtab_init(&f->names);
    for (int side = 0; !err && side < 2; side++) {
        size_t strings = rec_reader_string_count(profile_reader(profiles[side]));
        f->of_file[side] = calloc(strings, sizeof(uint32_t));
        seen[side] = calloc(strings, 1);
        script[side] = calloc(strings, 1);
        err = f->of_file[side] && seen[side] && script[side] ? 0 : -ENOMEM;
        if (!err)
            err = name_files(f, side, profiles[side], seen[side], &own[side]);
    }
    if (!err)
        err = match(f, profiles, own, script);
    for (int side = 0; side < 2; side++) {
        free(own[side].all);
        free(seen[side]);
        free(script[side]);
    }
    return err;
}

void files_release(struct files *f)
{
    strtab_release(&f->names);
    free(f->of_file[0]);
    free(f->of_file[1]);
}
