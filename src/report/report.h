/* report: a profile as text for a terminal, or as the JSON object. Knows nothing of live recording.
 *
 * Every view writes to a FILE that the caller owns and returns 0, -ENOMEM, or -EIO when the FILE did not
 * take it. A text view never writes a line wider than style->width columns, and never a control character
 * but newline and, with style->color, colour.
 */
#ifndef ZOND_REPORT_REPORT_H
#define ZOND_REPORT_REPORT_H

#include <stdio.h>

#include "analysis/profile.h"

enum report_color { REPORT_COLOR_AUTO, REPORT_COLOR_ALWAYS, REPORT_COLOR_NEVER };

/* The narrowest that a view is laid out for; a smaller terminal wraps. */
#define REPORT_MIN_WIDTH 40

/* How to show. Strings are the caller's and outlive the call. */
struct report_style {
    int width; /* columns, >= REPORT_MIN_WIDTH */
    bool color;
    bool unicode;
    enum metric metric; /* what is sorted by and shared out */
    bool memory;        /* what is sorted by is memory, by `order`, not time */
    enum memory_order order;
    bool tasks;       /* the profile holds await chains of waiting tasks, not threads */
    size_t limit;     /* rows of a table; 0: as many as suit the view */
    bool growing;     /* the recording was still being written when it was opened: it ends for now */
    const char *path; /* where the recording is; NULL: not said */
    const char *here; /* the directory that paths are shown relative to; NULL: none */
};

/* Width, colour and Unicode as fit `to`. width 0: from the terminal, COLUMNS, else 100. Colour follows, in
 * this order: `color`, PYTHON_COLORS, NO_COLOR, FORCE_COLOR, TERM=dumb, whether `to` is a terminal.
 * Unicode follows LC_ALL, LC_CTYPE, LANG. All else is zero. */
void report_style_init(struct report_style *s, FILE *to, enum report_color color, int width);

/* The first screen: what ran, what its threads did, where the time went, what was missed, what it cost. */
int report_summary(FILE *to, struct profile *p, const struct report_style *style);
/* Functions with own and total time, then callers and callees of the first of them. */
int report_calls(FILE *to, struct profile *p, const struct report_style *style);
/* The hottest lines in their source. */
int report_lines(FILE *to, struct profile *p, const struct report_style *style);
/* Who allocated memory and who held it when most was held: functions and lines. */
int report_memory(FILE *to, struct profile *p, const struct report_style *style);
/* How long garbage collection took, and who triggered it: generations, functions and lines. */
int report_collections(FILE *to, struct profile *p, const struct report_style *style);
/* One JSON object, the same for every view. style->metric sorts, style->limit bounds functions and lines. */
int report_json(FILE *to, struct profile *p, const struct report_style *style);

#endif
