/* jitted: where a function that was compiled just in time stands in Python's source.
 *
 * Compilers that name their code (numba does) say of which module and function it is, and not where that is.
 * The module is looked for where this process would find it: beside the main script, in its working
 * directory, where its extension modules lie. A function is taken where its module defines one of that name
 * only. Knows nothing of addresses.
 */
#ifndef ZOND_SAMPLE_JITTED_H
#define ZOND_SAMPLE_JITTED_H

#include "base/base.h"
#include "os/source.h"

/* In a source file of this size and beyond nothing is looked for. */
#define JITTED_SOURCE_MAX (16u << 20)

/* line: of the definition or its first decorator, counted from 1; 0: not known. */
struct jitted_place {
    char file[PROC_PATH_MAX];
    uint32_t line;
};

/* main_file: the source of __main__, "" when it is not known. function: qualified. False: the module was not
 * found. */
bool jitted_find(const struct source *source, const char *main_file, const char *module, const char *function,
                 struct jitted_place *out);

#endif
