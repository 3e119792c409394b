/* zond export: a recording in the format of another tool. */
#include "export/export.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/record.h"
#include "cli/verbs.h"
#include "cli/view.h"

/* An export is written in pieces of so many bytes. */
#define BUFFER_BYTES (256u << 10)

static struct export_options export_options_of(const struct options *o, const char *path)
{
    return (struct export_options){
        .filter = view_filter(o),
        .metric = (enum metric)o->metric,
        .lines = o->lines,
        .per_process = o->per_process,
        .name = path,
    };
}

/* Exports `path` to stdout or o->output; 0, or EXIT_ZOND after a sentence. */
static int export_file(const struct options *o, const char *path)
{
    struct export_options e = export_options_of(o, path);
    bool to_stdout = !o->output || strcmp(o->output, "-") == 0;
    const char *name = to_stdout ? "standard output" : o->output;
    int fd;
    struct rec_reader *r = view_open(o, path, &fd);
    if (!r)
        return EXIT_ZOND;
    FILE *to = to_stdout ? stdout : fopen(o->output, "we");
    if (to)
        setvbuf(to, NULL, _IOFBF, BUFFER_BYTES);
    int rc = to ? export_formats[o->format].write(to, r, &e) : -errno;
    if (to && to != stdout && fclose(to) && rc == 0)
        rc = -errno;
    view_say_break(o, path, r);
    if (rc)
        fprintf(stderr, "zond export: cannot export %s to %s: %s\n", path, name, strerror(-rc));
    rec_reader_free(r);
    close(fd);
    return rc ? EXIT_ZOND : 0;
}

/* What --format takes, as a list for people. */
static void names_of_formats(char *out, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < export_format_count && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%s", i ? ", " : "", export_formats[i].name);
}

/* 0, or EXIT_USAGE after a sentence. */
static int check_use(const struct options *o)
{
    char names[128];
    names_of_formats(names, sizeof(names));
    if (o->format < 0)
        return usage_error(o->verb, "it needs --format: one of %s", names);
    const struct export_format *f = &export_formats[o->format];
    if (f->binary && !o->output && isatty(STDOUT_FILENO))
        return usage_error(
            o->verb, "%s is not text for a terminal: give -o FILE, or send it to a file or pipe", f->name);
    return 0;
}

int verb_export(const struct options *o)
{
    struct view_source source;
    struct options record = *o;
    record.output = NULL; /* of the export, not of the recording */
    int rc = check_use(o);
    if (rc == 0)
        rc = view_recording(&record, &source);
    if (rc)
        return rc;
    rc = export_file(o, source.path);
    if (source.made)
        record_say_where(source.path);
    return rc ? rc : source.status;
}
