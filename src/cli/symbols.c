/* symbols: see symbols.h. */
#include "cli/symbols.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/view.h"
#include "native/symbols.h"
#include "record/resolve.h"

static size_t find(void *ctx, const char *path, const char *build_id, uint64_t address,
                   struct rec_resolved *out)
{
    struct symbol_found found[SYMBOLS_INLINED_MAX];
    size_t count = symbols_find(ctx, path, build_id, address, found);
    _Static_assert(REC_RESOLVED_MAX >= SYMBOLS_INLINED_MAX, "all that is found fits");
    for (size_t i = 0; i < count; i++)
        out[i] = (struct rec_resolved){found[i].function, found[i].file, found[i].line};
    return count;
}

/* Says what went wrong; returns it. */
static int fail(const struct options *o, const char *path, int err)
{
    if (err == -ENOTSUP)
        fprintf(stderr,
                "zond %s: %s is a merged recording; --symbols works on those that it was merged from\n",
                o->verb->name, path);
    else
        view_cannot_read(o, path, err);
    return err;
}

static int resolve(const struct options *o, const char *path, struct rec_reader *r, struct symbols *s)
{
    int to = view_nowhere();
    int err = to < 0 ? to : rec_resolve(r, to, find, s);
    if (err) {
        if (to >= 0)
            close(to);
        return fail(o, path, err);
    }
    view_say_break(o, path, r);
    return to;
}

int symbols_add(const struct options *o, const char *path, struct rec_reader *r)
{
    struct symbols *s = NULL;
    int err = symbols_new(o->symbols, &s);
    if (err) {
        fprintf(stderr, "zond %s: cannot read the directory %s: %s\n", o->verb->name, o->symbols,
                strerror(-err));
        return err;
    }
    int to = resolve(o, path, r, s);
    symbols_free(s);
    return to;
}
