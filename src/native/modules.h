/* modules: the executable, the libraries and the vDSO that a process has mapped, and what is at an address.
 *
 * By libdwfl (decisions/0022): it finds the files of the mappings, symbols in .symtab, .dynsym and
 * .gnu_debugdata, separate debug files, call frame information and lines. The files are the target's and not
 * trusted; they are opened as the process sees them. One object per process, used by one thread.
 */
#ifndef ZOND_NATIVE_MODULES_H
#define ZOND_NATIVE_MODULES_H

#include <elfutils/libdwfl.h>
#include <sys/types.h>

#include "base/base.h"

struct module;

struct modules {
    pid_t pid;
    Dwfl *dwfl;
    struct module *list;
};

/* Reads the maps of the process. 0 or a negative errno; m needs no release then. */
int modules_init(struct modules *m, pid_t pid);
void modules_release(struct modules *m);

/* Reads the maps again: libraries were loaded or left since. What came from modules (CFI, names) is void. */
int modules_refresh(struct modules *m);

/* What stands for the stubs through which a library calls another. */
#define MODULES_LINKAGE "(linkage)"

/* What is at an address. function: as the symbol table has it, MODULES_LINKAGE, or "" when there is none
 * there; module: path of the file, and where in it the function begins, as far as that is known. With
 * `lines`, source and line where there is debug information, else NULL and 0: reading that takes up to
 * hundreds of milliseconds for each module. Valid until the modules are refreshed or released. */
struct native_place {
    const char *function;
    const char *module;
    uint64_t offset;
    const char *source;
    int line;
};
struct native_place modules_place(struct modules *m, uint64_t address, bool lines);

#endif
