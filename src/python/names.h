/* names: the names that Python's threading module gave to threads.
 *
 * They stand in sys.modules['threading']._active, by the thread's ident (its pthread_t). A thread enters that
 * dict a little after it started; threads that the module did not make enter it late or never.
 */
#ifndef ZOND_PYTHON_NAMES_H
#define ZOND_PYTHON_NAMES_H

#include "python/find.h"

/* For how long the place of an interpreter's dict is trusted. */
#define PY_NAMES_TRUST_NS NS_PER_S

/* Where the dict of the interpreter that was asked last is, so that it is not looked for each time. All zero:
 * nothing is known. */
struct py_names {
    uint64_t interp, active;
    uint64_t until_ns;
};

/* Who wants names. */
struct py_names_user {
    /* Is the name of this thread of interest? */
    bool (*wants)(void *ctx, uint64_t ident);
    /* UTF-8, at most PY_TEXT_MAX bytes; not ended by NUL. Other than 0 ends the walk with it. */
    int (*take)(void *ctx, uint64_t ident, const char *name, size_t len);
    void *ctx;
};

/* Gives the names of the interpreter's threads. -ENOENT: threading was not imported there. Another error: the
 * memory changed meanwhile; what was given until then holds. */
int py_thread_names(struct py_names *names, struct py_runtime *rt, uint64_t interp, uint64_t now_ns,
                    const struct py_names_user *user);

#endif
