/* memory: see memory.h. */
#include "os/memory.h"

#include <errno.h>
#include <sys/uio.h>

static size_t count_whole(const struct piece *pieces, size_t n, size_t got)
{
    size_t i = 0;
    while (i < n && got >= pieces[i].len)
        got -= pieces[i++].len;
    return i;
}

/* A core does not change: one piece after the other. */
static int read_core(struct memory *m, const struct piece *pieces, size_t n, size_t *whole)
{
    size_t i = 0;
    int err = 0;
    m->reads++;
    for (; i < n && !(err = core_read(m->source.core, pieces[i].at, pieces[i].to, pieces[i].len)); i++)
        m->bytes += pieces[i].len;
    if (whole)
        *whole = i;
    return err;
}

int memory_readv(struct memory *m, const struct piece *pieces, size_t n, size_t *whole)
{
    struct iovec local[MEMORY_PIECES_MAX], remote[MEMORY_PIECES_MAX];
    size_t total = 0;
    if (n > MEMORY_PIECES_MAX)
        return -EINVAL;
    if (m->source.core)
        return read_core(m, pieces, n, whole);
    for (size_t i = 0; i < n; i++) {
        local[i] = (struct iovec){.iov_base = pieces[i].to, .iov_len = pieces[i].len};
        remote[i] = (struct iovec){.iov_base = (void *)pieces[i].at, .iov_len = pieces[i].len};
        total += pieces[i].len;
    }
    ssize_t got = process_vm_readv(m->source.pid, local, n, remote, n, 0);
    m->reads++;
    if (got > 0)
        m->bytes += (uint64_t)got;
    if (whole)
        *whole = got < 0 ? 0 : count_whole(pieces, n, (size_t)got);
    if (got < 0)
        return -errno;
    return (size_t)got == total ? 0 : -EFAULT;
}

int memory_read(struct memory *m, uint64_t at, void *to, size_t len)
{
    struct piece piece = {.at = at, .to = to, .len = len};
    return memory_readv(m, &piece, 1, NULL);
}

int memory_read_u64(struct memory *m, uint64_t at, uint64_t *value)
{
    return memory_read(m, at, value, sizeof(*value));
}
