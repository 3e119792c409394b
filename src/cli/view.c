/* view: see view.h. */
#include "cli/view.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/record.h"

#define SUFFIX ".zond"

static bool has_suffix(const char *path)
{
    size_t len = strlen(path);
    return len > strlen(SUFFIX) && strcmp(path + len - strlen(SUFFIX), SUFFIX) == 0;
}

/* A file that starts like a recording, whatever it is called. */
static bool is_recording(const char *path)
{
    struct rec_reader *r = NULL;
    struct stat st;
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

/* A sentence on stderr for a recording that cannot be shown; returns EXIT_ZOND. */
static int cannot(const struct options *o, const char *path, int error)
{
    const char *why = strerror(-error);
    if (error == -EINVAL)
        why = "it is not a zond recording";
    else if (error == -ENODATA)
        why = "it ends before its header is whole, so there is nothing in it";
    else if (error == -EBADMSG)
        why = "it is damaged in its header, so nothing in it can be read";
    fprintf(stderr, "zond %s: cannot read %s: %s\n", o->verb->name, path, why);
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
            o->verb->name, path, of, ZOND_VERSION, REC_FORMAT_VERSION);
}

struct rec_reader *view_open(const struct options *o, const char *path, int *fd)
{
    struct rec_reader *r = NULL;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = *fd < 0 ? -errno : rec_reader_new(*fd, &r);
    if (rc == 0)
        return r;
    if (rc == -EPROTONOSUPPORT)
        cannot_newer(o, path, *fd);
    else
        cannot(o, path, rc);
    if (*fd >= 0)
        close(*fd);
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
    style.limit = (size_t)o->limit;
    style.path = path;
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
    int rc = profile_new(r, &filter, &p);
    struct report_style style = style_of(o, path, getcwd(here, sizeof(here)), to);
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
