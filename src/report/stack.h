/* stack: a recording of one look, thread by thread, innermost frame first: what each does at this moment. */
#ifndef ZOND_REPORT_STACK_H
#define ZOND_REPORT_STACK_H

#include "record/locals.h"
#include "record/reader.h"
#include "report/report.h"
#include "report/stack_history.h"

/* How a process ended whose core was looked at. signal: that it got, 0: none; tid: the thread that got it. */
struct stack_death {
    bool of_core; /* false: the process lives, and nothing else here counts */
    bool has_address;
    int signal;
    uint32_t tid;
    uint64_t address;
};

/* What is told beside the stacks. locals: NULL, or the local variables of frames. before: NULL, or what the
 * last of several looks at a process has shown: what is the same is left out then. */
struct stack_beside {
    const struct rec_locals *locals;
    struct stack_history *before;
    struct stack_death death;
};

/* Reads the recording to its end. 0, -ENOMEM, -EIO, or an error of the reader. Shown is the last look at each
 * thread, and at each waiting task of asyncio. */
int report_stack(FILE *to, struct rec_reader *r, const struct stack_beside *beside,
                 const struct report_style *style);
/* {"zond", "schema", "processes": [{"pid", "ppid", "python", "command", "core": null|{"signal": name|null,
 * "tid", "address": n|null}, "threads": [{"tid", "name", "on_cpu", "gil": "held"|"waiting"|null, "gc",
 * "syscall", "task", "frames": [{"kind", "guessed", "name", "file", "line", "locals": [{"name",
 * "value"}]}]}]}], "losses": [what could not be seen, and why]}. "locals" is there of Python frames, when
 * locals is not NULL. */
int report_stack_json(FILE *to, struct rec_reader *r, const struct stack_beside *beside,
                      const struct report_style *style);

#endif
