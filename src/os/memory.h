/* memory: reading another process's memory, many pieces in one system call; or that of its core.
 *
 * process_vm_readv neither stops the target nor is it atomic: what is read can change while it is read,
 * and telling so is the caller's business. The pieces are copied in their order, each in ascending
 * addresses; the checks of src/python/stack.c rest on that.
 */
#ifndef ZOND_OS_MEMORY_H
#define ZOND_OS_MEMORY_H

#include <sys/types.h>

#include "base/base.h"
#include "os/source.h"

/* IOV_MAX is 1024; more than this many pieces costs more than a second call. */
#define MEMORY_PIECES_MAX 128

struct piece {
    uint64_t at; /* address in the target */
    void *to;
    size_t len;
};

/* One process's memory. reads and bytes count what was asked for so far. */
struct memory {
    struct source source;
    uint64_t reads;
    uint64_t bytes;
};

/* All pieces, in order, or an error: -ESRCH (gone), -EPERM (not allowed), -EFAULT (some of it is not mapped;
 * *whole, if given, is the number of leading pieces that were read entirely). n <= MEMORY_PIECES_MAX. */
int memory_readv(struct memory *m, const struct piece *pieces, size_t n, size_t *whole);
int memory_read(struct memory *m, uint64_t at, void *to, size_t len);
int memory_read_u64(struct memory *m, uint64_t at, uint64_t *value);

#endif
