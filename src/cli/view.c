/* view: see view.h.
 *
 * A recording may come by a pipe: "-" or a name that stands for one, like a shell's <(...). A view may read
 * it several times, so it is kept in a temporary file without a name as long as zond runs.
 */
#include "cli/view.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/place.h"
#include "cli/record.h"

#define SUFFIX ".zond"

#define DASH "-"

static bool has_suffix(const char *path)
{
    size_t len = strlen(path);
    return len > strlen(SUFFIX) && strcmp(path + len - strlen(SUFFIX), SUFFIX) == 0;
}

/* A file that starts like a recording, whatever it is called; or a pipe, which cannot be a command. */
static bool is_recording(const char *path)
{
    struct rec_reader *r = NULL;
    struct stat st;
    if (strcmp(path, DASH) == 0 || (stat(path, &st) == 0 && S_ISFIFO(st.st_mode)))
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    int rc = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? rec_reader_new(fd, &r) : -EINVAL;
    rec_reader_free(r);
    close(fd);
    return rc == 0 || rc == -EPROTONOSUPPORT;
}

int view_recording(const struct options *o, struct view_source *source)
{
    const char *word = o->words[0];
    *source = (struct view_source){0};
    if (!o->word_count)
        return usage_error(o->verb, "it needs a recording, or a command to record");
    if (o->launch != LAUNCH_WORDS || !(has_suffix(word) || is_recording(word))) {
        source->made = true;
        return cli_record(o, source->path, sizeof(source->path), &source->status);
    }
    const struct option_def *d = options_recording(o);
    if (o->word_count > 1)
        return usage_error(o->verb, "it takes one recording; '%s' comes after %s", o->words[1], word);
    if (d)
        return usage_error(o->verb, "--%s is for recording, and %s is a recording already", d->name, word);
    if (snprintf(source->path, sizeof(source->path), "%s", word) >= PATH_MAX)
        return usage_error(o->verb, "the path of the recording is too long");
    return 0;
}

/* A sentence on stderr for a recording that cannot be shown; returns EXIT_ZOND. */
static int cannot(const struct options *o, const char *path, int error)
{
    const char *why = strerror(-error);
    if (strcmp(path, DASH) == 0)
        path = "standard input";
    if (error == -EINVAL)
        why = "it is not a zond recording";
    else if (error == -ENODATA)
        why = "it ends before its header is whole, so there is nothing in it";
    else if (error == -EAGAIN)
        why = "it is being begun, and there is nothing in it yet";
    else if (error == -ENOTTY)
        why = "it is a terminal, and takes no recording";
    else if (error == -EPROTONOSUPPORT)
        why = "it was made by a newer zond; update this one";
    fprintf(stderr, "zond %s: cannot read %s: %s\n", o->verb->name, path, why);
    return EXIT_ZOND;
}

/* All that comes from fd, in a file that is nowhere. A negative errno on failure. */
static int keep(int fd)
{
    char bytes[1u << 16];
    FILE *file = tmpfile();
    ssize_t n = file ? 0 : -1;
    while (file && (n = read(fd, bytes, sizeof(bytes))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || fwrite(bytes, 1, (size_t)n, file) != (size_t)n) {
            n = -1;
            break;
        }
    }
    int kept = n == 0 && fflush(file) == 0 ? fcntl(fileno(file), F_DUPFD_CLOEXEC, 0) : -1;
    int err = errno;
    if (file)
        fclose(file);
    return kept < 0 ? -err : kept;
}

/* The file of a descriptor once more, from its start. */
static int open_of(int fd)
{
    char name[32];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    fd = open(name, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Opens what can be read more than once: the file, or what came by the pipe that it is. */
static int open_again(const char *path)
{
    static char kept_path[PATH_MAX];
    static int kept = -1;
    struct stat st;
    if (kept >= 0 && strcmp(kept_path, path) == 0)
        return open_of(kept);
    bool dash = strcmp(path, DASH) == 0;
    int fd = dash ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (S_ISREG(st.st_mode) && !dash)
        return fd;
    int again = isatty(fd) ? -ENOTTY : S_ISREG(st.st_mode) ? open_of(fd) : keep(fd);
    close(fd);
    if (again < 0 || S_ISREG(st.st_mode))
        return again;
    kept = again;
    snprintf(kept_path, sizeof(kept_path), "%s", path);
    return open_of(kept);
}

struct rec_reader *view_open(const struct options *o, const char *path, int *fd)
{
    struct rec_reader *r = NULL;
    *fd = open_again(path);
    int rc = *fd < 0 ? *fd : rec_reader_new(*fd, &r);
    if (rc == -ENODATA && place_is_growing(*fd))
        rc = -EAGAIN;
    if (rc == 0)
        return r;
    cannot(o, path, rc);
    if (*fd >= 0)
        close(*fd);
    return NULL;
}

static struct report_style style_of(const struct options *o, const char *path, const char *here, FILE *to)
{
    struct report_style style;
    report_style_init(&style, to, (enum report_color)o->color, o->width);
    style.metric = (enum metric)o->metric;
    style.tasks = o->async;
    style.limit = (size_t)o->limit;
    style.path = strcmp(path, DASH) == 0 ? NULL : path;
    style.here = here;
    return style;
}

/* Shows what one filter lets through. */
static int show_filtered(const struct options *o, const char *path, FILE *to, view_show *show, uint32_t pid)
{
    struct profile_filter filter = {.pid = pid, .tid = (uint32_t)o->tid, .tasks = o->async};
    struct profile *p = NULL;
    char here[PATH_MAX];
    int fd;
    struct rec_reader *r = view_open(o, path, &fd);
    if (!r)
        return EXIT_ZOND;
    bool growing = place_is_growing(fd);
    int rc = profile_new(r, &filter, &p);
    struct report_style style = style_of(o, path, getcwd(here, sizeof(here)), to);
    style.growing = growing;
    if (rc)
        cannot(o, path, rc);
    else if ((rc = o->json ? report_json(to, p, &style) : show(to, p, &style)))
        fprintf(stderr, "zond %s: cannot write: %s\n", o->verb->name, strerror(-rc));
    profile_free(p);
    rec_reader_free(r);
    close(fd);
    return rc ? EXIT_ZOND : 0;
}

/* The pids in a recording, each once, in order. The caller frees. NULL after a sentence. */
static uint32_t *pids_of(const struct options *o, const char *path, size_t *count)
{
    static const struct rec_events none = {0};
    int fd;
    struct rec_reader *r = view_open(o, path, &fd);
    if (!r)
        return NULL;
    int rc = rec_reader_run(r, &none, NULL);
    uint32_t all = rec_reader_process_count(r);
    uint32_t *pids = rc ? NULL : calloc((size_t)all + 1, sizeof(*pids));
    *count = 0;
    for (uint32_t i = 0; pids && i < all; i++) {
        uint32_t pid = rec_reader_process(r, i).pid;
        size_t k = 0;
        while (k < *count && pids[k] != pid)
            k++;
        if (k == *count)
            pids[(*count)++] = pid;
    }
    if (!pids)
        cannot(o, path, rc ? rc : -ENOMEM);
    rec_reader_free(r);
    close(fd);
    return pids;
}

static int show_each_process(const struct options *o, const char *path, FILE *to, view_show *show)
{
    size_t count;
    int status = 0;
    uint32_t *pids = pids_of(o, path, &count);
    for (size_t i = 0; pids && i < count && status == 0; i++) {
        fprintf(to, "%s--- process %u\n", i ? "\n" : "", pids[i]);
        status = show_filtered(o, path, to, show, pids[i]);
    }
    if (!pids)
        return EXIT_ZOND;
    free(pids);
    return status;
}

int view_file(const struct options *o, const char *path, FILE *to, view_show *show)
{
    if (o->per_process && !o->json && !o->pid)
        return show_each_process(o, path, to, show);
    return show_filtered(o, path, to, show, (uint32_t)o->pid);
}

int view_main(const struct options *o, view_show *show)
{
    struct view_source source;
    if (o->per_process && o->json)
        return usage_error(o->verb, "--json prints one object; give --pid N with it, not --per-process");
    int rc = view_recording(o, &source);
    if (rc)
        return rc;
    if (!o->quiet)
        rc = view_file(o, source.path, stdout, show);
    if (source.made)
        record_say_where(source.path);
    return rc ? rc : source.status;
}
