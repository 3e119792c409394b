/* core: see core.h. */
#include "cli/core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "record/writer.h"
#include "report/text.h"
#include "sample/postmortem.h"

/* Of the 80 bytes of arguments that a core has, each its own word. */
#define COMMAND_MAX 256
/* Files that are told by name. */
#define LOST_MAX 8
/* Of a path so many bytes are shown: each takes up to four when it is escaped. */
#define PATH_SHOWN (TEXT_MAX / 8)

__attribute__((format(printf, 2, 3))) static int fail(const char *path, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "zond stack: %s: ", path);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return EXIT_ZOND;
}

static int explain_open(const char *path, int err)
{
    switch (err) {
    case -ENOEXEC:
        return fail(path,
                    "it is not a core file\n"
                    "  One that is packed must be unpacked before: zstd -d, lz4 -d; of systemd: coredumpctl "
                    "dump -o FILE PID");
    case -EINVAL:
        return fail(path, "it is a program or library, not a core file\n"
                          "  A core comes first, the executable behind it: zond stack CORE EXE");
    case -ENOTSUP:
        return fail(path, "it is the core of another machine; zond reads those of Linux on x86-64");
    case -ENODATA:
        return fail(path, "it is cut or damaged, and has no thread\n"
                          "  Have it written anew: ulimit -c unlimited, and room on the disk; or gcore PID");
    case -E2BIG:
        return fail(path, "it is damaged: it claims to have more than a process can have");
    default:
        return fail(path, "cannot read it: %s", strerror(-err));
    }
}

/* What the core calls a file, fit for a terminal. out has room for TEXT_MAX. */
static const char *clean(const char *path, char *out)
{
    struct report_style style;
    struct buf text;
    report_style_init(&style, stderr, REPORT_COLOR_NEVER, 0);
    buf_init(&text, TEXT_MAX);
    text_clean(&text, path, min_u64(strlen(path), PATH_SHOWN), style.unicode);
    buf_put_u8(&text, 0);
    snprintf(out, TEXT_MAX, "%s", text.error ? "?" : (const char *)text.data);
    buf_release(&text);
    return out;
}

static int explain_exe(const char *path, const char *exe, const struct core *core, int err)
{
    char name[TEXT_MAX];
    if (err == -ESTALE)
        return fail(path,
                    "%s is not the executable of this core: its build-id or beginning is another one\n"
                    "  The core is of %s",
                    exe, clean(core_exe(core), name));
    if (err == -ENODATA)
        return fail(path,
                    "it does not say which of its files is the executable, so %s is of no use: leave it out",
                    exe);
    return fail(path, "cannot read %s: %s", exe, strerror(-err));
}

static void tell_lost(void *ctx, const char *path, int err)
{
    size_t *count = ctx;
    char name[TEXT_MAX];
    if (++*count <= LOST_MAX)
        fprintf(stderr, "  %s: %s\n", clean(path, name),
                err == -ESTALE ? "it was replaced since, or is of another machine" : strerror(-err));
}

static int explain_no_python(const char *path, const struct core *core, const struct postmortem *found)
{
    size_t lost = 0;
    char name[TEXT_MAX];
    if (found->found == PY_OTHER)
        return fail(path, "it is of another Python than CPython (PyPy?), which zond cannot look into");
    if (found->found == PY_UNSUPPORTED)
        return fail(path,
                    "it is of CPython %s, which zond " ZOND_VERSION " does not know; it knows 3.8 to 3.15",
                    found->version);
    fail(path, "no Python could be found in it (%s)",
         core_exe(core)[0] ? clean(core_exe(core), name) : "its executable is not known");
    core_each_lost(core, tell_lost, &lost);
    if (lost)
        fputs("  Where the executable is elsewhere by now: zond stack CORE EXE\n", stderr);
    if (core_cut(core))
        fprintf(stderr,
                "  The core is cut: %llu bytes are missing. Have it written anew: ulimit -c unlimited\n",
                (unsigned long long)core_cut(core));
    else if (found->found == PY_NOT_READY)
        fputs("  There is a CPython that was not initialised, or whose memory the core does not have:\n"
              "  /proc/PID/coredump_filter should be 33, which has the memory that the program wrote\n",
              stderr);
    return EXIT_ZOND;
}

static int look(const struct options *o, struct core *core, int fd, struct rec_locals *locals,
                struct postmortem *found)
{
    struct buf command;
    struct rec_writer *writer = NULL;
    buf_init(&command, COMMAND_MAX);
    core_command(core, &command);
    struct rec_header header = {.version = REC_FORMAT_VERSION,
                                .zond = ZOND_VERSION,
                                .host = "",
                                .command = (const char *)command.data,
                                .command_len = command.len,
                                .started_wall_ns = clock_wall_ns(),
                                .started_ns = clock_ns(),
                                .period_ns = NS_PER_MS,
                                .attached = true,
                                .rank = REC_NO_RANK};
    int copy = dup(fd), err = copy < 0 ? -errno : rec_writer_new(copy, &header, &writer);
    if (!err) {
        err = postmortem_look(core, !o->no_native, locals, writer, found);
        rec_writer_finish(writer, &(struct rec_end){.ended_ns = clock_ns(), .code = REC_NO_CODE});
        int failed = rec_writer_free(writer, NULL);
        err = err ? err : failed;
    }
    buf_release(&command);
    return err;
}

static struct stack_death death_of(const struct core *core)
{
    struct core_end end = core_end(core);
    return (struct stack_death){.of_core = true,
                                .signal = end.signal,
                                .tid = (uint32_t)end.tid,
                                .has_address = end.has_address,
                                .address = end.address};
}

int core_look(const struct options *o, int fd, struct rec_locals *locals, struct stack_death *death)
{
    const char *path = o->words[0], *exe = o->word_count > 1 ? o->words[1] : NULL;
    struct core *core = NULL;
    struct postmortem found;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int err = file < 0 ? -errno : core_new(file, exe, &core);
    if (err)
        return explain_open(path, err);
    proc_raise_descriptors();
    err = exe ? core_check_exe(core) : 0;
    int status = err ? explain_exe(path, exe, core, err) : 0;
    if (!status) {
        err = look(o, core, fd, locals, &found);
        status = err                       ? fail(path, "cannot look at it: %s", strerror(-err))
                 : found.found != PY_READY ? explain_no_python(path, core, &found)
                                           : 0;
    }
    *death = death_of(core);
    core_free(core);
    return status;
}
