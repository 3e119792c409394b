/* child: see child.h. */
#include "os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Not taken: SIGTSTP, which should stop zond as it stops the command, and what means a bug of our own. */
static const int taken[] = {SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCONT};

int signals_init(struct signals *s)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        sigaddset(&set, taken[i]);
    if (sigprocmask(SIG_BLOCK, &set, &s->before) < 0)
        return -errno;
    s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->fd < 0 ? -errno : 0;
}

void signals_release(struct signals *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    sigprocmask(SIG_SETMASK, &s->before, NULL);
}

/* Ctrl-C and Ctrl-\ come from the kernel and reach the whole process group, the child included. */
static bool from_terminal(const struct signalfd_siginfo *info)
{
    return info->ssi_code == SI_KERNEL;
}

enum signal_event signals_take(const struct signals *s, pid_t child)
{
    struct signalfd_siginfo info;
    if (read(s->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return SIGNAL_NONE;
    if (info.ssi_signo == SIGCHLD)
        return SIGNAL_CHILD;
    if (child <= 0)
        return info.ssi_signo == SIGCONT ? SIGNAL_NONE : SIGNAL_STOP;
    if (!from_terminal(&info))
        kill(child, (int)info.ssi_signo);
    return SIGNAL_NONE;
}

static _Noreturn void run_child(char *const argv[], const struct signals *s, int go, int report)
{
    char byte;
    if (read(go, &byte, 1) != 1)
        _exit(127);
    sigprocmask(SIG_SETMASK, &s->before, NULL);
    execvp(argv[0], argv);
    int err = errno;
    ssize_t ignored = write(report, &err, sizeof(err));
    (void)ignored;
    _exit(127);
}

int child_prepare(struct child *c, char *const argv[], const struct signals *s)
{
    int go[2], report[2];
    if (pipe2(go, O_CLOEXEC) < 0)
        return -errno;
    if (pipe2(report, O_CLOEXEC) < 0) {
        int err = errno;
        close(go[0]);
        close(go[1]);
        return -err;
    }
    c->pid = fork();
    if (c->pid == 0) {
        close(go[1]);
        run_child(argv, s, go[0], report[1]);
    }
    int err = c->pid < 0 ? errno : 0;
    close(go[0]);
    close(report[1]);
    c->go = go[1];
    c->report = report[0];
    return -err;
}

int child_go(struct child *c)
{
    int err = write(c->go, "", 1) == 1 ? 0 : errno;
    close(c->go);
    /* Exec closes the other end without a word; a failure arrives as an errno. */
    ssize_t n = read(c->report, &err, sizeof(err));
    close(c->report);
    if (n == (ssize_t)sizeof(err))
        waitpid(c->pid, NULL, 0);
    return n == (ssize_t)sizeof(err) ? -err : 0;
}

void child_cancel(struct child *c)
{
    close(c->go);
    close(c->report);
    waitpid(c->pid, NULL, 0);
}

/* The terminal stopped the child alone (it is a job of ours): stop as well, so that the shell learns of it,
 * and go on together. SIGSTOP is not passed on: whoever sent it meant the child. */
static void follow_stop(pid_t pid, int signal)
{
    if (signal != SIGTSTP && signal != SIGTTIN && signal != SIGTTOU)
        return;
    raise(SIGSTOP);
    kill(pid, SIGCONT);
}

int child_poll(pid_t pid, struct child_end *end)
{
    int status;
    pid_t got = waitpid(pid, &status, WNOHANG | WUNTRACED);
    if (got <= 0)
        return 0;
    if (WIFSTOPPED(status)) {
        follow_stop(pid, WSTOPSIG(status));
        return 0;
    }
    *end = (struct child_end){.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
                              .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0};
    return 1;
}

void child_exit_as(const struct child_end *end)
{
    if (end->signal) {
        /* The core dump, if any, was the child's; ours would overwrite it. */
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, end->signal);
        signal(end->signal, SIG_DFL);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        raise(end->signal);
    }
    _exit(end->signal ? 128 + end->signal : end->code);
}
