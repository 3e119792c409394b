/* rank: which of the programs of a parallel job a process is, as its launcher says in the environment. */
#ifndef ZOND_OS_RANK_H
#define ZOND_OS_RANK_H

#include <sys/types.h>

#include "base/base.h"

#define RANK_NONE UINT32_MAX

/* The rank of process pid, or of the calling one for 0; RANK_NONE if its environment has none, or is not ours
 * to read. */
uint32_t rank_of(pid_t pid);

#endif
