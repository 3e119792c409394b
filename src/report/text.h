/* text: foreign strings made fit for a terminal. Names, paths and source lines come from programs that are
 * not trusted: what is not a printable character is escaped, so that none of them can drive the terminal,
 * reorder a line or break a table. Needs a UTF-8 LC_CTYPE for non-ASCII (term_open sees to it).
 */
#ifndef ZOND_REPORT_TEXT_H
#define ZOND_REPORT_TEXT_H

#include "base/base.h"
#include "base/buf.h"

/* Where text that is too long loses characters. */
enum text_cut { TEXT_CUT_END, TEXT_CUT_MIDDLE, TEXT_CUT_START };

/* What text may hold beyond this is left out before anything else is done with it. */
#define TEXT_MAX 4096

/* Appends s, escaped: \n, \x1b, \u202e; a tab becomes four spaces. unicode: false escapes all that is not
 * ASCII. Returns the columns that it takes. */
int text_clean(struct buf *out, const char *s, size_t len, bool unicode);

/* Appends text that text_clean made, cut to at most `width` columns with an ellipsis where something is
 * missing. Returns the columns taken. */
int text_fit(struct buf *out, const char *clean, size_t len, int width, enum text_cut cut, bool unicode);

/* Columns of text that text_clean made. */
int text_width(const char *clean, size_t len);

#endif
