/* modules: the executable, the libraries and the vDSO that a process has mapped, and what is at an address.
 *
 * By libdwfl (decisions/0022): it finds the files of the mappings, symbols in .symtab, .dynsym and
 * .gnu_debugdata, separate debug files, call frame information and lines. The files are the target's and not
 * trusted; they are opened as the process sees them. One object per process, used by one thread.
 */
#ifndef ZOND_NATIVE_MODULES_H
#define ZOND_NATIVE_MODULES_H

#include "base/base.h"
#include "os/source.h"
#include <elfutils/libdwfl.h>

struct module;
struct mapping;

/* mappings: of files, by address, as they were when the maps were read last. */
struct modules {
    struct source source;
    Dwfl *dwfl;
    struct module *list;
    struct mapping *mappings;
    size_t mapping_count, mapping_cap;
};

/* Reads the maps of the process. It keeps its place until it is released. 0 or a negative errno; m needs no
 * release then. */
int modules_init(struct modules *m, const struct source *source);
void modules_release(struct modules *m);

/* Reads the maps again: libraries were loaded or left since. What came from modules (CFI, names) is void. */
int modules_refresh(struct modules *m);

/* The module at an address; NULL: there is none whose file can be read. */
Dwfl_Module *modules_at(const struct modules *m, uint64_t address);
/* Calls `each` for every descriptor of the GDB JIT interface in a module: its address. */
void modules_each_descriptor(struct modules *m, void (*each)(void *ctx, uint64_t address), void *ctx);

/* What stands for the stubs through which a library calls another. */
#define MODULES_LINKAGE "(linkage)"

/* What is at an address. function: as the symbol table has it, MODULES_LINKAGE, or "" when there is none
 * there; module: path of the file, "" when there is none; where in it the function begins, as far as that is
 * known; and the address as the ELF file counts (p_vaddr). build_id: NULL when it has none. With `lines`,
 * source and line where the file itself has debug information that is not packed, else NULL and 0. Valid
 * until the modules are refreshed or released. */
struct native_place {
    const char *function;
    const char *module;
    uint64_t offset;
    uint64_t address;
    const uint8_t *build_id;
    size_t build_id_len;
    const char *source;
    int line;
};
/* Does the file itself have a section .debug_frame? */
bool modules_have_debug_frame(Dwfl_Module *module);
/* Where the function that an address lies in begins; 0: not known. */
uint64_t modules_function(struct modules *m, uint64_t address);
struct native_place modules_place(struct modules *m, uint64_t address, bool lines);

#endif
