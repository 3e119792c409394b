/* child: see child.h. */
#include "os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/proc.h"

/* Ends a recording that has no command of its own. */
static const int asking[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
/* Never passed on: they cannot be caught, or mean a fault or a limit of our own. */
static const int kept[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
                           SIGTRAP, SIGABRT, SIGSYS,  SIGPIPE, SIGXCPU};

/* How often a child that was reported as stopped, and not as continued, is looked at until it is; 1 ms apart.
 */
#define STOP_GLANCES 2000

static bool is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void choose(sigset_t *set, bool for_child)
{
    if (for_child) {
        sigfillset(set);
        for (size_t i = 0; i < ARRAY_LEN(kept); i++)
            sigdelset(set, kept[i]);
        return;
    }
    sigemptyset(set);
    sigaddset(set, SIGCHLD); /* threads that are held for their native stacks */
    for (size_t i = 0; i < ARRAY_LEN(asking); i++) {
        if (!is_ignored(asking[i]))
            sigaddset(set, asking[i]);
    }
}

int signals_init(struct signals *s, bool for_child)
{
    sigset_t set;
    /* Children of a process that ignores SIGCHLD leave no status behind. */
    struct sigaction usual = {.sa_handler = SIG_DFL};
    choose(&set, for_child);
    s->fd = -1;
    if (sigaction(SIGCHLD, &usual, &s->child_before) < 0 || sigprocmask(SIG_BLOCK, &set, &s->before) < 0)
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
    sigaction(SIGCHLD, &s->child_before, NULL);
}

static bool is_stopped(pid_t pid)
{
    struct proc_stat st;
    return proc_stat(pid, &st) == 0 && st.state == 'T';
}

/* Ctrl-C, Ctrl-\ and Ctrl-Z come from the kernel and reach the whole process group, the child included. A
 * hangup goes to the leader of the session alone. */
static bool child_has_it(const struct signalfd_siginfo *info)
{
    bool is_leader = getsid(0) == getpid();
    return info->ssi_code == SI_KERNEL && !(info->ssi_signo == SIGHUP && is_leader);
}

static void pass_on(const struct signalfd_siginfo *info, pid_t child)
{
    /* A shell continues the group as a whole: the child runs again by itself. */
    if (info->ssi_signo == SIGCONT ? is_stopped(child) : !child_has_it(info))
        kill(child, (int)info->ssi_signo);
}

enum signal_event signals_take(const struct signals *s, pid_t child)
{
    struct signalfd_siginfo info;
    if (read(s->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return SIGNAL_NONE;
    if (info.ssi_signo == SIGCHLD)
        return SIGNAL_CHILD;
    if (child <= 0)
        return SIGNAL_STOP;
    pass_on(&info, child);
    return SIGNAL_NONE;
}

static _Noreturn void run_child(char *const argv[], char *const env[], const struct signals *s, int out,
                                int go, int report)
{
    char byte;
    if (read(go, &byte, 1) != 1 || (out != STDOUT_FILENO && dup2(out, STDOUT_FILENO) < 0))
        _exit(127);
    sigaction(SIGCHLD, &s->child_before, NULL);
    sigprocmask(SIG_SETMASK, &s->before, NULL);
    execvpe(argv[0], argv, env ? env : environ);
    int err = errno;
    ssize_t ignored = write(report, &err, sizeof(err));
    (void)ignored;
    _exit(127);
}

int child_prepare(struct child *c, char *const argv[], char *const env[], const struct signals *s, int out)
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
        run_child(argv, env, s, out, go[0], report[1]);
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
    if (n == (ssize_t)sizeof(err)) {
        waitpid(c->pid, NULL, 0);
        return -err;
    }
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

void child_cancel(struct child *c)
{
    close(c->go);
    close(c->report);
    waitpid(c->pid, NULL, 0);
}

static bool is_continued(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WCONTINUED | WNOHANG | WNOWAIT) < 0 || info.si_pid;
}

/* Stopped; or about to be again, after it was held for its native stack, as soon as it gets a CPU. */
static bool becomes_stopped(pid_t pid)
{
    const struct timespec glance = {.tv_nsec = (long)NS_PER_MS};
    for (int i = 0; i < STOP_GLANCES && !is_continued(pid); i++) {
        if (is_stopped(pid))
            return true;
        nanosleep(&glance, NULL);
    }
    return false;
}

/* Since we were told last that it stopped? */
static bool has_stopped_again(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

/* The child stopped: stop by the same signal, so that the shell learns of it, and go on together. SIGSTOP is
 * not followed: whoever sent it meant the child. By the time that we get a CPU again it may have gone on,
 * too, and have been stopped again: that is for the next poll. */
static void follow_stop(pid_t pid, int number)
{
    sigset_t set;
    if ((number != SIGTSTP && number != SIGTTIN && number != SIGTTOU) || !becomes_stopped(pid))
        return;
    sigemptyset(&set);
    sigaddset(&set, number);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &set, NULL); /* here we stand still */
    sigprocmask(SIG_BLOCK, &set, NULL);
    if (is_stopped(pid) && !has_stopped_again(pid))
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
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, end->signal);
        signal(end->signal, SIG_DFL);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        raise(end->signal);
    }
    _exit(end->signal ? 128 + end->signal : end->code);
}
