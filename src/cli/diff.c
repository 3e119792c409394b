/* zond diff: two recordings side by side. Both are read at once, each by a thread of its own. */
#include "report/diff.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "cli/verbs.h"
#include "cli/view.h"

/* One recording: open, then read. error: of the reading. */
struct side {
    const char *path;
    int fd;
    struct rec_reader *reader;
    struct profile_filter filter;
    struct profile *profile;
    int error;
};

static void *read_side(void *arg)
{
    struct side *s = arg;
    s->error = profile_new(s->reader, &s->filter, &s->profile);
    return NULL;
}

/* Reads both; 0, or EXIT_ZOND after a sentence. */
static int read_both(const struct options *o, struct side sides[DIFF_SIDES])
{
    pthread_t other;
    bool apart = pthread_create(&other, NULL, read_side, &sides[1]) == 0;
    read_side(&sides[0]);
    if (apart)
        pthread_join(other, NULL);
    else
        read_side(&sides[1]);
    for (int i = 0; i < DIFF_SIDES; i++) {
        if (sides[i].error)
            return view_cannot_read(o, sides[i].path, sides[i].error);
    }
    return 0;
}

static int show(const struct options *o, const struct side sides[DIFF_SIDES])
{
    struct diff *diff = NULL;
    struct report_style style;
    char here[PATH_MAX];
    int rc = diff_new(sides[0].profile, sides[1].profile, (enum metric)o->metric, o->shares, &diff);
    if (!rc) {
        struct diff_view view = {.diff = diff,
                                 .profiles = {sides[0].profile, sides[1].profile},
                                 .paths = {sides[0].path, sides[1].path},
                                 .shares = o->shares};
        report_style_init(&style, stdout, (enum report_color)o->color, o->width);
        style.metric = (enum metric)o->metric;
        style.limit = (size_t)o->limit;
        style.here = getcwd(here, sizeof(here));
        rc = (o->json ? report_diff_json : report_diff)(stdout, &view, &style);
    }
    diff_free(diff);
    if (rc)
        fprintf(stderr, "zond diff: cannot %s: %s\n", rc == -EIO ? "write" : "compare", strerror(-rc));
    return rc ? EXIT_ZOND : 0;
}

int verb_diff(const struct options *o)
{
    struct side sides[DIFF_SIDES] = {{.fd = -1}, {.fd = -1}};
    if (o->word_count != DIFF_SIDES)
        return usage_error(o->verb, "it needs two recordings, A and B");
    int rc = 0;
    for (int i = 0; !rc && i < DIFF_SIDES; i++) {
        sides[i].path = o->words[i];
        sides[i].filter = (struct profile_filter){
            .tasks = o->async, .without = PROFILE_WITHOUT_CALLS | PROFILE_WITHOUT_STACK_LINES};
        sides[i].reader = view_open(o, sides[i].path, &sides[i].fd);
        rc = sides[i].reader ? 0 : EXIT_ZOND;
    }
    if (!rc)
        rc = read_both(o, sides);
    if (!rc)
        rc = show(o, sides);
    for (int i = 0; i < DIFF_SIDES; i++) {
        profile_free(sides[i].profile);
        rec_reader_free(sides[i].reader);
        if (sides[i].reader)
            close(sides[i].fd);
    }
    return rc;
}
