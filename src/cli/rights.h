/* rights: why a process may not be looked into, and the way out. */
#ifndef ZOND_CLI_RIGHTS_H
#define ZOND_CLI_RIGHTS_H

#include <stdio.h>
#include <sys/types.h>

#include "base/base.h"

/* What bears on reading another process's memory (ptrace access, see ptrace(2)). */
struct rights {
    int ptrace_scope;  /* kernel.yama.ptrace_scope; -1: this kernel has no Yama */
    bool sys_ptrace;   /* we have CAP_SYS_PTRACE */
    bool in_container; /* we are in a PID namespace that is not the first one */
};

struct rights rights_of_us(void);

/* A sentence on what is in the way to `pid`, and one on what to do. */
void rights_explain(FILE *to, pid_t pid);

#endif
