/* record: see record.h. Opens the output, starts or finds the process, runs the sampler, and says what went
 * wrong. */
#include "cli/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/rights.h"
#include "os/proc.h"
#include "os/rank.h"
#include "record/writer.h"
#include "sample/sampler.h"

#define DEFAULT_PYTHON "python3"
/* attach: a process without a Python is given so long to start one. */
#define WAIT_FOR_PYTHON_NS (3 * NS_PER_S)

/* One recording while it is made. */
struct session {
    const struct options *o;
    char *path;
    size_t path_size;
    bool made; /* path did not exist before */
    struct signals signals;
    struct buf command; /* for the header: arguments, each ended by NUL */
    struct rec_writer *writer;
    struct sampler_result result;
};

__attribute__((format(printf, 2, 3))) static int fail(int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("zond: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return status;
}

static bool is_script(const char *word)
{
    size_t len = strlen(word);
    return len > 3 && strcmp(word + len - 3, ".py") == 0;
}

/* The argv of the words: with the interpreter in front where one is meant. The caller frees. */
static char **make_argv(const struct options *o)
{
    char **argv = calloc(o->word_count + 3, sizeof(char *));
    size_t n = 0;
    if (!argv)
        return NULL;
    if (o->launch != LAUNCH_WORDS || is_script(o->words[0]))
        argv[n++] = (char *)(o->python ? o->python : DEFAULT_PYTHON);
    if (o->launch != LAUNCH_WORDS)
        argv[n++] = (char *)(o->launch == LAUNCH_MODULE ? "-m" : "-c");
    memcpy(argv + n, o->words, o->word_count * sizeof(char *));
    return argv;
}

/* What the recording is named after: the script, module or command without directory and ".py". */
static void name_after(const struct options *o, char *out, size_t size)
{
    const char *word = o->launch == LAUNCH_CODE ? "python" : o->words[0];
    const char *slash = strrchr(word, '/');
    snprintf(out, size, "%.100s", slash && slash[1] ? slash + 1 : word);
    if (is_script(out))
        out[strlen(out) - 3] = 0;
}

/* Opens the output as it is: what is there stays until begin_output. Signals are as they were found, as a
 * pipe opens only when someone reads it, and Ctrl-C must end that wait. */
static int open_as_it_is(struct session *s)
{
    sigset_t taken;
    sigprocmask(SIG_SETMASK, &s->signals.before, &taken);
    int fd = open(s->path, O_WRONLY | O_CLOEXEC);
    s->made = fd < 0 && errno == ENOENT;
    if (s->made)
        fd = open(s->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    int err = errno;
    sigprocmask(SIG_SETMASK, &taken, NULL);
    errno = err;
    return fd;
}

/* Nobody else may be writing to the output: two recordings in one file are none. */
static int open_output(struct session *s, const char *name, pid_t pid, int *fd)
{
    const char *given = s->o->output;
    int n = given ? snprintf(s->path, s->path_size, "%s", given)
                  : snprintf(s->path, s->path_size, "%s-%d.zond", name, (int)pid);
    if (n >= (int)s->path_size)
        return fail(EXIT_ZOND, "the path of the output is too long");
    *fd = open_as_it_is(s);
    if (*fd < 0)
        return fail(EXIT_ZOND, "cannot write %s: %s; choose another place with -o FILE", s->path,
                    strerror(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        close(*fd);
        return fail(EXIT_ZOND, "another zond is writing %s; choose another name with -o FILE", s->path);
    }
    return 0;
}

/* Nothing will be recorded: leaves no trace, and what was there before as it was. */
static void drop_output(const struct session *s, int fd)
{
    close(fd);
    if (s->made)
        unlink(s->path);
}

static uint64_t period_of(const struct options *o)
{
    return o->rate_hz > 0 ? (uint64_t)((double)NS_PER_S / o->rate_hz) : 0;
}

/* Begins the recording in place of what was in the output. Takes fd. attached: the process, or 0 for our own.
 */
static int begin_output(struct session *s, int fd, pid_t attached)
{
    /* A pipe or device cannot be cut, and need not be. */
    if (ftruncate(fd, 0) < 0 && errno != EINVAL) {
        int err = errno;
        close(fd);
        return fail(EXIT_ZOND, "cannot write %s: %s", s->path, strerror(err));
    }
    char host[HOST_NAME_MAX + 1] = "";
    gethostname(host, sizeof(host) - 1);
    struct rec_header header = {.version = REC_FORMAT_VERSION,
                                .zond = ZOND_VERSION,
                                .host = host,
                                .command = (const char *)s->command.data,
                                .command_len = s->command.len,
                                .started_wall_ns = clock_wall_ns(),
                                .started_ns = clock_ns(),
                                .period_ns = period_of(s->o),
                                .attached = attached != 0,
                                .rank = rank_of(attached)};
    int err = rec_writer_new(fd, &header, &s->writer);
    return err ? fail(EXIT_ZOND, "cannot begin the recording: %s", strerror(-err)) : 0;
}

static int close_writer(struct session *s)
{
    const struct child_end *end = &s->result.end;
    struct rec_end last = {.ended_ns = s->result.ended_ns,
                           .code = end->code >= 0 ? end->code : REC_NO_CODE,
                           .signal = end->signal};
    int err = rec_writer_free(s->writer, &last);
    if (err)
        fail(0, "the recording is incomplete: writing %s stopped: %s", s->path, strerror(-err));
    return err;
}

static struct sampler_options sampler_options_of(const struct options *o, bool own_child)
{
    return (struct sampler_options){.period_ns = period_of(o),
                                    .duration_ns = (uint64_t)(o->duration_s * (double)NS_PER_S),
                                    .own_child = own_child};
}

/* The recording is over but the program is not (--duration): it goes on, and zond waits to end as it does. */
static void wait_for_child(struct session *s, pid_t pid)
{
    struct pollfd fd = {.fd = s->signals.fd, .events = POLLIN};
    while (s->result.end.code < 0 && !s->result.end.signal) {
        poll(&fd, 1, -1);
        signals_take(&s->signals, pid);
        child_poll(pid, &s->result.end);
    }
}

static int cannot_start(const char *command, int err)
{
    if (err == -ENOENT)
        return fail(EXIT_NOT_FOUND, "cannot run %s: there is no such command or file", command);
    return fail(EXIT_CANNOT_EXECUTE, "cannot run %s: %s", command, strerror(-err));
}

/* Notes for people when the recording holds no Python. */
static void explain_no_python(const struct session *s, pid_t pid)
{
    const struct sampler_result *r = &s->result;
    if (r->pythons || s->o->quiet)
        return;
    if (r->found == PY_OTHER)
        fail(0, "this is another Python than CPython (PyPy?): zond cannot see its functions");
    else if (r->found == PY_UNSUPPORTED)
        fail(0, "this is CPython %s, which zond " ZOND_VERSION " does not know; it knows 3.8 to 3.15",
             r->version);
    else if (r->found == PY_DENIED)
        rights_explain(stderr, pid);
    else
        fail(0, "no Python was seen in this command");
}

/* The command runs. */
static void record_running(struct session *s, int fd, pid_t pid)
{
    s->result.end.code = -1;
    if (begin_output(s, fd, 0) == 0) {
        struct sampler_options options = sampler_options_of(s->o, true);
        int err = sampler_run(pid, &s->signals, s->writer, &options, &s->result);
        close_writer(s);
        if (err)
            fail(0, "sampling ended early: %s", strerror(-err));
    }
    wait_for_child(s, pid);
    explain_no_python(s, pid);
}

static int record_child(struct session *s, struct child *child)
{
    int fd = -1;
    char name[128];
    name_after(s->o, name, sizeof(name));
    int status = open_output(s, name, child->pid, &fd);
    if (status) {
        child_cancel(child);
        return status;
    }
    int err = child_go(child);
    if (err) {
        drop_output(s, fd);
        return cannot_start((const char *)s->command.data, err);
    }
    proc_raise_descriptors();
    record_running(s, fd, child->pid);
    return 0;
}

static void session_release(struct session *s)
{
    signals_release(&s->signals);
    buf_release(&s->command);
}

int record_command(const struct options *o, char *path, size_t size, struct child_end *end)
{
    struct session s = {.o = o, .path = path, .path_size = size, .signals = {.fd = -1}};
    struct child child = {.pid = -1};
    char **argv = make_argv(o);
    if (!argv)
        return fail(EXIT_ZOND, "out of memory");
    buf_init(&s.command, 1u << 20);
    for (char **word = argv; *word; word++)
        buf_put(&s.command, *word, strlen(*word) + 1);
    int err = signals_init(&s.signals, true);
    if (!err)
        err = child_prepare(&child, argv, &s.signals);
    int status = err ? fail(EXIT_ZOND, "cannot start: %s", strerror(-err)) : record_child(&s, &child);
    *end = s.result.end;
    session_release(&s);
    free(argv);
    return status;
}

int cli_record(const struct options *o, char *path, size_t size, int *status)
{
    struct child_end end = {.code = -1};
    int failed = record_command(o, path, size, &end);
    *status = failed ? failed : end.signal ? 128 + end.signal : end.code;
    return failed;
}

/* Can this process be recorded at all? Says so if not. */
static int check_process(pid_t pid)
{
    struct py_finder *finder;
    struct py_runtime runtime;
    struct proc_stat st;
    pid_t leader;
    if (proc_stat(pid, &st) != 0 || proc_tgid(pid, &leader) != 0)
        return fail(EXIT_ZOND, "there is no process %d", (int)pid);
    if (leader != pid)
        return fail(EXIT_ZOND, "%d is a thread of process %d: attach to that", (int)pid, (int)leader);
    if (st.state == 'Z')
        return fail(EXIT_ZOND, "process %d has ended: it is a zombie that its parent has not waited for",
                    (int)pid);
    if (py_finder_new(&finder) != 0)
        return fail(EXIT_ZOND, "out of memory");
    enum py_found found = py_find(finder, pid, &runtime);
    py_finder_free(finder);
    if (found == PY_DENIED) {
        rights_explain(stderr, pid);
        return EXIT_ZOND;
    }
    if (found == PY_OTHER)
        return fail(EXIT_ZOND,
                    "process %d runs another Python than CPython (PyPy?), which zond cannot look into",
                    (int)pid);
    if (found == PY_UNSUPPORTED)
        return fail(EXIT_ZOND,
                    "process %d runs CPython %s, which zond " ZOND_VERSION " does not know; it knows "
                    "3.8 to 3.15",
                    (int)pid, runtime.version);
    return 0;
}

static int record_attached(struct session *s, pid_t pid)
{
    int fd = -1;
    char name[128] = "process";
    proc_comm(pid, pid, name, sizeof(name));
    for (char *c = name; *c; c++)
        *c = *c == '/' ? '-' : *c;
    proc_command(pid, &s->command);
    int status = open_output(s, name, pid, &fd);
    if (!status)
        status = begin_output(s, fd, pid);
    if (status)
        return status;
    proc_raise_descriptors();
    struct sampler_options options = sampler_options_of(s->o, false);
    options.give_up_ns = WAIT_FOR_PYTHON_NS;
    int err = sampler_run(pid, &s->signals, s->writer, &options, &s->result);
    close_writer(s);
    if (err)
        return fail(EXIT_ZOND, "cannot look at process %d: %s", (int)pid, strerror(-err));
    if (!s->result.pythons && s->made)
        unlink(s->path);
    if (!s->result.pythons)
        return fail(EXIT_ZOND, "process %d (%s) runs no Python, and started none while zond waited", (int)pid,
                    name);
    return 0;
}

int record_process(const struct options *o, pid_t pid, char *path, size_t size)
{
    struct session s = {.o = o, .path = path, .path_size = size, .signals = {.fd = -1}};
    int status = check_process(pid);
    if (status)
        return status;
    buf_init(&s.command, 1u << 20);
    int err = signals_init(&s.signals, false);
    status = err ? fail(EXIT_ZOND, "cannot start: %s", strerror(-err)) : record_attached(&s, pid);
    session_release(&s);
    return status;
}

bool record_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

void record_say_where(const char *path)
{
    fprintf(stderr, "zond: recorded in %s\n", path);
}
