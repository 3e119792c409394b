/* jit: functions in memory that no file was mapped to, as far as what compiled them tells of them.
 *
 * By three ways that exist for debuggers and profilers: objects registered for GDB, as all users of LLVM's
 * JIT do, numba among them (GDB manual, "JIT Compilation Interface"); the perf map /tmp/perf-PID.map; and
 * jitdump, a file that the process has mapped (Linux, tools/perf/Documentation/jit-interface.txt,
 * jitdump-specification.txt). All of it is the target's and not trusted. One object per process, used by one
 * thread; nothing is called or changed in the target.
 */
#ifndef ZOND_NATIVE_JIT_H
#define ZOND_NATIVE_JIT_H

#include <elfutils/libdw.h>
#include <sys/types.h>

#include "base/buf.h"
#include "native/modules.h"
#include "os/memory.h"

/* A function. name and module: offsets in the texts. wrapper: see demangle_numba. object: that it came with,
 * 0: none. order: of two that overlap the later one counts. */
struct jit_code {
    uint64_t start, end;
    uint32_t name, module, order, object;
    bool numba, wrapper;
};

/* What was registered for GDB: a relocatable ELF file in memory. cfi: of its code; NULL: none, and then there
 * is no image. */
struct jit_object {
    uint64_t id;
    uint64_t entry, address, size;
    bool listed; /* at the last reading */
    void *image;
    Elf *elf;
    Dwarf_CFI *cfi;
};

/* Bounds, beyond which nothing more is read: functions of a process, objects, bytes of an object and of a
 * file. Objects whose images together are larger are known by their functions' names alone. */
#define JIT_CODES_MAX (1u << 18)
#define JIT_OBJECTS_MAX 8192
#define JIT_OBJECT_MAX (16u << 20)
#define JIT_IMAGES_MAX (32u << 20)
#define JIT_FILE_MAX (256u << 20)

/* Invariants: codes is sorted by start, then order, when `sorted`; objects by id. texts begins with an empty
 * string, and only grows. */
struct jit {
    struct memory memory;
    struct jit_code *codes;
    size_t count, cap;
    bool sorted;
    struct jit_object *objects;
    size_t object_count, object_cap;
    uint32_t objects_made;
    uint64_t images_size;
    struct buf texts;
    uint64_t map_read;  /* bytes of the perf map that were read */
    uint64_t dump_read; /* of the jitdump */
};

void jit_init(struct jit *j, const struct source *source);
void jit_release(struct jit *j);

/* Files are those of a process that lives: whose they are later cannot be told. Reads what has come since,
 * and forgets objects that left. What was found in it before is void. */
void jit_refresh(struct jit *j, struct modules *modules);

/* The function at an address; NULL: none is known. Valid until the next refresh. */
const struct jit_code *jit_find(struct jit *j, uint64_t address);
const char *jit_text(const struct jit *j, uint32_t text);
/* Call frame information of such a function; NULL: there is none. */
Dwarf_CFI *jit_cfi(const struct jit *j, const struct jit_code *c);

#endif
