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
#include "cli/symbols.h"

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
    return rc == 0 || rc == -EPROTONOSUPPORT || rc == -EBADMSG;
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

const char *view_why(int error)
{
    if (error == -EINVAL)
        return "it is not a zond recording";
    if (error == -ENODATA)
        return "it ends before its header is whole, so there is nothing in it";
    if (error == -EAGAIN)
        return "it is being begun, and there is nothing in it yet";
    if (error == -ENOTTY)
        return "it is a terminal, and takes no recording";
    if (error == -EBADMSG)
        return "it is damaged in its header, so nothing in it can be read";
    if (error == -EPROTONOSUPPORT)
        return "it was made by a newer zond; update this one";
    return strerror(-error);
}

static const char *title(const char *path)
{
    return strcmp(path, DASH) == 0 ? "standard input" : path;
}

int view_cannot_read(const struct options *o, const char *path, int error)
{
    fprintf(stderr, "zond %s: cannot read %s: %s\n", o->verb->name, title(path), view_why(error));
    return EXIT_ZOND;
}

/* The same for a version of the format that came after this program. */
static void cannot_newer(const struct options *o, const char *path, int fd)
{
    uint32_t version = 0;
    char of[32] = "a newer version";
    if (rec_reader_version(fd, &version) == 0)
        snprintf(of, sizeof(of), "version %u", version);
    fprintf(stderr,
            "zond %s: cannot read %s: it is of %s of the format, and this zond, %s, reads up to version %d; "
            "update zond\n",
            o->verb->name, title(path), of, ZOND_VERSION, REC_FORMAT_MERGED);
}

int view_nowhere(void)
{
    FILE *file = tmpfile();
    int fd = file ? fcntl(fileno(file), F_DUPFD_CLOEXEC, 0) : -1;
    int err = fd < 0 ? -errno : 0;
    if (file)
        fclose(file);
    return err ? err : fd;
}

/* All that comes from fd, in a file that is nowhere. A negative errno on failure. */
static int keep(int fd)
{
    char bytes[1u << 16];
    int kept = view_nowhere(), err = kept < 0 ? kept : 0;
    for (ssize_t n = 1; !err && n;) {
        n = read(fd, bytes, sizeof(bytes));
        ssize_t wrote = n > 0 ? write(kept, bytes, (size_t)n) : n;
        if (n < 0 && errno != EINTR)
            err = -errno;
        else if (wrote != n)
            err = wrote < 0 ? -errno : -ENOSPC;
    }
    if (err && kept >= 0)
        close(kept);
    return err ? err : kept;
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

static struct rec_reader *open_reader(const struct options *o, const char *path, int *fd)
{
    struct rec_reader *r = NULL;
    *fd = open_again(path);
    int rc = *fd < 0 ? *fd : rec_reader_new(*fd, &r);
    if (rc == -ENODATA && place_is_growing(*fd))
        rc = -EAGAIN;
    if (rc == 0)
        return r;
    if (rc == -EPROTONOSUPPORT)
        cannot_newer(o, path, *fd);
    else
        view_cannot_read(o, path, rc);
    if (*fd >= 0)
        close(*fd);
    return NULL;
}

/* The recording with the symbols that the user asks for, in a file of its own: a descriptor of that file at
 * its start. A recording that is opened again was made before. A negative errno after a sentence. */
static int open_resolved(const struct options *o, const char *path, struct rec_reader *r)
{
    static char made_path[PATH_MAX];
    static int made = -1;
    if (made < 0 || strcmp(made_path, path) != 0) {
        int fd = symbols_add(o, path, r);
        if (fd < 0)
            return fd;
        if (made >= 0)
            close(made);
        made = fd;
        snprintf(made_path, sizeof(made_path), "%s", path);
    }
    int again = open_of(made);
    if (again < 0)
        view_cannot_read(o, path, again);
    return again;
}

struct rec_reader *view_open(const struct options *o, const char *path, int *fd)
{
    struct rec_reader *r = open_reader(o, path, fd);
    if (!r || !o->symbols)
        return r;
    int with = open_resolved(o, path, r);
    rec_reader_free(r);
    close(*fd);
    *fd = with;
    int rc = with < 0 ? with : rec_reader_new(with, &r);
    if (rc == 0)
        return r;
    if (with >= 0) {
        view_cannot_read(o, path, rc);
        close(with);
    }
    return NULL;
}

void view_say_break(const struct options *o, const char *path, const struct rec_reader *r)
{
    uint64_t offset;
    enum rec_break stop = rec_reader_break(r, &offset);
    if (stop != REC_WHOLE)
        fprintf(stderr, "zond %s: %s %s byte %llu; what comes before is taken\n", o->verb->name, path,
                stop == REC_CUT ? "is incomplete: it ends without its end mark at" : "is damaged from",
                (unsigned long long)offset);
}

static struct report_style style_of(const struct options *o, const char *path, const char *here, FILE *to)
{
    struct report_style style;
    report_style_init(&style, to, (enum report_color)o->color, o->width);
    style.metric = (enum metric)o->metric;
    style.tasks = o->async;
    style.memory = o->verb->bit == VERB_MEM;
    style.order = (enum memory_order)o->sort;
    style.limit = (size_t)o->limit;
    style.path = strcmp(path, DASH) == 0 ? NULL : path;
    style.here = here;
    return style;
}

struct profile_filter view_filter(const struct options *o)
{
    return (struct profile_filter){.host = o->host,
                                   .rank = o->rank < 0 ? 0 : (uint64_t)o->rank + 1,
                                   .pid = (uint32_t)o->pid,
                                   .tid = (uint32_t)o->tid,
                                   .tasks = o->async};
}

/* Shows what one filter lets through. */
static int show_filtered(const struct options *o, const char *path, FILE *to, view_show *show,
                         struct profile_filter filter)
{
    struct profile *p = NULL;
    char here[PATH_MAX];
    int fd;
    bool calls = show == report_calls && !o->json, stacks = show == report_summary && !o->json;
    filter.without = (stacks ? 0 : PROFILE_WITHOUT_STACKS) | (calls ? 0 : PROFILE_WITHOUT_CALLS);
    struct rec_reader *r = view_open(o, path, &fd);
    if (!r)
        return EXIT_ZOND;
    bool growing = place_is_growing(fd);
    int rc = profile_new(r, &filter, &p);
    struct report_style style = style_of(o, path, getcwd(here, sizeof(here)), to);
    style.growing = growing;
    if (rc)
        view_cannot_read(o, path, rc);
    else if ((rc = o->json ? report_json(to, p, &style) : show(to, p, &style)))
        fprintf(stderr, "zond %s: cannot write: %s\n", o->verb->name, strerror(-rc));
    profile_free(p);
    rec_reader_free(r);
    close(fd);
    return rc ? EXIT_ZOND : 0;
}

/* A process: all its entries, of which it has one for each program that it became. */
struct apart {
    uint32_t part;
    uint32_t pid;
    uint32_t rank;
};

static int by_part(const void *a, const void *b)
{
    const struct apart *x = a;
    const struct apart *y = b;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* The processes of a recording, each once. The caller frees. NULL after a sentence. */
static struct apart *processes_of(const struct options *o, const char *path, size_t *count)
{
    static const struct rec_events none = {0};
    struct profile_filter filter = view_filter(o);
    int fd;
    struct rec_reader *r = view_open(o, path, &fd);
    if (!r)
        return NULL;
    int rc = rec_reader_run(r, &none, NULL);
    uint32_t all = rec_reader_process_count(r);
    struct apart *list = rc ? NULL : calloc((size_t)all + 1, sizeof(*list));
    size_t n = 0;
    *count = 0;
    for (uint32_t i = 0; list && i < all; i++) {
        struct rec_process p = rec_reader_process(r, i);
        uint32_t part = rec_reader_part_of(r, i);
        if (profile_takes_process(&filter, r, i))
            list[n++] = (struct apart){part, p.pid, rec_reader_part(r, part).header.rank};
    }
    if (list)
        qsort(list, n, sizeof(*list), by_part);
    for (size_t i = 0; i < n; i++) {
        if (!i || by_part(&list[i], &list[i - 1]))
            list[(*count)++] = list[i];
    }
    if (!list)
        view_cannot_read(o, path, rc ? rc : -ENOMEM);
    rec_reader_free(r);
    close(fd);
    return list;
}

static int show_each_process(const struct options *o, const char *path, FILE *to, view_show *show)
{
    size_t count;
    int status = 0;
    struct apart *list = processes_of(o, path, &count);
    for (size_t i = 0; list && i < count && status == 0; i++) {
        struct profile_filter filter = view_filter(o);
        filter.part = list[i].part + 1;
        filter.pid = list[i].pid;
        fprintf(to, "%s--- process %u", i ? "\n" : "", list[i].pid);
        if (list[i].rank != REC_NO_RANK)
            fprintf(to, ", rank %u", list[i].rank);
        fputc('\n', to);
        status = show_filtered(o, path, to, show, filter);
    }
    if (!list)
        return EXIT_ZOND;
    free(list);
    return status;
}

int view_file(const struct options *o, const char *path, FILE *to, view_show *show)
{
    if (o->per_process && !o->json && !o->pid)
        return show_each_process(o, path, to, show);
    return show_filtered(o, path, to, show, view_filter(o));
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
