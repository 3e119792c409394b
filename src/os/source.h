/* source: where a process is looked at: itself while it lives, or the core that it left.
 *
 * The one place that knows the difference, for whoever asks for memory (memory.h), mapped files and threads.
 * What each call means is told in proc.h and core.h.
 */
#ifndef ZOND_OS_SOURCE_H
#define ZOND_OS_SOURCE_H

#include "os/core.h"
#include "os/proc.h"

/* core: NULL while the process lives. It belongs to whoever opened it. */
struct source {
    pid_t pid;
    struct core *core;
};

int source_command(const struct source *s, struct buf *out);
int source_exe(const struct source *s, char *out, size_t size);
int source_threads(const struct source *s, int (*each)(void *ctx, pid_t tid), void *ctx);
int source_maps(const struct source *s, int (*each)(void *ctx, const struct proc_map *map), void *ctx);
int source_open_mapped(const struct source *s, const struct proc_map *map);
int source_open_file(const struct source *s, const char *path);

/* The same for what a core does not have: -ENODATA and, of names, an empty one. */
int source_comm(const struct source *s, pid_t tid, char *out, size_t size);
int source_fd_target(const struct source *s, int fd, char *out, size_t size);
int source_cwd(const struct source *s, char *out, size_t size);

#endif
