/* What test_held.py loads into Python programs: calls that wait, and signals that are counted. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Calls ------------------------------------------------------------------------------------------------ */

/* How long a call waits, but for those that know milliseconds or the kernel's ticks only. */
#define WAIT_NS 300000
/* Between two calls of a thread, up to so much is computed. */
#define WORK_NS 60000

static const struct timespec wait_ts = {.tv_nsec = WAIT_NS};
static const struct timeval wait_tv = {.tv_usec = WAIT_NS / 1000};
static _Thread_local int fd = -1;
static _Thread_local char buffer[64];
static int queue = -1, semaphores = -1;

static long now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static struct timespec soon(clockid_t clock)
{
    long ns = now_ns(clock) + WAIT_NS;
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

/* 0 when the call ended as it ought to: `got` is 0 or more, or errno is `end`. Else errno. */
static int ended(long got, int end)
{
    return got >= 0 || errno == end ? 0 : errno;
}

static void limit(int s)
{
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &wait_tv, sizeof(wait_tv));
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &wait_tv, sizeof(wait_tv));
}

static int bound(int type)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    int s = socket(AF_INET, type, 0);
    bind(s, (struct sockaddr *)&any, sizeof(any));
    limit(s);
    return s;
}

static int one_of_pair(void)
{
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    limit(pair[0]);
    return pair[0];
}

static int clock_fd(void)
{
    int t = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec each = {wait_ts, wait_ts};
    timerfd_settime(t, 0, &each, NULL);
    return t;
}

static int call_read(void)
{
    fd = fd < 0 ? clock_fd() : fd;
    return ended(read(fd, buffer, 8), 0);
}

static int call_nanosleep(void)
{
    return ended(nanosleep(&wait_ts, NULL), 0);
}

static int call_clock_nanosleep(void)
{
    struct timespec until = soon(CLOCK_MONOTONIC);
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static int call_poll(void)
{
    return ended(poll(NULL, 0, 1), 0);
}

static int call_ppoll(void)
{
    sigset_t all;
    sigfillset(&all);
    return ended(ppoll(NULL, 0, &wait_ts, &all), 0);
}

static int call_select(void)
{
    struct timeval t = wait_tv;
    return ended(select(0, NULL, NULL, NULL, &t), 0);
}

static int call_epoll_wait(void)
{
    struct epoll_event event;
    fd = fd < 0 ? epoll_create1(0) : fd;
    return ended(epoll_wait(fd, &event, 1, 1), 0);
}

static int call_epoll_pwait(void)
{
    struct epoll_event event;
    sigset_t all;
    sigfillset(&all);
    fd = fd < 0 ? epoll_create1(0) : fd;
    return ended(epoll_pwait(fd, &event, 1, 1, &all), 0);
}

static int call_sem_timedwait(void)
{
    static sem_t never;
    struct timespec until = soon(CLOCK_REALTIME);
    return ended(sem_timedwait(&never, &until), ETIMEDOUT);
}

static int call_futex(void)
{
    int word = 0;
    return ended(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &wait_ts, NULL, 0), ETIMEDOUT);
}

static int call_accept(void)
{
    if (fd < 0)
        listen(fd = bound(SOCK_STREAM), 1);
    return ended(accept(fd, NULL, NULL), EAGAIN);
}

static int call_recv(void)
{
    fd = fd < 0 ? one_of_pair() : fd;
    return ended(recv(fd, buffer, 1, 0), EAGAIN);
}

static int call_recv_udp(void)
{
    fd = fd < 0 ? bound(SOCK_DGRAM) : fd;
    return ended(recv(fd, buffer, 1, 0), EAGAIN);
}

static int call_send(void)
{
    if (fd < 0) {
        fd = one_of_pair();
        while (send(fd, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
            ;
    }
    return ended(send(fd, buffer, sizeof(buffer), 0), EAGAIN);
}

/* To a socket that nobody accepts from, and whose queue is full. */
static int call_connect(void)
{
    static struct sockaddr_un name;
    static socklen_t len = sizeof(name);
    if (fd < 0) {
        sa_family_t family = AF_UNIX;
        int server = socket(AF_UNIX, SOCK_STREAM, 0);
        bind(server, (struct sockaddr *)&family, sizeof(family)); /* the kernel chooses a name */
        getsockname(server, (struct sockaddr *)&name, &len);
        listen(server, 0);
        connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&name, len);
        limit(fd = socket(AF_UNIX, SOCK_STREAM, 0));
    }
    return ended(connect(fd, (struct sockaddr *)&name, len), EAGAIN);
}

static int call_semtimedop(void)
{
    struct sembuf down = {.sem_op = -1};
    return ended(semtimedop(semaphores, &down, 1, &wait_ts), EAGAIN);
}

static int call_sigtimedwait(void)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    return ended(sigtimedwait(&blocked, NULL, &wait_ts), EAGAIN);
}

static int call_io_getevents(void)
{
    static _Thread_local aio_context_t context;
    struct io_event event;
    struct timespec t = wait_ts;
    if (!context && syscall(SYS_io_setup, 1, &context) < 0)
        return errno;
    return ended(syscall(SYS_io_getevents, context, 1, 1, &event, &t), 0);
}

static int call_waitpid(void)
{
    int status;
    pid_t child = fork();
    if (!child) {
        nanosleep(&wait_ts, NULL);
        _exit(7);
    }
    return waitpid(child, &status, 0) != child             ? errno
           : WIFEXITED(status) && WEXITSTATUS(status) == 7 ? 0
                                                           : -1;
}

static int call_mq_timedreceive(void)
{
    struct timespec until = soon(CLOCK_REALTIME);
    struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 8};
    if (fd < 0) {
        char name[32];
        snprintf(name, sizeof(name), "/calls-%d", (int)getpid());
        fd = mq_open(name, O_RDWR | O_CREAT, 0600, &attr);
        mq_unlink(name);
    }
    return ended(mq_timedreceive(fd, buffer, 8, NULL, &until), ETIMEDOUT);
}

/* Two threads contend for the lock of a file. */
static int call_flock(void)
{
    fd = fd < 0 ? open("/proc/self/exe", O_RDONLY) : fd;
    int err = ended(flock(fd, LOCK_EX), 0);
    nanosleep(&wait_ts, NULL);
    return err ? err : ended(flock(fd, LOCK_UN), 0);
}

/* One thread sends what another receives. */
static int call_msgrcv(void)
{
    return ended(msgrcv(queue, buffer, 8, 0, 0), 0);
}

static int call_msgsnd(void)
{
    long message[2] = {1};
    nanosleep(&wait_ts, NULL);
    return ended(msgsnd(queue, message, 8, 0), 0);
}

/* least_ns: no call ends sooner; 0: it ends when another thread wants. */
static const struct call {
    const char *name;
    int (*call)(void);
    long least_ns;
} calls[] = {
    {"read", call_read, 0},
    {"nanosleep", call_nanosleep, WAIT_NS},
    {"clock_nanosleep", call_clock_nanosleep, WAIT_NS},
    {"poll", call_poll, 1000000},
    {"ppoll", call_ppoll, WAIT_NS},
    {"select", call_select, WAIT_NS},
    {"epoll_wait", call_epoll_wait, 1000000},
    {"epoll_pwait", call_epoll_pwait, 1000000},
    {"sem_timedwait", call_sem_timedwait, 0},
    {"futex", call_futex, WAIT_NS},
    {"accept", call_accept, WAIT_NS},
    {"recv", call_recv, WAIT_NS},
    {"recv UDP", call_recv_udp, WAIT_NS},
    {"send", call_send, WAIT_NS},
    {"connect", call_connect, WAIT_NS},
    {"semtimedop", call_semtimedop, WAIT_NS},
    {"sigtimedwait", call_sigtimedwait, WAIT_NS},
    {"io_getevents", call_io_getevents, WAIT_NS},
    {"mq_timedreceive", call_mq_timedreceive, 0},
    {"waitpid", call_waitpid, 0},
    {"waitpid", call_waitpid, 0},
    {"flock", call_flock, 0},
    {"flock", call_flock, 0},
    {"msgrcv", call_msgrcv, 0},
    {"msgsnd", call_msgsnd, 0},
};

/* Made once, before the threads. Returns how many calls there are. */
int calls_begin(void)
{
    queue = msgget(IPC_PRIVATE, 0600);
    semaphores = semget(IPC_PRIVATE, 1, 0600);
    return sizeof(calls) / sizeof(calls[0]);
}

void calls_end(void)
{
    msgctl(queue, IPC_RMID, NULL);
    semctl(semaphores, 0, IPC_RMID);
}

const char *calls_name(int i)
{
    return calls[i].name;
}

/* Makes a call again and again. out: how often, how often it ended with EINTR, with something else that it
 * should not, or too soon. */
void calls_make(int i, double seconds, long out[4])
{
    unsigned random = (unsigned)i + 1;
    long end = now_ns(CLOCK_MONOTONIC) + (long)(seconds * 1e9), begun = now_ns(CLOCK_MONOTONIC);
    for (; begun < end; begun = now_ns(CLOCK_MONOTONIC)) {
        int err = calls[i].call();
        long lasted = now_ns(CLOCK_MONOTONIC) - begun;
        out[0]++;
        out[1] += err == EINTR;
        out[2] += err && err != EINTR;
        out[3] += !err && lasted < calls[i].least_ns;
        random = random * 1103515245 + 12345;
        long until = begun + lasted + (random >> 16) % WORK_NS;
        while (now_ns(CLOCK_MONOTONIC) < until)
            ;
    }
}

/* Signals ---------------------------------------------------------------------------------------------- */

/* Queued signals carry their number: each stream's must come one by one, in order. So many of it are on their
 * way at most: the kernel walks through all that are. arrived: shared with children. */
#define STREAMS 2
#define IN_FLIGHT_MAX 256
static atomic_long *arrived, out_of_order, expirations, ends_of_children;

static void on_queued(int number, siginfo_t *info, void *context)
{
    atomic_long *count = &arrived[number - SIGRTMIN];
    (void)context;
    out_of_order += info->si_value.sival_int != *count;
    ++*count;
}

static void on_timer(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    expirations += 1 + info->si_overrun;
}

static void on_child(int number)
{
    (void)number;
    ends_of_children++;
}

/* Handlers run in the thread that calls this alone: others are to block the signals. */
void signals_begin(void)
{
    struct sigaction queued = {.sa_sigaction = on_queued, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigaction timer = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigaction child = {.sa_handler = on_child, .sa_flags = SA_RESTART};
    arrived =
        mmap(NULL, STREAMS * sizeof(*arrived), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < STREAMS; i++)
        sigaction(SIGRTMIN + i, &queued, NULL);
    sigaction(SIGALRM, &timer, NULL);
    sigaction(SIGCHLD, &child, NULL);
}

/* Sends so many. */
void signals_send(int pid, int stream, int count)
{
    for (int i = 0; i < count; i++) {
        while (i - arrived[stream] >= IN_FLIGHT_MAX)
            sched_yield();
        sigqueue(pid, SIGRTMIN + stream, (union sigval){.sival_int = i});
    }
}

long signals_arrived(int stream)
{
    return arrived[stream];
}

long signals_out_of_order(void)
{
    return out_of_order;
}

/* Ends of children, one at a time: each is waited for, by its signal. */
long signals_of_children(int count)
{
    for (long i = 1; i <= count; i++) {
        pid_t child = fork();
        if (!child)
            _exit(0);
        while (ends_of_children < i)
            sched_yield();
        waitpid(child, NULL, 0);
    }
    return ends_of_children;
}

/* A timer of so many periods. How many of its expirations came too much (> 0) or are missing (< 0). */
long signals_of_timer(long count, long period_ns)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec each = {.it_interval.tv_nsec = period_ns, .it_value.tv_nsec = period_ns};
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    long begun = now_ns(CLOCK_MONOTONIC);
    timer_settime(timer, 0, &each, NULL);
    while (expirations < count)
        sched_yield();
    long least = (now_ns(CLOCK_MONOTONIC) - begun) / period_ns - 1;
    long seen = expirations;
    long most = (now_ns(CLOCK_MONOTONIC) - begun) / period_ns;
    timer_delete(timer);
    return seen < least ? seen - least : seen > most ? seen - most : 0;
}
