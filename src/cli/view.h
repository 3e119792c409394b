/* view: what every view has in common. A view takes a recording, or a command to record first.
 */
#ifndef ZOND_CLI_VIEW_H
#define ZOND_CLI_VIEW_H

#include <limits.h>
#include <stdio.h>

#include "analysis/profile.h"
#include "cli/options.h"
#include "report/report.h"

/* report_summary, report_calls, report_lines, report_memory, report_collections. */
typedef int view_show(FILE *to, struct profile *p, const struct report_style *style);

/* Gets a recording by the words of o and shows it on stdout (--json: as JSON). Returns the exit status: of
 * the command, when one was recorded. */
int view_main(const struct options *o, view_show *show);

/* Shows one recording. Returns 0, or EXIT_ZOND after a sentence. */
int view_file(const struct options *o, const char *path, FILE *to, view_show *show);

/* A recording to look at. made: just now, of a command that ended with `status` (as a shell says it). */
struct view_source {
    char path[PATH_MAX];
    bool made;
    int status;
};

/* The recording that o asks for: the file named by its first word, or one that is made now. Returns 0, or the
 * exit status, after a sentence. */
int view_recording(const struct options *o, struct view_source *source);

/* What the options let through. */
struct profile_filter view_filter(const struct options *o);

/* Why a recording cannot be read: a clause for the error. */
const char *view_why(int error);
/* A sentence on stderr for a recording that cannot be read, with its error; returns EXIT_ZOND. */
int view_cannot_read(const struct options *o, const char *path, int error);

/* Opens a recording; says why if it cannot. NULL: said. *fd is to be closed after rec_reader_free. */
struct rec_reader *view_open(const struct options *o, const char *path, int *fd);

/* A file without a name, for reading and writing; or a negative errno. */
int view_nowhere(void);

/* Says on stderr where a recording that was read to its end is cut or damaged, if it is. */
void view_say_break(const struct options *o, const char *path, const struct rec_reader *r);

#endif
