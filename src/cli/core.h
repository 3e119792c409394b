/* core: looking at a core file, and saying why it cannot be looked at.
 */
#ifndef ZOND_CLI_CORE_H
#define ZOND_CLI_CORE_H

#include "cli/options.h"
#include "report/stack.h"

/* One look at the core that the words of o stand for, CORE [EXE], written to fd, its local variables to
 * locals, unless that is NULL, and how its process ended. Returns 0 or the exit status, after a sentence on
 * stderr. */
int core_look(const struct options *o, int fd, struct rec_locals *locals, struct stack_death *death);

#endif
