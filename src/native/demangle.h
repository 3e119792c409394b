/* demangle: what people call a function, from its symbol. Knows nothing of where symbols come from. */
#ifndef ZOND_NATIVE_DEMANGLE_H
#define ZOND_NATIVE_DEMANGLE_H

#include "base/buf.h"

/* Symbols beyond are left as they are. */
#define DEMANGLE_MAX 4096

/* Appends the name: of C++ and Rust without arguments, of anything else as it is; without the version that
 * the linker put behind it, and what glibc puts before the names by which it calls its own functions. */
void demangle(struct buf *out, const char *symbol);

/* Appends the name of a function that numba compiled, as Python has it, and finds its module. True when the
 * symbol is of that kind. wrapper: it only calls the function of that name. */
bool demangle_numba(struct buf *name, struct buf *module, bool *wrapper, const char *symbol);

#endif
