/* modules: see modules.h. The roots are those that end in a name that is the same everywhere; what lies above
 * (prefixes, environments, users' homes) and the version of Python in it do not matter. A program's own
 * modules have no such root: pairs.c finds out by comparing two recordings.
 */
#include "analysis/modules.h"

#include <string.h>

static const char frozen[] = "<frozen ";

/* Where in path what follows `root` starts: the last such place, or 0. */
static size_t after_last(const char *path, size_t len, const char *root)
{
    size_t n = strlen(root);
    size_t found = 0;
    for (size_t i = 0; i + n < len; i++) {
        if (memcmp(path + i, root, n) == 0)
            found = i + n;
    }
    return found;
}

/* Past "/lib/python3.11/" or "/lib64/python3.11/", or 0. */
static size_t after_library(const char *path, size_t len)
{
    size_t at = after_last(path, len, "/lib/python3.");
    at = at ? at : after_last(path, len, "/lib64/python3.");
    if (!at)
        return 0;
    const char *slash = memchr(path + at, '/', len - at);
    return slash && slash + 1 < path + len ? (size_t)(slash - path) + 1 : 0;
}

static bool is_frozen(const char *path, size_t len)
{
    return len > sizeof(frozen) && memcmp(path, frozen, sizeof(frozen) - 1) == 0 && path[len - 1] == '>';
}

enum module_origin module_origin(const char *path, size_t len, size_t *start)
{
    *start = after_last(path, len, "/site-packages/");
    *start = *start ? *start : after_last(path, len, "/dist-packages/");
    if (*start)
        return MODULE_INSTALLED;
    *start = after_library(path, len);
    return *start || is_frozen(path, len) ? MODULE_STDLIB : MODULE_OWN;
}

static bool drop_end(size_t *len, const char *path, const char *end)
{
    size_t n = strlen(end);
    bool found = *len > n && memcmp(path + *len - n, end, n) == 0;
    *len -= found ? n : 0;
    return found;
}

bool module_name(struct buf *out, const char *path, size_t len)
{
    size_t start;
    enum module_origin origin = module_origin(path, len, &start);
    if (origin == MODULE_OWN)
        return false;
    bool dotted = !start;
    if (dotted) {
        start = sizeof(frozen) - 1;
        len--;
    }
    path += start;
    len -= start;
    drop_end(&len, path, ".py");
    drop_end(&len, path, "/__init__");
    buf_put_str(out, origin == MODULE_STDLIB ? "stdlib:" : "installed:");
    for (size_t i = 0; i < len; i++)
        buf_put_u8(out, dotted && path[i] == '.' ? '/' : (uint8_t)path[i]);
    return true;
}
