/* proc: see proc.h. Parsing is done by hand where it stands on the sampler's path (schedstat, syscall,
 * loadavg), by scanf elsewhere. */
#include "os/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/file.h"

/* So many descriptors below our limit are not kept for threads: other files are opened while they are looked
 * at. */
#define DESCRIPTORS_SPARE 128
/* Arguments of a system call, in /proc/PID/task/TID/syscall. */
#define SYSCALL_ARGS 6

/* Reads a small file whole; NUL-terminates. Returns the length or a negative errno. */
static ssize_t slurp(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, out, size - 1);
    int err = errno;
    close(fd);
    if (n < 0)
        return -err;
    out[n] = 0;
    return n;
}

int proc_stat(pid_t pid, struct proc_stat *out)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    ssize_t n = slurp(path, text, sizeof(text));
    if (n < 0)
        return (int)n;
    /* The name stands in parentheses and may hold any character: the fields begin after the last one. */
    const char *fields = strrchr(text, ')');
    unsigned long long start, stack;
    if (!fields || sscanf(fields + 1,
                          " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d %*d %llu "
                          "%*u %*d %*u %*u %*u %llu",
                          &out->state, &out->ppid, &out->threads, &start, &stack) != 5)
        return -EPROTO;
    out->start_ticks = start;
    out->start_stack = stack;
    return 0;
}

int proc_command(pid_t pid, struct buf *out)
{
    char path[64], chunk[4096];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        buf_put(out, chunk, (size_t)n);
    close(fd);
    return out->error == -EFBIG ? 0 : out->error;
}

static int read_link(pid_t pid, const char *name, char *out, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    ssize_t n = readlink(path, out, size - 1);
    if (n < 0)
        return -errno;
    out[n] = 0;
    return 0;
}

int proc_exe(pid_t pid, char *out, size_t size)
{
    return read_link(pid, "exe", out, size);
}

int proc_cwd(pid_t pid, char *out, size_t size)
{
    return read_link(pid, "cwd", out, size);
}

int proc_comm(pid_t pid, pid_t tid, char *out, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, tid);
    ssize_t n = slurp(path, out, size);
    if (n < 0)
        return (int)n;
    out[strcspn(out, "\n")] = 0;
    return 0;
}

/* The text after "KEY:" in /proc/PID/status, copied to out. */
static int status_field(pid_t pid, const char *key, char *out, size_t size)
{
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    ssize_t n = slurp(path, text, sizeof(text));
    if (n < 0)
        return (int)n;
    char *line = strstr(text, key);
    if (!line)
        return -ENODATA;
    line += strlen(key);
    line[strcspn(line, "\n")] = 0;
    snprintf(out, size, "%s", line);
    return 0;
}

int proc_ns_tid(pid_t pid, pid_t tid, pid_t *out)
{
    char ids[256];
    (void)pid; /* /proc/TID is the thread, whichever process it belongs to */
    int err = status_field(tid, "\nNSpid:", ids, sizeof(ids));
    if (err)
        return err;
    const char *last = strrchr(ids, '\t');
    *out = atoi(last ? last + 1 : ids);
    return 0;
}

int proc_tgid(pid_t pid, pid_t *out)
{
    char id[64];
    int err = status_field(pid, "\nTgid:", id, sizeof(id));
    if (!err)
        *out = atoi(id);
    return err;
}

int proc_tracer(pid_t pid, pid_t *out)
{
    char id[64];
    int err = status_field(pid, "\nTracerPid:", id, sizeof(id));
    if (!err)
        *out = atoi(id);
    return err;
}

bool proc_confined(pid_t tid)
{
    char mode[64];
    return status_field(tid, "\nSeccomp:", mode, sizeof(mode)) == 0 && atoi(mode) != 0;
}

int proc_uid(pid_t pid, uid_t *out)
{
    char ids[128];
    unsigned real, effective;
    int err = status_field(pid, "\nUid:", ids, sizeof(ids));
    if (err)
        return err;
    if (sscanf(ids, "%u %u", &real, &effective) != 2)
        return -EPROTO;
    *out = effective;
    return 0;
}

int proc_open_end(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : fd;
}

int proc_memory(pid_t pid, uint64_t *now, uint64_t *peak)
{
    static const char peak_key[] = "\nVmHWM:", now_key[] = "\nVmRSS:";
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    ssize_t n = slurp(path, text, sizeof(text));
    if (n < 0)
        return (int)n;
    const char *most = strstr(text, peak_key), *rss = strstr(text, now_key);
    if (!most || !rss)
        return -ENODATA; /* it is ending, and has given up its memory */
    *peak = strtoull(most + sizeof(peak_key) - 1, NULL, 10) * 1024;
    *now = strtoull(rss + sizeof(now_key) - 1, NULL, 10) * 1024;
    return 0;
}

int proc_same_ns(pid_t pid, const char *name)
{
    char path[64];
    struct stat own, other;
    snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
    if (stat(path, &own) < 0)
        return -errno;
    snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
    if (stat(path, &other) < 0)
        return -errno;
    return own.st_ino == other.st_ino && own.st_dev == other.st_dev;
}

int proc_threads(pid_t pid, int (*each)(void *ctx, pid_t tid), void *ctx)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    if (!dir)
        return -errno;
    int ret = 0;
    for (struct dirent *e; !ret && (e = readdir(dir));) {
        if (e->d_name[0] != '.')
            ret = each(ctx, atoi(e->d_name));
    }
    closedir(dir);
    return ret;
}

static bool parse_map(char *line, struct proc_map *map)
{
    unsigned long start, end, offset, inode;
    char perms[8];
    int path_at = 0;
    if (sscanf(line, "%lx-%lx %7s %lx %*x:%*x %lu %n", &start, &end, perms, &offset, &inode, &path_at) < 5)
        return false;
    line[strcspn(line, "\n")] = 0;
    *map = (struct proc_map){.start = start,
                             .end = end,
                             .offset = offset,
                             .inode = inode,
                             .executable = perms[2] == 'x',
                             .path = line + path_at};
    return inode != 0 && path_at > 0 && map->path[0] == '/';
}

int proc_maps(pid_t pid, int (*each)(void *ctx, const struct proc_map *map), void *ctx)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/maps", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    char *line = NULL;
    size_t size = 0;
    int ret = 0;
    struct proc_map map;
    while (!ret && getline(&line, &size, file) > 0) {
        if (parse_map(line, &map))
            ret = each(ctx, &map);
    }
    free(line);
    fclose(file);
    return ret;
}

static int open_in_root(pid_t pid, const char *path, int flags, struct stat *st)
{
    char full[PROC_PATH_MAX + 64];
    int n = snprintf(full, sizeof(full), "/proc/%d/root%s", pid, path);
    return n < (int)sizeof(full) ? file_open(full, flags, st) : -ENAMETOOLONG;
}

int proc_open_file(pid_t pid, const char *path)
{
    struct stat st;
    return open_in_root(pid, path, 0, &st);
}

/* The mapped file without its name, which may be gone: as the executable, which needs no more rights than the
 * memory does, or as any mapped file, which does. */
static int open_nameless(pid_t pid, const struct proc_map *map)
{
    char path[64];
    struct stat st = {0};
    snprintf(path, sizeof(path), "/proc/%d/exe", pid);
    int fd = file_open(path, 0, &st);
    if (fd >= 0 && st.st_ino == map->inode)
        return fd;
    if (fd >= 0)
        close(fd);
    snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", pid, map->start, map->end);
    return file_open(path, 0, &st);
}

int proc_open_mapped(pid_t pid, const struct proc_map *map)
{
    struct stat st = {0};
    int named = open_in_root(pid, map->path, 0, &st);
    if (named >= 0 && st.st_ino == map->inode)
        return named;
    int mapped = open_nameless(pid, map);
    /* On overlay file systems the two numbers differ for one file: without the right to map_files, the file
     * of that name is taken. */
    if (mapped < 0 && named >= 0)
        return named;
    if (named >= 0)
        close(named);
    return mapped;
}

int proc_open_written(pid_t pid, const char *path)
{
    struct stat st = {0};
    uid_t user;
    int err = proc_uid(pid, &user);
    if (err)
        return err;
    int fd = open_in_root(pid, path, O_NOFOLLOW, &st);
    if (fd < 0 || st.st_uid == user || st.st_uid == 0)
        return fd;
    close(fd);
    return -EACCES;
}

int proc_cpu_ns(pid_t pid, uint64_t *out)
{
    /* The clock id of a process's CPU time, as clock_getcpuclockid(3) builds it. */
    clockid_t id = (clockid_t)((~(unsigned)pid << 3) | 2);
    struct timespec ts;
    if (clock_gettime(id, &ts) < 0)
        return -errno;
    *out = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
    return 0;
}

int proc_open_last_pid(void)
{
    int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int proc_last_pid(int fd, pid_t *out)
{
    char text[128];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return n < 0 ? -errno : -EPROTO;
    text[n] = 0;
    const char *last = strrchr(text, ' ');
    if (!last)
        return -EPROTO;
    *out = atoi(last + 1);
    return 0;
}

void proc_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

void proc_thread_init(struct proc_thread *t)
{
    *t = (struct proc_thread){.schedstat = -1, .syscall = -1};
}

static int open_of_thread(const struct proc_thread *t, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", t->pid, t->tid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void close_both(struct proc_thread *t)
{
    if (t->schedstat >= 0)
        close(t->schedstat);
    if (t->syscall >= 0)
        close(t->syscall);
    t->schedstat = t->syscall = -1;
}

/* Are there still descriptors that can be kept, up to this one? */
static bool may_keep(int fd)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) != 0 || (rlim_t)fd + DESCRIPTORS_SPARE < limit.rlim_cur;
}

int proc_thread_open(struct proc_thread *t, pid_t pid, pid_t tid)
{
    proc_thread_close(t);
    t->pid = pid;
    t->tid = tid;
    int fd = open_of_thread(t, "schedstat");
    if (fd < 0)
        return fd;
    t->schedstat = fd;
    fd = open_of_thread(t, "syscall");
    t->syscall = fd < 0 ? -1 : fd;
    t->unkept = !may_keep(fd < 0 ? t->schedstat : fd);
    if (t->unkept)
        close_both(t);
    return 0;
}

void proc_thread_close(struct proc_thread *t)
{
    close_both(t);
    proc_thread_init(t);
}

/* Reads one of the two files whole; NUL-terminates. Returns the length or a negative errno. */
static ssize_t read_of_thread(const struct proc_thread *t, int kept, const char *name, char *out, size_t size)
{
    int fd = t->unkept ? open_of_thread(t, name) : kept;
    if (fd < 0)
        return t->unkept ? fd : -EPERM;
    ssize_t n = pread(fd, out, size - 1, 0);
    int err = errno;
    if (t->unkept)
        close(fd);
    out[n < 0 ? 0 : n] = 0;
    return n < 0 ? -err : n;
}

static const char *skip_number(const char *s, uint64_t *value)
{
    uint64_t v = 0;
    for (; *s >= '0' && *s <= '9'; s++)
        v = v * 10 + (uint64_t)(*s - '0');
    *value = v;
    return *s == ' ' ? s + 1 : s;
}

int proc_thread_sched(const struct proc_thread *t, struct proc_sched *out)
{
    char text[96];
    ssize_t n = read_of_thread(t, t->schedstat, "schedstat", text, sizeof(text));
    if (n <= 0)
        return n < 0 ? (int)n : -ESRCH;
    const char *s = skip_number(text, &out->run_ns);
    s = skip_number(s, &out->queued_ns);
    skip_number(s, &out->slices);
    return 0;
}

int proc_thread_syscall(const struct proc_thread *t, struct proc_syscall *out)
{
    char text[256];
    *out = (struct proc_syscall){.number = -1};
    ssize_t n = read_of_thread(t, t->syscall, "syscall", text, sizeof(text));
    if (n <= 0)
        return n < 0 ? (int)n : -ESRCH;
    out->running = text[0] == 'r'; /* "running" */
    if (out->running)
        return 0;
    char *end;
    out->number = (int)strtol(text, &end, 10);
    if (out->number >= 0) {
        out->arg0 = strtoull(end, &end, 16);
        for (int i = 1; i < SYSCALL_ARGS; i++)
            strtoull(end, &end, 16);
    }
    out->sp = strtoull(end, &end, 16);
    out->pc = strtoull(end, &end, 16);
    return 0;
}

const char *proc_syscall_name(unsigned number)
{
    static const char *const names[] = {
#include "os/syscalls.h"
    };
    return number < ARRAY_LEN(names) ? names[number] : NULL;
}

int proc_fd_target(pid_t pid, int fd, char *out, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
    ssize_t n = readlink(path, out, size - 1);
    out[n < 0 ? 0 : n] = 0;
    return n < 0 ? -errno : 0;
}

uint64_t proc_tick_ns(void)
{
    /* The coarse clock advances once a tick: its resolution is 1/HZ. */
    struct timespec ts = {0};
    if (clock_getres(CLOCK_MONOTONIC_COARSE, &ts) < 0 || ts.tv_nsec == 0)
        return 10 * NS_PER_MS;
    return (uint64_t)ts.tv_nsec;
}
