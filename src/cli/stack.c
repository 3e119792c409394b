/* zond stack: one look at every thread of a process, or of its core, Python and native frames together.
 *
 * The look is a recording like any other, of one tick, in a file without a name. Local variables stand beside
 * it: they are no part of a recording.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cli/core.h"
#include "cli/record.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "report/stack.h"

static int show(const struct options *o, int fd, const struct stack_beside *beside)
{
    struct rec_reader *r = NULL;
    char here[PATH_MAX];
    struct report_style style;
    int rc = lseek(fd, 0, SEEK_SET) < 0 ? -errno : rec_reader_new(fd, &r);
    report_style_init(&style, stdout, (enum report_color)o->color, o->width);
    style.here = getcwd(here, sizeof(here));
    if (!rc)
        rc = o->json ? report_stack_json(stdout, r, beside, &style) : report_stack(stdout, r, beside, &style);
    rec_reader_free(r);
    if (rc)
        fprintf(stderr, "zond stack: cannot show it: %s\n", strerror(-rc));
    return rc ? EXIT_ZOND : 0;
}

/* pid: 0: the words of o stand for a core. */
static int look_and_show(const struct options *o, pid_t pid, struct stack_history *before)
{
    struct rec_locals taken, *locals = o->locals ? &taken : NULL;
    struct stack_beside beside = {.locals = locals, .before = before};
    int fd = memfd_create("zond stack", MFD_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "zond stack: no memory for it: %s\n", strerror(errno));
        return EXIT_ZOND;
    }
    rec_locals_init(&taken);
    int status = pid ? record_look(o, pid, fd, locals) : core_look(o, fd, locals, &beside.death);
    if (!status)
        status = show(o, fd, &beside);
    rec_locals_release(&taken);
    close(fd);
    return status;
}

/* Looks again and again, from the beginning of one to that of the next. */
static int repeat(const struct options *o, pid_t pid, struct stack_history *before)
{
    uint64_t every_ns = (uint64_t)(o->every_s * (double)NS_PER_S), begun_ns = clock_ns();
    int status = 0;
    for (int i = 0; !status && i < o->repeat; i++) {
        uint64_t due_ns = begun_ns + (uint64_t)i * every_ns;
        struct timespec due = {.tv_sec = (time_t)(due_ns / NS_PER_S), .tv_nsec = (long)(due_ns % NS_PER_S)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
            ;
        if (i && !o->json)
            printf("\nAfter %.1f s\n\n", (double)(clock_ns() - begun_ns) / (double)NS_PER_S);
        status = look_and_show(o, pid, before);
        fflush(stdout);
    }
    return status;
}

static bool is_number(const char *word)
{
    return word[0] && !word[strspn(word, "0123456789")];
}

static int stack_core(const struct options *o)
{
    if (o->word_count > 2)
        return usage_error(o->verb, "it takes a core file and its executable; '%s' is one too many",
                           o->words[2]);
    if (o->tree || o->repeat > 1)
        return usage_error(o->verb, "--%s is for processes, and %s is a file", o->tree ? "tree" : "repeat",
                           o->words[0]);
    return look_and_show(o, 0, NULL);
}

int verb_stack(const struct options *o)
{
    pid_t pid;
    if (!o->word_count)
        return usage_error(o->verb, "it needs a PID or a core file");
    if (!is_number(o->words[0]))
        return stack_core(o);
    int status = options_pid(o, &pid);
    if (status)
        return status;
    if (o->repeat == 1)
        return look_and_show(o, pid, NULL);
    struct stack_history *before = stack_history_new();
    if (!before) {
        fprintf(stderr, "zond stack: no memory for it\n");
        return EXIT_ZOND;
    }
    status = repeat(o, pid, before);
    stack_history_free(before);
    return status;
}
