/* complete: completion scripts for shells, made from the tables of options.h. Each is one file that the shell
 * finds by itself where the package puts it, or that can be sourced.
 */
#ifndef ZOND_CLI_COMPLETE_H
#define ZOND_CLI_COMPLETE_H

#include <stdio.h>

void complete_bash(FILE *to);
void complete_zsh(FILE *to);
void complete_fish(FILE *to);

#endif
