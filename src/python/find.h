/* find: is this process, or what its core holds, a CPython, which one, and where is its runtime?
 *
 * The answer comes from the files that the process has mapped: the section .PyRuntime (3.13+) or the symbol
 * _PyRuntime. What a file holds is remembered by the finder, so that a tree of processes pays once.
 */
#ifndef ZOND_PYTHON_FIND_H
#define ZOND_PYTHON_FIND_H

#include "os/memory.h"
#include "python/layout.h"

#define PY_VERSION_MAX 24

/* A CPython in a process. Plain data; valid until the process execs. */
struct py_runtime {
    struct memory memory;
    struct layout layout;
    uint64_t address;             /* of _PyRuntime */
    char version[PY_VERSION_MAX]; /* "3.11.7", "3.14.0rc2", "3.13.0t" */
};

enum py_found {
    PY_READY,       /* initialised: has an interpreter */
    PY_NOT_READY,   /* a CPython is there but not initialised (yet, or any more) */
    PY_NONE,        /* no CPython is mapped (yet) */
    PY_OTHER,       /* another implementation: PyPy ... */
    PY_UNSUPPORTED, /* a CPython that we do not know: version tells */
    PY_DENIED,      /* the memory or the files may not be read */
    PY_GONE,        /* the process has ended */
};

struct py_finder;

int py_finder_new(struct py_finder **out);
void py_finder_free(struct py_finder *f);

/* Looks. *rt is set entirely for PY_READY; its version also for PY_NOT_READY and PY_UNSUPPORTED. */
enum py_found py_find(struct py_finder *f, const struct source *source, struct py_runtime *rt);

/* The layout of asyncio in a process that has imported it, from the section .AsyncioDebug of the extension or
 * of what it is built into (3.14+). -ENOENT: no such section, or one that makes no sense. */
int py_find_asyncio(struct py_finder *f, const struct source *source, struct layout_asyncio *out);

#endif
