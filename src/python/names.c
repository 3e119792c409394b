/* names: see names.h.
 *
 * The key of an entry is an int, the ident. Its hash, which the entry keeps, is the same number: idents are
 * addresses, far below the modulus of the hash.
 */
#include "python/names.h"

#include <errno.h>

#include "python/dict.h"
#include "python/text.h"

struct walk {
    struct py_runtime *rt;
    const struct py_names_user *user;
    struct buf text;
};

static int take_entry(void *ctx, const struct py_entry *entry)
{
    struct walk *walk = ctx;
    const struct py_names_user *user = walk->user;
    uint64_t name;
    if (!entry->hash || !user->wants(user->ctx, entry->hash))
        return 0;
    buf_clear(&walk->text);
    /* A thread that cannot be made sense of does not keep the others from their names. */
    if (py_attribute(walk->rt, entry->value, "_name", &name) != 0 ||
        py_read_str(walk->rt, name, &walk->text) != 0)
        return 0;
    return user->take(user->ctx, entry->hash, (const char *)walk->text.data, walk->text.len);
}

static int find_active(struct py_runtime *rt, uint64_t interp, uint64_t *active)
{
    uint64_t module, globals;
    int err = py_module(rt, interp, "threading", &module);
    if (!err)
        err = memory_read_u64(&rt->memory, module + rt->layout.module.dict, &globals);
    return err ? err : py_dict_find(rt, globals, "_active", active);
}

int py_thread_names(struct py_names *names, struct py_runtime *rt, uint64_t interp, uint64_t now_ns,
                    const struct py_names_user *user)
{
    if (names->interp != interp || now_ns >= names->until_ns) {
        *names = (struct py_names){0};
        int err = find_active(rt, interp, &names->active);
        if (err)
            return err;
        names->interp = interp;
        names->until_ns = now_ns + PY_NAMES_TRUST_NS;
    }
    struct walk walk = {.rt = rt, .user = user};
    buf_init(&walk.text, 4 * PY_TEXT_MAX);
    int err = py_dict_each(rt, names->active, take_entry, &walk);
    buf_release(&walk.text);
    if (err)
        names->interp = 0;
    return err;
}
