/* help: text made from the tables of options.h. */
#ifndef ZOND_CLI_HELP_H
#define ZOND_CLI_HELP_H

#include <stdio.h>

#include "cli/options.h"

/* What zond is and its verbs. */
void help_all(FILE *to);
/* Usage, options and examples of one verb. */
void help_verb(FILE *to, const struct verb *verb);

/* What an option takes: FILE, or the words of a choice: collapsed|speedscope. Empty for a flag. */
void help_argument(const struct option_def *d, char *out, size_t size);

#endif
