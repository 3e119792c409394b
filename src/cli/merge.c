/* zond merge: many recordings into one. */
#include "record/merge.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/verbs.h"
#include "cli/view.h"

/* Files that are named one by one; of more only the number is said. */
#define NAMED 10

/* Whether a file that is to be merged is the output, which would be gone before it is read. */
static const char *is_input(const struct options *o, const struct stat *out)
{
    struct stat st;
    for (size_t i = 0; i < o->word_count; i++) {
        if (stat(o->words[i], &st) == 0 && st.st_dev == out->st_dev && st.st_ino == out->st_ino)
            return o->words[i];
    }
    return NULL;
}

/* Opens the output, and empties it if it is a file. -1 after a sentence. */
static int open_output(const struct options *o)
{
    struct stat st;
    int fd = open(o->output, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    const char *input = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? is_input(o, &st) : NULL;
    if (input) {
        fprintf(stderr,
                "zond merge: %s is to be merged, and is the output; choose another one with -o FILE\n",
                input);
    } else if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        fprintf(stderr, "zond merge: another zond is writing %s; choose another name with -o FILE\n",
                o->output);
    } else if (fd < 0 || (ftruncate(fd, 0) < 0 && errno != EINVAL)) {
        fprintf(stderr, "zond merge: cannot write %s: %s\n", o->output, strerror(errno));
    } else {
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

/* What is wrong with an input, or NULL. */
static const char *fault_of(const struct merge_input *input, char *text, size_t size)
{
    if (input->error) {
        snprintf(text, size, "left out: %s", view_why(input->error));
        return text;
    }
    if (input->stop == REC_WHOLE)
        return NULL;
    snprintf(text, size, "%s; what is before byte %" PRIu64 " was taken",
             input->stop == REC_CUT ? "ends without its end mark, as when zond is killed" : "is damaged",
             input->offset);
    return text;
}

static void say_faults(const struct merge_input *inputs, size_t count)
{
    char text[256];
    size_t faults = 0;
    for (size_t i = 0; i < count; i++) {
        const char *fault = fault_of(&inputs[i], text, sizeof(text));
        faults += fault != NULL;
        if (fault && faults <= NAMED)
            fprintf(stderr, "zond merge: %s %s\n", inputs[i].path, fault);
    }
    if (faults > NAMED)
        fprintf(stderr, "zond merge: and %zu more\n", faults - NAMED);
}

static void say_result(const struct options *o, const struct rec_merged *r)
{
    if (o->quiet)
        return;
    fprintf(stderr, "zond: merged %" PRIu64 " recording%s into %s", r->parts, r->parts == 1 ? "" : "s",
            o->output);
    if (r->cut)
        fprintf(stderr, ", %" PRIu64 " incomplete", r->cut);
    if (r->corrupt)
        fprintf(stderr, ", %" PRIu64 " damaged", r->corrupt);
    if (r->left_out)
        fprintf(stderr, "; %" PRIu64 " left out", r->left_out);
    fputs("; clocks aligned by wall time\n", stderr);
}

/* Writes the merged recording; 0, or EXIT_ZOND after a sentence. */
static int write_output(const struct options *o, struct merge *m)
{
    int fd = open_output(o);
    if (fd < 0)
        return EXIT_ZOND;
    int err = merge_write(m, fd);
    if (close(fd) && !err)
        err = -errno;
    if (err)
        fprintf(stderr, "zond merge: the merged recording is incomplete: writing %s stopped: %s\n", o->output,
                strerror(-err));
    return err ? EXIT_ZOND : 0;
}

int verb_merge(const struct options *o)
{
    struct merge *m = NULL;
    if (!o->word_count)
        return usage_error(o->verb, "it needs the recordings to merge");
    if (!o->output)
        return usage_error(o->verb, "it needs -o FILE, the recording to make");
    struct merge_input *inputs = calloc(o->word_count, sizeof(*inputs));
    for (size_t i = 0; inputs && i < o->word_count; i++)
        inputs[i].path = o->words[i];
    int err = inputs ? merge_new(inputs, o->word_count, ZOND_VERSION, &m) : -ENOMEM;
    int status = EXIT_ZOND;
    if (!err)
        status = write_output(o, m);
    else if (err != -ENODATA)
        fprintf(stderr, "zond merge: cannot merge: %s\n", strerror(-err));
    if (inputs)
        say_faults(inputs, o->word_count);
    if (err == -ENODATA)
        fputs("zond merge: there is nothing to merge: none of these can be read\n", stderr);
    else if (status == 0)
        say_result(o, merge_result(m));
    merge_free(m);
    free(inputs);
    return status;
}
