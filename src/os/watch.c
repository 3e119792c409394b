/* watch: see watch.h. */
#include "os/watch.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/list.h"
#include "os/proc.h"

/* More births than this between two looks (a fork bomb): look at /proc instead of at each number. */
#define BIRTHS_MAX 4096
/* A number without a process for so long belonged to one that has ended already. */
#define UNBORN_NS (20 * NS_PER_MS)

static pid_t read_pid_max(void)
{
    FILE *f = fopen("/proc/sys/kernel/pid_max", "re");
    int value = 0;
    if (f) {
        if (fscanf(f, "%d", &value) != 1)
            value = 0;
        fclose(f);
    }
    return value > 0 ? value : 4194304;
}

int watch_init(struct watch *w)
{
    *w = (struct watch){.fd = proc_open_last_pid(), .limit = read_pid_max()};
    if (w->fd < 0)
        return w->fd;
    return proc_last_pid(w->fd, &w->last);
}

void watch_release(struct watch *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

/* False: there is nothing of that number. A thread's stat is not read: the kernel adds up all threads of the
 * process for it. */
static bool look_at(pid_t pid, void (*born)(void *, pid_t, pid_t), void *ctx)
{
    struct proc_stat st;
    pid_t leader;
    if (proc_tgid(pid, &leader) != 0)
        return false;
    if (leader != pid)
        return true;
    if (proc_stat(pid, &st) != 0)
        return false;
    born(ctx, pid, st.ppid);
    return true;
}

static void remember_unborn(struct watch *w, pid_t pid)
{
    w->unborn[w->unborn_at] = (struct watch_unborn){.pid = pid, .since_ns = clock_ns()};
    w->unborn_at = (w->unborn_at + 1) % WATCH_UNBORN;
}

static void look_at_unborn(struct watch *w, void (*born)(void *, pid_t, pid_t), void *ctx)
{
    uint64_t now_ns = clock_ns();
    for (size_t i = 0; i < WATCH_UNBORN; i++) {
        struct watch_unborn *u = &w->unborn[i];
        if (!u->pid)
            continue;
        bool is_born = look_at(u->pid, born, ctx);
        if (is_born || now_ns - u->since_ns > UNBORN_NS)
            u->pid = 0;
    }
}

static int each_process(void (*found)(void *, pid_t, pid_t), void *ctx)
{
    DIR *dir = opendir("/proc");
    if (!dir)
        return -errno;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
            look_at(atoi(e->d_name), found, ctx);
    }
    closedir(dir);
    return 0;
}

int watch_poll(struct watch *w, void (*born)(void *, pid_t, pid_t), void *ctx)
{
    pid_t now;
    look_at_unborn(w, born, ctx);
    int err = proc_last_pid(w->fd, &now);
    if (err || now == w->last)
        return err;
    pid_t from = w->last;
    w->last = now;
    pid_t births = now > from ? now - from : w->limit - from + now;
    if (births > BIRTHS_MAX)
        return each_process(born, ctx);
    for (pid_t i = 1; i <= births; i++) {
        pid_t pid = from + i;
        pid = pid < w->limit ? pid : pid - w->limit;
        if (!look_at(pid, born, ctx))
            remember_unborn(w, pid);
    }
    return 0;
}

struct pair {
    pid_t pid, ppid;
};

struct pairs {
    struct pair *list;
    size_t count, cap;
};

static void add_pair(void *ctx, pid_t pid, pid_t ppid)
{
    struct pairs *all = ctx;
    struct pair *list = list_room(all->list, &all->cap, all->count, sizeof(*list));
    if (!list)
        return;
    all->list = list;
    all->list[all->count++] = (struct pair){pid, ppid};
}

int watch_existing(pid_t root, void (*found)(void *, pid_t, pid_t), void *ctx)
{
    struct pairs all = {0};
    int err = each_process(add_pair, &all);
    /* Breadth first: `queue` grows by the children of its own members. */
    pid_t *queue = malloc((all.count + 1) * sizeof(*queue));
    size_t n = 0;
    if (!err && !queue)
        err = -ENOMEM;
    if (!err)
        queue[n++] = root;
    for (size_t at = 0; at < n; at++) {
        for (size_t i = 0; i < all.count; i++) {
            if (all.list[i].ppid != queue[at] || n > all.count)
                continue;
            queue[n++] = all.list[i].pid;
            found(ctx, all.list[i].pid, all.list[i].ppid);
        }
    }
    free(queue);
    free(all.list);
    return err;
}
