/* repr: the text of a value as it is made, piece by piece and never longer than REPR_CHARS.
 *
 * What does not fit is left out, with an ellipsis where it is missing. What cannot be seen is escaped or a
 * question mark. Knows no memory but its own.
 */
#ifndef ZOND_PYTHON_REPR_H
#define ZOND_PYTHON_REPR_H

#include "base/buf.h"

/* Characters of a value; what is said of its length may follow. */
#define REPR_CHARS 80
/* Digits of an int, of INT_DIGIT_BITS each. */
#define REPR_DIGITS_MAX 8

/* chars counts the characters of out so far; full: there is an ellipsis, and nothing more is taken. */
struct repr {
    struct buf *out;
    size_t chars;
    bool full;
};

/* The rest is left out. */
void repr_overflow(struct repr *r);
/* Appends n characters, which stay together. */
void repr_chars(struct repr *r, const char *utf8, size_t n);
/* Text, cut where it has to be; what is no UTF-8 or cannot be seen is a question mark. */
void repr_put(struct repr *r, const char *text);
__attribute__((format(printf, 2, 3))) void repr_format(struct repr *r, const char *fmt, ...);
/* A character within quotes. bytes: it stands for a byte. */
void repr_quoted(struct repr *r, uint32_t c, char quote, bool bytes);
/* How long it is, behind what is not shown whole. Of the value itself (depth 0) it is never cut. */
void repr_length(struct repr *r, uint64_t length, size_t depth);
/* n <= REPR_DIGITS_MAX digits of base 2^30, lowest first, in decimal. They are used up. */
void repr_decimal(struct repr *r, uint32_t *digits, size_t n);
/* The shortest text that is the same double, in the form of Python's repr. plain: a whole number has no ".0".
 */
void repr_double(struct repr *r, double x, bool plain);

#endif
