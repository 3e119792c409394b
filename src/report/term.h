/* term: writing to a terminal, or to a file as if to one: colour, Unicode or ASCII, wrapped paragraphs. */
#ifndef ZOND_REPORT_TERM_H
#define ZOND_REPORT_TERM_H

#include <locale.h>
#include <stdio.h>

#include "base/buf.h"
#include "report/report.h"
#include "report/text.h"

/* Meanings, not colours. */
enum ink {
    INK_PLAIN,
    INK_STRONG,
    INK_DIM,
    INK_WARN,
    INK_BAR,
    INK_PYTHON,
    INK_C,
    INK_WAIT,
    INK_GIL,
    INK_GC,
    INK_COUNT
};

/* Between term_open and term_close the thread's locale is a UTF-8 one, so that wcwidth knows all
 * characters. style is a copy; unicode is off in it when there is no such locale. */
struct term {
    FILE *to;
    struct report_style style;
    struct buf scratch; /* for one call at a time */
    locale_t locale;
    locale_t previous;
};

void term_open(struct term *t, FILE *to, const struct report_style *style);
/* 0, -ENOMEM or -EIO: what went wrong since term_open. */
int term_close(struct term *t);

/* Text of our own, as it is. */
__attribute__((format(printf, 3, 4))) void term_put(struct term *t, enum ink ink, const char *fmt, ...);
/* Text that text_clean made. */
void term_clean(struct term *t, enum ink ink, const char *clean, size_t len);
void term_spaces(struct term *t, int n);
void term_newline(struct term *t);

/* A bar of share (0 to 1) of `width` columns, filled up with spaces. */
void term_bar(struct term *t, enum ink ink, double share, int width);
/* The same character n times: a segment of a stacked bar. Without colour each ink has its own. */
void term_segment(struct term *t, enum ink ink, int n);

/* An empty line, then a title, and beside it an explanation that is cut to fit (may be empty). */
__attribute__((format(printf, 3, 4))) void term_heading(struct term *t, const char *title, const char *fmt,
                                                        ...);

/* Clean text wrapped at spaces; further lines are indented like the first, which starts with the label
 * (NULL: none) in a column of its own. What has no space to wrap at is cut. */
void term_paragraph(struct term *t, enum ink ink, const char *label, const char *text, size_t len);

/* " · " or its ASCII stand-in. */
const char *term_dot(const struct term *t);

#endif
