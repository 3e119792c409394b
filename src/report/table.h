/* table: aligned columns that adapt to the width of the terminal: a column takes what its cells need; when
 * that is too much, the columns that may be cut are cut, then the least important columns are left out.
 */
#ifndef ZOND_REPORT_TABLE_H
#define ZOND_REPORT_TABLE_H

#include "report/term.h"

enum table_kind { TABLE_LEFT, TABLE_RIGHT, TABLE_BAR };

struct table_column {
    const char *title;
    enum table_kind kind;
    enum text_cut cut; /* how a cell loses characters */
    int min;           /* may be cut to so many columns, further only if all else fails; 0: never cut */
    int drop;          /* 0: always there; else left out if need be, the highest number first */
};

#define TABLE_MAX_COLUMNS 12

struct table;

/* columns outlive the table; n <= TABLE_MAX_COLUMNS. NULL: no memory; the calls below accept that. */
struct table *table_new(struct term *t, const struct table_column *columns, size_t n);
void table_free(struct table *table);

/* The next cell, row by row from left to right: our own text, text to be cleaned, a bar of share 0 to 1. */
__attribute__((format(printf, 3, 4))) void table_cell(struct table *table, enum ink ink, const char *fmt,
                                                      ...);
void table_foreign(struct table *table, enum ink ink, const char *s, size_t len);
void table_bar(struct table *table, enum ink ink, double share);

/* A line under the row before, across all columns: foreign text, indented, cut to fit. It makes no column
 * wider. */
void table_line(struct table *table, enum ink ink, const char *s, size_t len);

/* Prints the titles (if any column has one) and the rows. 0 or -ENOMEM, also of an earlier cell. */
int table_print(struct table *table);

#endif
