/* agent: where zond's own library is that is loaded into programs, and how they come to load it.
 */
#ifndef ZOND_CLI_AGENT_H
#define ZOND_CLI_AGENT_H

#include "base/base.h"

/* Would this command, as execvp finds it, refuse to start with a library before its own? So do programs that
 * are built with AddressSanitizer as a library. What cannot be looked into would not. */
bool agent_is_refused(const char *command);

/* Our environment with what makes a program load the agent, and the agent find the feed of this name. 0 and
 * *env, or a negative errno: -ENOENT when the library is not where it was installed, -EINVAL when its path
 * cannot be in LD_PRELOAD. */
int agent_environment(const char *feed, char ***env);
/* NULL is allowed. */
void agent_environment_free(char **env);

#endif
