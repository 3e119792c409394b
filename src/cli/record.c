/* record: see record.h. Starts or finds the process, runs the sampler, begins another piece when it is time,
 * and says what went wrong.
 *
 * Standard output has one owner. It is the program's, unless zond is asked for data there: the recording, the
 * JSON, or the view that follows the recording. Then what the program prints goes to standard error.
 */
#include "cli/record.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/agent.h"
#include "cli/rights.h"
#include "feed/feed.h"
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
    struct place *place;
    struct signals signals;
    struct rec_header header;
    struct buf command;           /* for the header: arguments, each ended by NUL */
    char host[HOST_NAME_MAX + 1]; /* the same */
    struct rec_writer *writer;
    struct feed *feed; /* NULL: nothing is recorded from inside of the program */
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

/* What the recording is called unless -o says: NAME-PID.zond. */
static int open_place(struct session *s, const char *name, pid_t pid, int *fd)
{
    char path[256];
    snprintf(path, sizeof(path), "%.128s-%d.zond", name, (int)pid);
    return place_open(s->place, s->o, path, &s->signals.before, fd);
}

/* Of a rate; 0 of 0. */
static uint64_t period_of(double hz)
{
    return hz > 0 ? (uint64_t)((double)NS_PER_S / hz) : 0;
}

/* Writes the header. Takes fd. attached: the process, or 0 for our own. */
static int begin_recording(struct session *s, int fd, pid_t attached)
{
    gethostname(s->host, sizeof(s->host) - 1);
    s->header = (struct rec_header){.version = REC_FORMAT_VERSION,
                                    .zond = ZOND_VERSION,
                                    .host = s->host,
                                    .command = (const char *)s->command.data,
                                    .command_len = s->command.len,
                                    .started_wall_ns = clock_wall_ns(),
                                    .started_ns = clock_ns(),
                                    .period_ns = period_of(s->o->rate_hz),
                                    .attached = attached != 0,
                                    .rank = rank_of(attached)};
    return rec_writer_new(fd, &s->header, &s->writer);
}

/* Begins the recording in place of what was there. Takes fd. attached: as above. */
static int begin_output(struct session *s, int fd, pid_t attached)
{
    int err = place_clear(s->place, fd);
    if (err) {
        close(fd);
        return fail(EXIT_ZOND, "cannot write %s: %s", s->place->path, strerror(-err));
    }
    err = begin_recording(s, fd, attached);
    return err ? fail(EXIT_ZOND, "cannot begin the recording: %s", strerror(-err)) : 0;
}

static void rotate(struct session *s, uint64_t now_ns)
{
    int fd;
    if (!place_next(s->place, now_ns, &fd))
        return;
    s->header.started_wall_ns = clock_wall_ns() - (clock_ns() - now_ns);
    s->header.started_ns = now_ns;
    rec_writer_rotate(s->writer, fd, &s->header);
}

/* The sampler's samples are with the writer. Where they cannot be written there is no use in more. */
static bool on_flush(void *ctx, uint64_t now_ns)
{
    struct session *s = ctx;
    if (rec_writer_error(s->writer))
        return false;
    if (s->feed)
        feed_write(s->feed, s->writer, false);
    if (place_is_due(s->place, now_ns, rec_writer_written(s->writer)))
        rotate(s, now_ns);
    return true;
}

static bool on_look(void *ctx, uint64_t now_ns)
{
    (void)ctx;
    (void)now_ns;
    return true;
}

static void finish_writer(struct session *s)
{
    const struct child_end *end = &s->result.end;
    rec_writer_finish(s->writer, &(struct rec_end){.ended_ns = s->result.ended_ns,
                                                   .code = end->code >= 0 ? end->code : REC_NO_CODE,
                                                   .signal = end->signal});
}

/* The program is over, or none of ours. A pipe may stand still for ever: then signals end zond as usual. */
static int close_writer(struct session *s)
{
    if (!s->place->regular)
        signals_release(&s->signals);
    int err = rec_writer_free(s->writer, NULL);
    if (err)
        fail(0, "the recording is incomplete: writing %s stopped: %s", s->place->path, strerror(-err));
    return err;
}

static int run_sampler(struct session *s, pid_t pid, bool own_child)
{
    struct sampler_options options = {.period_ns = period_of(s->o->rate_hz),
                                      .native_ns = period_of(s->o->native_rate_hz),
                                      .duration_ns = (uint64_t)(s->o->duration_s * (double)NS_PER_S),
                                      .give_up_ns = own_child ? 0 : WAIT_FOR_PYTHON_NS,
                                      .own_child = own_child,
                                      .flushed = on_flush,
                                      .ctx = s};
    int err = sampler_run(pid, &s->signals, s->writer, &options, &s->result);
    if (s->feed) {
        feed_stop(s->feed);
        feed_write(s->feed, s->writer, true);
    }
    finish_writer(s);
    return err;
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
        int err = run_sampler(s, pid, true);
        if (err)
            fail(0, "sampling ended early: %s", strerror(-err));
    }
    wait_for_child(s, pid);
    close_writer(s);
    explain_no_python(s, pid);
}

static int record_child(struct session *s, struct child *child)
{
    int fd = -1;
    char name[128];
    name_after(s->o, name, sizeof(name));
    int status = open_place(s, name, child->pid, &fd);
    if (status) {
        child_cancel(child);
        return status;
    }
    int err = s->feed ? feed_start(s->feed) : 0;
    if (err) {
        place_drop(s->place, fd);
        child_cancel(child);
        return fail(EXIT_ZOND, "cannot start: %s", strerror(-err));
    }
    err = child_go(child);
    if (err) {
        place_drop(s->place, fd);
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
    feed_free(s->feed);
}

/* What is to be recorded inside of the command: *env is for it, and the caller frees it. */
static int prepare_feed(struct session *s, const char *command, char ***env)
{
    enum verb_bit verb = s->o->verb->bit;
    int err = verb == VERB_MEM || verb == VERB_GC ? feed_new(verb == VERB_MEM, &s->feed) : 0;
    if (!err && s->feed && !agent_is_refused(command))
        err = agent_environment(feed_variable(s->feed), env);
    return err;
}

/* Where the command's standard output goes: see the top of this file. */
static int output_of_child(const struct options *o)
{
    bool ours = o->verb->bit != VERB_RUN || o->json || place_is_stdout(o);
    return ours ? STDERR_FILENO : STDOUT_FILENO;
}

int record_command(const struct options *o, struct place *place, struct child_end *end)
{
    struct session s = {.o = o, .place = place, .signals = {.fd = -1}};
    struct child child = {.pid = -1};
    int status = place_check(o, o->verb->bit != VERB_RUN);
    if (status)
        return status;
    char **argv = make_argv(o), **env = NULL;
    if (!argv)
        return fail(EXIT_ZOND, "out of memory");
    buf_init(&s.command, 1u << 20);
    for (char **word = argv; *word; word++)
        buf_put(&s.command, *word, strlen(*word) + 1);
    int err = signals_init(&s.signals, true);
    if (!err)
        err = prepare_feed(&s, argv[0], &env);
    if (!err)
        err = child_prepare(&child, argv, env, &s.signals, output_of_child(o));
    status = err ? fail(EXIT_ZOND, "cannot start: %s", strerror(-err)) : record_child(&s, &child);
    *end = s.result.end;
    session_release(&s);
    free(argv);
    agent_environment_free(env);
    return status;
}

int cli_record(const struct options *o, char *path, size_t size, int *status)
{
    struct child_end end = {.code = -1};
    struct place place = {0};
    int failed = record_command(o, &place, &end);
    snprintf(path, size, "%s", place.path);
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
    enum py_found found = py_find(finder, &(struct source){.pid = pid}, &runtime);
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
    int status = open_place(s, name, pid, &fd);
    if (!status)
        status = begin_output(s, fd, pid);
    if (status)
        return status;
    proc_raise_descriptors();
    int err = run_sampler(s, pid, false);
    close_writer(s);
    if (err)
        return fail(EXIT_ZOND, "cannot look at process %d: %s", (int)pid, strerror(-err));
    if (!s->result.pythons && s->place->made)
        unlink(s->place->path);
    if (!s->result.pythons)
        return fail(EXIT_ZOND, "process %d (%s) runs no Python, and started none while zond waited", (int)pid,
                    name);
    return 0;
}

int record_process(const struct options *o, pid_t pid, struct place *place)
{
    struct session s = {.o = o, .place = place, .signals = {.fd = -1}};
    int status = place_check(o, false);
    if (!status)
        status = check_process(pid);
    if (status)
        return status;
    buf_init(&s.command, 1u << 20);
    int err = signals_init(&s.signals, false);
    status = err ? fail(EXIT_ZOND, "cannot start: %s", strerror(-err)) : record_attached(&s, pid);
    session_release(&s);
    return status;
}

int record_look(const struct options *o, pid_t pid, int fd, struct rec_locals *locals)
{
    struct session s = {.o = o, .signals = {.fd = -1}};
    struct sampler_options options = {.period_ns = NS_PER_MS,
                                      .looks = 1,
                                      .native_ns = o->no_native ? 0 : NS_PER_MS,
                                      .locals = locals,
                                      .alone = !o->tree,
                                      .flushed = on_look,
                                      .ctx = &s};
    int status = check_process(pid), copy = status ? -1 : dup(fd);
    if (status)
        return status;
    buf_init(&s.command, 1u << 20);
    proc_command(pid, &s.command);
    proc_raise_descriptors();
    int err = copy < 0 ? -errno : signals_init(&s.signals, false);
    if (!err)
        err = begin_recording(&s, copy, pid);
    if (!err) {
        err = sampler_run(pid, &s.signals, s.writer, &options, &s.result);
        finish_writer(&s);
        int failed = rec_writer_free(s.writer, NULL);
        err = err ? err : failed;
    }
    session_release(&s);
    if (err)
        return fail(EXIT_ZOND, "cannot look at process %d: %s", (int)pid, strerror(-err));
    return s.result.pythons ? 0 : fail(EXIT_ZOND, "process %d runs no Python", (int)pid);
}

void record_say_where(const char *path)
{
    fprintf(stderr, "zond: recorded in %s\n", path);
}
