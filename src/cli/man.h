/* man: manual pages, made from the tables of options.h. */
#ifndef ZOND_CLI_MAN_H
#define ZOND_CLI_MAN_H

#include <stdio.h>

#include "cli/options.h"

/* zond(1), and zond-VERB(1). */
void man_program(FILE *to);
void man_verb(FILE *to, const struct verb *verb);

#endif
