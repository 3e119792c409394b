/* sections: tables under a heading, of which views are made. Each prints nothing when it has no rows, and
 * returns 0 or -ENOMEM. limit: rows at the most.
 */
#ifndef ZOND_REPORT_SECTIONS_H
#define ZOND_REPORT_SECTIONS_H

#include "report/common.h"

/* Functions and lines by their own time in style.metric. all: also functions that only called others. */
int section_functions(struct term *t, struct profile *p, size_t limit, bool all);
int section_lines(struct term *t, struct profile *p, size_t limit);

/* The way to where most of style.metric went, while one takes most of it. The profile has its stacks. */
int section_path(struct term *t, struct profile *p);

/* Processes and threads by style.metric, when there are several. */
int section_processes(struct term *t, const struct profile *p, size_t limit);
int section_threads(struct term *t, const struct profile *p, size_t limit);

#endif
