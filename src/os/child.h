/* child: starting a command as if zond were not there, and passing signals on to it.
 *
 * The command runs in zond's own process group with the signal mask and dispositions that zond found, so
 * that the terminal's signals (Ctrl-C, Ctrl-Z) and job control reach it as they would without zond.
 */
#ifndef ZOND_OS_CHILD_H
#define ZOND_OS_CHILD_H

#include <signal.h>
#include <sys/types.h>

#include "base/base.h"

/* Signals arrive in a descriptor from signals_init on. before, child_before: the mask and the disposition of
 * SIGCHLD that were found; a command gets them back. */
struct signals {
    int fd;
    sigset_t before;
    struct sigaction child_before;
};

/* for_child: takes everything that can be passed on to a command; otherwise what asks zond to end, unless
 * that was ignored when zond began (nohup). On error, release it as well. */
int signals_init(struct signals *s, bool for_child);
void signals_release(struct signals *s);

enum signal_event {
    SIGNAL_NONE,
    SIGNAL_CHILD, /* a child changed its state: look with child_poll */
    SIGNAL_STOP,  /* someone asks zond itself to end */
};

/* Takes one pending signal. With `child` > 0 it is passed on where the child did not get it by itself, and
 * SIGNAL_STOP is never returned: the child decides when it is over. */
enum signal_event signals_take(const struct signals *s, pid_t child);

/* A command that is made but waits for its start, so that its PID is known before. */
struct child {
    pid_t pid;
    int go, report; /* pipes */
};

/* Forks; the child waits. argv must live until child_go or child_cancel. out: a descriptor that becomes its
 * standard output, or STDOUT_FILENO. env: its environment, or NULL for our own; it must live as argv does. */
int child_prepare(struct child *c, char *const argv[], char *const env[], const struct signals *s, int out);
/* Lets it exec argv (PATH is searched). 0, or the negative errno of exec: the child is gone then. After 0,
 * SIGPIPE is ignored: whoever reads our messages may go, the exit status stays the child's. */
int child_go(struct child *c);
/* Ends it before it began. */
void child_cancel(struct child *c);

/* How a child ended: exactly one of code >= 0 and signal > 0. */
struct child_end {
    int code;
    int signal;
};

/* 1 and *end when the child has ended, 0 when it runs. Where the terminal's signals stopped it, zond stops as
 * well, so that the shell learns of it, until both are continued. */
int child_poll(pid_t pid, struct child_end *end);

/* Ends this process as the child ended: by the same signal or with the same code. */
_Noreturn void child_exit_as(const struct child_end *end);

#endif
