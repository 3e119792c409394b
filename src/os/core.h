/* core: the image of a process that a core file holds: its memory, threads and mapped files.
 *
 * A core has what the process wrote. What it only mapped, the code of libraries above all, is left out by the
 * kernel and is read from the files themselves, if they are there and are still the same: by build-id, or,
 * where their first page has none, by their headers. The core is not trusted: each size and address in it is
 * checked against the file, which is read and never mapped, for it may shrink meanwhile. Used by one thread.
 * Knows nothing of Python.
 */
#ifndef ZOND_OS_CORE_H
#define ZOND_OS_CORE_H

#include "base/buf.h"
#include "os/proc.h"
#include "os/stop.h"

struct core;

/* A thread as it stood. where: in the terms of proc.h, whether it ran and which system call it waits in. */
struct core_thread {
    pid_t tid;
    struct registers registers;
    struct proc_syscall where;
};

/* signal: that ended the process, 0: none did, as in a core of gcore. tid: the thread that got it. address:
 * that it is about, where has_address: of SIGSEGV, SIGBUS, SIGILL and SIGFPE. */
struct core_end {
    int signal;
    pid_t tid;
    bool has_address;
    uint64_t address;
};

/* fd: a regular file; it belongs to the core from now on, also on an error. exe: where its executable is now,
 * or NULL: where the core says. -ENOEXEC: no ELF file; -EINVAL: one that is no core; -ENOTSUP: of another
 * machine; -ENODATA: it has no threads, or is cut before them; -E2BIG: it claims more than there can be;
 * another negative errno. */
int core_new(int fd, const char *exe, struct core **out);
void core_free(struct core *c);

/* Of the process, as it was told by the kernel of its own namespace; 0: not known. */
pid_t core_pid(const struct core *c);
pid_t core_ppid(const struct core *c);
/* The arguments, each ended by NUL: the first 80 bytes, divided at blanks. Appends to out. */
int core_command(const struct core *c, struct buf *out);
/* The path of the executable as the core has it; "" when it is not known. */
const char *core_exe(const struct core *c);
/* Can the executable be read? 0; -ESTALE: it is not that of the core; -ENODATA: the core does not say which
 * it is; or why it cannot be opened. */
int core_check_exe(struct core *c);
struct core_end core_end(const struct core *c);
/* By so many bytes the file is shorter than it says. */
uint64_t core_cut(const struct core *c);
/* Where the kernel's own library lies; 0: not known. *size: up to the end of that piece of memory. */
uint64_t core_vdso(const struct core *c, uint64_t *size);

/* Calls `each` for every thread, the one that got the signal first; a return other than 0 ends it. */
int core_threads(const struct core *c, int (*each)(void *ctx, pid_t tid), void *ctx);
/* NULL: there is none. Valid as long as the core. */
const struct core_thread *core_thread(const struct core *c, pid_t tid);

/* The mapped files in the order of addresses; inode is 0. */
int core_maps(const struct core *c, int (*each)(void *ctx, const struct proc_map *map), void *ctx);
/* Opens the file that the address of the map lies in. A descriptor, -ESTALE: another file is there by now; or
 * a negative errno. */
int core_open_mapped(struct core *c, const struct proc_map *map);
/* Calls `each` for every file that was asked for and could not be used. err: as of core_open_mapped. */
void core_each_lost(const struct core *c, void (*each)(void *ctx, const char *path, int err), void *ctx);

/* All of it, or -EFAULT: some is neither in the core nor in a file. */
int core_read(struct core *c, uint64_t at, void *to, size_t len);

#endif
