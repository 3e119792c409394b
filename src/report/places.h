/* places: the lines of a profile by file and line, whatever function they belong to.
 *
 * Lines of different functions can be one line of a file (a comprehension, a lambda): own times add up, of
 * the totals the largest counts, as such functions mostly call each other.
 */
#ifndef ZOND_REPORT_PLACES_H
#define ZOND_REPORT_PLACES_H

#include "analysis/profile.h"

struct place {
    uint32_t file; /* string id */
    uint32_t line;
    uint32_t code; /* one of its functions */
    uint64_t self; /* ns of the metric */
    uint64_t total;
    uint64_t heat; /* for the caller to sort by; 0 at first */
};

/* All lines of Python code that took time, by own time, then total, descending. The caller frees *out. */
int places_new(struct profile *p, enum metric by, struct place **out, size_t *count);

/* For qsort: by file and line. */
int place_compare(const void *a, const void *b);

#endif
