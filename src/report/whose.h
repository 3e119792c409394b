/* whose: time and memory of the same function or line, side by side: the rows of the JSON object's tables.
 */
#ifndef ZOND_REPORT_WHOSE_H
#define ZOND_REPORT_WHOSE_H

#include "report/report.h"

/* code may be MEMORY_OUTSIDE, of a function. line 0: unknown, or of a function. NULL: no sample, or no
 * allocation, was there. */
struct whose {
    uint32_t code, line;
    const struct profile_function *function;
    const struct profile_line *of_line;
    const struct memory_row *memory;
};

/* By style->memory and order, or by time, what has none of it behind. The caller frees *out, also after an
 * error. 0 or -ENOMEM. */
int whose_functions(struct profile *p, const struct report_style *style, struct whose **out, size_t *count);
int whose_lines(struct profile *p, const struct report_style *style, struct whose **out, size_t *count);

#endif
