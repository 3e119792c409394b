/* proc: what /proc says of a process and its threads, and the files that it has mapped.
 *
 * PIDs are those of our own PID namespace; a target in another one knows its threads by other numbers
 * (proc_ns_tid). Files are opened through the process's own root, so that a container's files are found.
 */
#ifndef ZOND_OS_PROC_H
#define ZOND_OS_PROC_H

#include <sys/types.h>

#include "base/base.h"
#include "base/buf.h"

#define PROC_PATH_MAX 4096

/* Fields of /proc/PID/stat. */
struct proc_stat {
    char state;
    pid_t ppid;
    int threads;
    uint64_t start_ticks; /* since boot; with the pid it names a process for good */
    uint64_t start_stack; /* randomised at each exec: tells one program from the next */
};

int proc_stat(pid_t pid, struct proc_stat *out);

/* The arguments, each ended by NUL; empty for a kernel thread or a zombie. Appends to out. */
int proc_command(pid_t pid, struct buf *out);
/* The path of the executable as the target sees it; " (deleted)" is kept. */
int proc_exe(pid_t pid, char *out, size_t size);
/* Its working directory as it sees it. */
int proc_cwd(pid_t pid, char *out, size_t size);
/* The thread's name in the kernel, without the newline. */
int proc_comm(pid_t pid, pid_t tid, char *out, size_t size);
/* Number of `tid` in the innermost PID namespace of the thread. */
int proc_ns_tid(pid_t pid, pid_t tid, pid_t *out);
/* The process leader that the thread or process `pid` belongs to. */
int proc_tgid(pid_t pid, pid_t *out);
/* Who traces the thread or process; 0: nobody. */
int proc_tracer(pid_t pid, pid_t *out);
/* Has the thread a seccomp filter? */
bool proc_confined(pid_t tid);
/* Effective user of the process. */
int proc_uid(pid_t pid, uid_t *out);
/* A descriptor that becomes readable when the process ends, or a negative errno: -ENOSYS before Linux 5.3. */
int proc_open_end(pid_t pid);
/* Resident memory of the process now, and the most of it so far, in bytes. */
int proc_memory(pid_t pid, uint64_t *now, uint64_t *peak);
/* Are we in the same user, PID and mount namespaces? name: "user", "pid", "mnt". 1, 0 or a negative errno. */
int proc_same_ns(pid_t pid, const char *name);

/* Calls `each` for every thread; a return other than 0 ends the walk with it. */
int proc_threads(pid_t pid, int (*each)(void *ctx, pid_t tid), void *ctx);

/* One line of /proc/PID/maps that is backed by a file. path is valid during the call. */
struct proc_map {
    uint64_t start, end, offset, inode;
    bool executable;
    const char *path; /* as the target sees it */
};

int proc_maps(pid_t pid, int (*each)(void *ctx, const struct proc_map *map), void *ctx);

/* Opens a file that the process has mapped: through its root, or, when it was deleted or replaced since, as
 * its executable or through map_files. Returns a descriptor or a negative errno. */
int proc_open_mapped(pid_t pid, const struct proc_map *map);

/* Opens a regular file of the process. path: as it sees it. Returns a descriptor or a negative errno. */
int proc_open_file(pid_t pid, const char *path);
/* Opens a regular file that the process, or the system, wrote: one of its own user's or of root's, no link.
 * path: as the process sees it. Returns a descriptor or a negative errno. */
int proc_open_written(pid_t pid, const char *path);

/* CPU time of the whole process, ns, exact up to now (also for the part of a running time slice). */
int proc_cpu_ns(pid_t pid, uint64_t *out);

/* The highest PID given so far in our namespace: it moves whenever any process or thread is made. fd from
 * proc_open_last_pid. */
int proc_open_last_pid(void);
int proc_last_pid(int fd, pid_t *out);

/* Raises our own limit of open descriptors as far as it goes: some are kept open for each thread. A command
 * that should have the old limit is forked before. */
void proc_raise_descriptors(void);

/* Files of a thread that are read again and again, through kept descriptors as far as our limit of them goes,
 * else (`unkept`) opened each time, which takes a few microseconds more. A descriptor that is not there is
 * -1. */
struct proc_thread {
    pid_t pid, tid;
    int schedstat;
    int syscall;
    bool unkept;
};

/* Scheduler's account of a thread. run_ns lags by up to one kernel tick while the thread runs; slices
 * counts how often it was put on a CPU. */
struct proc_sched {
    uint64_t run_ns;
    uint64_t queued_ns; /* waited for a CPU: told when it gets one */
    uint64_t slices;
};

void proc_thread_init(struct proc_thread *t);
/* Opens; -ENOENT or -ESRCH when the thread is gone. A syscall file that may not be opened is left at -1. */
int proc_thread_open(struct proc_thread *t, pid_t pid, pid_t tid);
void proc_thread_close(struct proc_thread *t);
int proc_thread_sched(const struct proc_thread *t, struct proc_sched *out);

/* What a thread does not run for. number is the system call that it is blocked in and arg0 its first
 * argument; number is -1 when it runs or is about to (`running`), or is off its CPU for another reason: a
 * page fault, a stop. -EPERM when it cannot be told. */
struct proc_syscall {
    bool running;
    int number;
    uint64_t arg0;
    uint64_t sp, pc; /* while it does not run: its stack pointer, and where it goes on */
};
int proc_thread_syscall(const struct proc_thread *t, struct proc_syscall *out);

/* The name of a system call, or NULL for a number that the kernel's headers did not know. */
const char *proc_syscall_name(unsigned number);
/* What a descriptor of the process stands for: a path, "socket:[123]" and the like. */
int proc_fd_target(pid_t pid, int fd, char *out, size_t size);

/* The kernel's timer tick in ns: how far run_ns can lag. */
uint64_t proc_tick_ns(void);

#endif
