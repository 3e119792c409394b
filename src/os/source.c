/* source: see source.h. */
#include "os/source.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int source_command(const struct source *s, struct buf *out)
{
    return s->core ? core_command(s->core, out) : proc_command(s->pid, out);
}

int source_exe(const struct source *s, char *out, size_t size)
{
    if (!s->core)
        return proc_exe(s->pid, out, size);
    return snprintf(out, size, "%s", core_exe(s->core)) < (int)size ? 0 : -ENAMETOOLONG;
}

int source_threads(const struct source *s, int (*each)(void *ctx, pid_t tid), void *ctx)
{
    return s->core ? core_threads(s->core, each, ctx) : proc_threads(s->pid, each, ctx);
}

int source_maps(const struct source *s, int (*each)(void *ctx, const struct proc_map *map), void *ctx)
{
    return s->core ? core_maps(s->core, each, ctx) : proc_maps(s->pid, each, ctx);
}

int source_open_mapped(const struct source *s, const struct proc_map *map)
{
    return s->core ? core_open_mapped(s->core, map) : proc_open_mapped(s->pid, map);
}

int source_open_file(const struct source *s, const char *path)
{
    return s->core ? proc_open_file(getpid(), path) : proc_open_file(s->pid, path);
}

static int none(char *out)
{
    out[0] = 0;
    return -ENODATA;
}

int source_comm(const struct source *s, pid_t tid, char *out, size_t size)
{
    return s->core ? none(out) : proc_comm(s->pid, tid, out, size);
}

int source_fd_target(const struct source *s, int fd, char *out, size_t size)
{
    return s->core ? none(out) : proc_fd_target(s->pid, fd, out, size);
}

int source_cwd(const struct source *s, char *out, size_t size)
{
    return s->core ? none(out) : proc_cwd(s->pid, out, size);
}
