/* stack: a recording of one look, thread by thread, innermost frame first: what each does at this moment. */
#ifndef ZOND_REPORT_STACK_H
#define ZOND_REPORT_STACK_H

#include "record/reader.h"
#include "report/report.h"

/* Reads the recording to its end. 0, -ENOMEM, -EIO, or an error of the reader. Shown is the last look at each
 * thread, and at each waiting task of asyncio. */
int report_stack(FILE *to, struct rec_reader *r, const struct report_style *style);
/* {"zond", "schema", "processes": [{"pid", "ppid", "python", "command", "threads": [{"tid", "name", "on_cpu",
 * "gil": "held"|"waiting"|null, "gc", "syscall", "task", "frames": [{"kind", "name", "file", "line"}]}]}],
 * "losses": [what could not be seen, and why]} */
int report_stack_json(FILE *to, struct rec_reader *r, const struct report_style *style);

#endif
