/* watch: which processes a set of processes gives birth to, without tracing any of them.
 *
 * The kernel shows the last PID that it gave. When that has moved, the PIDs in between are looked at: a new
 * process whose parent we know is ours. One read of 1-2 us tells that nothing happened. What can be missed:
 * a process whose parent ended within one interval of the watch, as it is then no longer anyone's child.
 */
#ifndef ZOND_OS_WATCH_H
#define ZOND_OS_WATCH_H

#include <sys/types.h>

#include "base/base.h"

#define WATCH_UNBORN 64

struct watch {
    int fd;
    pid_t last;
    pid_t limit; /* kernel.pid_max: numbers start over from there */
    /* Numbers that were given but showed no process yet: the kernel gives the number first. The oldest is
     * overwritten by the next one. */
    struct watch_unborn {
        pid_t pid; /* 0: none */
        uint64_t since_ns;
    } unborn[WATCH_UNBORN];
    size_t unborn_at; /* where the next one goes */
};

/* Starts looking from now on. */
int watch_init(struct watch *w);
void watch_release(struct watch *w);

/* Calls `born` for each new process (not thread) since the last call, with its parent. */
int watch_poll(struct watch *w, void (*born)(void *ctx, pid_t pid, pid_t ppid), void *ctx);

/* The processes below `root` that are there already, parents first. */
int watch_existing(pid_t root, void (*found)(void *ctx, pid_t pid, pid_t ppid), void *ctx);

#endif
