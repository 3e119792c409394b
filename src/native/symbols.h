/* symbols: what stands at an address of a file, looked up after the fact: function, source line, and the
 * functions that were inlined there.
 *
 * Looked for by build-id, so that names are never those of another build: in a directory of the user's; in
 * the file itself where it still is what it was; where distributions put debug files; at last on the servers
 * of DEBUGINFOD_URLS, if that is set (libdebuginfod). Files are not trusted. Knows nothing of processes.
 */
#ifndef ZOND_NATIVE_SYMBOLS_H
#define ZOND_NATIVE_SYMBOLS_H

#include "base/base.h"

struct symbols;

/* directory: NULL, or one whose files are looked at, and those below it. Its string stays the caller's, and
 * valid. -ENOENT, -ENOTDIR, -EACCES ...: it cannot be read; -ENOMEM. */
int symbols_new(const char *directory, struct symbols **out);
void symbols_free(struct symbols *s);

/* Functions inlined into one another at one place, beyond which the outer ones are left out. */
#define SYMBOLS_INLINED_MAX 64

/* line 0 and file "": not known. Strings are valid until the next search. */
struct symbol_found {
    const char *function, *file;
    uint32_t line;
};

/* What stands at an address (p_vaddr) of the file with this build-id (hexadecimal), innermost first; the last
 * is the function itself. Room for SYMBOLS_INLINED_MAX. Returns how many; 0: nothing is known of it. */
size_t symbols_find(struct symbols *s, const char *path, const char *build_id, uint64_t address,
                    struct symbol_found *out);

#endif
