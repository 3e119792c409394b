/* verbs: one function and one file each. They get the parsed command line and return the exit status;
 * what they say to people goes to stderr, data to stdout.
 */
#ifndef ZOND_CLI_VERBS_H
#define ZOND_CLI_VERBS_H

#include "cli/options.h"

int verb_run(const struct options *o);
int verb_attach(const struct options *o);
int verb_report(const struct options *o);
int verb_calls(const struct options *o);
int verb_lines(const struct options *o);
int verb_mem(const struct options *o);
int verb_gc(const struct options *o);
int verb_export(const struct options *o);
int verb_diff(const struct options *o);
int verb_merge(const struct options *o);
int verb_stack(const struct options *o);
int verb_doctor(const struct options *o);

#endif
