/* record: making a recording, for every verb that does.
 */
#ifndef ZOND_CLI_RECORD_H
#define ZOND_CLI_RECORD_H

#include "cli/options.h"
#include "cli/place.h"
#include "os/child.h"
#include "record/locals.h"

/* Records the command that the words of o stand for. Returns 0 when it ran: *place is where the recording is
 * and *end how the command ended. Otherwise the exit status, after a sentence on stderr. */
int record_command(const struct options *o, struct place *place, struct child_end *end);

/* The same for views, into one file: *status is what to exit with, 128 + N for a command that died by signal
 * N. */
int cli_record(const struct options *o, char *path, size_t size, int *status);

/* Records the running process `pid`. Returns 0 or the exit status, after a sentence. */
int record_process(const struct options *o, pid_t pid, struct place *place);

/* One look at the running process, with native stacks and --tree as o says, written to fd; its local
 * variables to locals, unless that is NULL. The same. */
int record_look(const struct options *o, pid_t pid, int fd, struct rec_locals *locals);

/* The last line on stderr of a view that recorded first. */
void record_say_where(const char *path);

#endif
