/* table: see table.h. Cells are kept as clean text in one buffer until all are known, as widths depend on
 * all of them.
 */
#include "report/table.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

#define GAP 2
#define BAR_WIDTH 10
/* What a column that may be cut keeps when there is nothing left to leave out. */
#define LEAST 8
/* Text of all cells: far more than a screen; beyond it the view fails with -EFBIG. */
#define TEXT_LIMIT (64u << 20)

struct cell {
    size_t start;
    size_t len;
    int width;
    enum ink ink;
    double share;
};

/* A line under the first `after` rows. */
struct line {
    size_t after, start, len;
    enum ink ink;
};

/* Invariant: count / n rows are complete; a partial row is not printed. lines are in the order of rows. */
struct table {
    struct term *term;
    const struct table_column *columns;
    size_t n;
    struct cell *cells;
    size_t count;
    size_t cap;
    struct line *lines;
    size_t line_count;
    size_t line_cap;
    struct buf text;
    int error;
};

struct table *table_new(struct term *t, const struct table_column *columns, size_t n)
{
    struct table *table = calloc(1, sizeof(*table));
    if (!table)
        return NULL;
    *table = (struct table){.term = t, .columns = columns, .n = n};
    buf_init(&table->text, TEXT_LIMIT);
    return table;
}

void table_free(struct table *table)
{
    if (!table)
        return;
    buf_release(&table->text);
    free(table->cells);
    free(table->lines);
    free(table);
}

/* A new cell at the end of the text, or NULL. */
static struct cell *add_cell(struct table *table, enum ink ink)
{
    if (!table || table->error)
        return NULL;
    struct cell *cells = list_room(table->cells, &table->cap, table->count, sizeof(*cells));
    if (!cells) {
        table->error = -ENOMEM;
        return NULL;
    }
    table->cells = cells;
    struct cell *cell = &table->cells[table->count++];
    *cell = (struct cell){.start = table->text.len, .ink = ink};
    return cell;
}

void table_foreign(struct table *table, enum ink ink, const char *s, size_t len)
{
    struct cell *cell = add_cell(table, ink);
    if (!cell)
        return;
    cell->width = text_clean(&table->text, s, len, table->term->style.unicode);
    cell->len = table->text.len - cell->start;
}

void table_cell(struct table *table, enum ink ink, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    table_foreign(table, ink, text, strlen(text));
}

void table_bar(struct table *table, enum ink ink, double share)
{
    struct cell *cell = add_cell(table, ink);
    if (!cell)
        return;
    cell->width = BAR_WIDTH;
    cell->share = share;
}

static size_t row_count(const struct table *table)
{
    return table->n ? table->count / table->n : 0;
}

void table_line(struct table *table, enum ink ink, const char *s, size_t len)
{
    if (!table || table->error)
        return;
    struct line *lines = list_room(table->lines, &table->line_cap, table->line_count, sizeof(*lines));
    if (!lines) {
        table->error = -ENOMEM;
        return;
    }
    table->lines = lines;
    struct line *line = &table->lines[table->line_count++];
    *line = (struct line){.after = row_count(table), .start = table->text.len, .ink = ink};
    text_clean(&table->text, s, len, table->term->style.unicode);
    line->len = table->text.len - line->start;
}

/* A column is as wide as its widest cell and its title; -1: it is left out. */
static void natural_widths(const struct table *table, int *widths)
{
    for (size_t c = 0; c < table->n; c++)
        widths[c] = (int)strlen(table->columns[c].title);
    for (size_t i = 0; i < row_count(table) * table->n; i++) {
        int *w = &widths[i % table->n];
        if (table->cells[i].width > *w)
            *w = table->cells[i].width;
    }
}

static int total_width(const struct table *table, const int *widths)
{
    int total = 0;
    for (size_t c = 0; c < table->n; c++)
        total += widths[c] < 0 ? 0 : widths[c] + GAP;
    return total;
}

/* Takes columns from the widest cell that may be cut, until all fits or each is at its minimum, or at `floor`
 * where that is less. */
static bool shrink(const struct table *table, int *widths, int floor)
{
    int limit = table->term->style.width;
    for (int over = total_width(table, widths) - limit; over > 0; over--) {
        int widest = -1;
        for (size_t c = 0; c < table->n; c++) {
            int min = table->columns[c].min < floor ? table->columns[c].min : floor;
            if (min && widths[c] > min && (widest < 0 || widths[c] > widths[widest]))
                widest = (int)c;
        }
        if (widest < 0)
            return false;
        widths[widest]--;
    }
    return true;
}

/* Leaves out the least important column that is there; false: all that are there have to stay. */
static bool drop_one(const struct table *table, bool *dropped)
{
    int found = -1;
    for (size_t c = 0; c < table->n; c++) {
        int drop = table->columns[c].drop;
        if (drop && !dropped[c] && (found < 0 || drop > table->columns[found].drop))
            found = (int)c;
    }
    if (found >= 0)
        dropped[found] = true;
    return found >= 0;
}

static void lay_out(const struct table *table, int *widths)
{
    bool dropped[TABLE_MAX_COLUMNS] = {false};
    bool fits;
    do {
        natural_widths(table, widths);
        for (size_t c = 0; c < table->n; c++) {
            if (dropped[c])
                widths[c] = -1;
        }
        fits = shrink(table, widths, INT_MAX);
    } while (!fits && drop_one(table, dropped));
    if (!fits)
        shrink(table, widths, LEAST);
}

/* One more than the last column of a row that shows something: nothing is padded after it. */
static size_t row_end(const struct table *table, const struct cell *row, const int *widths)
{
    size_t end = 0;
    for (size_t c = 0; c < table->n; c++) {
        bool bar = table->columns[c].kind == TABLE_BAR;
        if (widths[c] >= 0 && (bar ? row[c].share > 0 : row[c].width > 0))
            end = c + 1;
    }
    return end;
}

static size_t titles_end(const struct table *table, const int *widths)
{
    size_t end = 0;
    for (size_t c = 0; c < table->n; c++) {
        if (widths[c] >= 0 && *table->columns[c].title)
            end = c + 1;
    }
    return end;
}

static void print_cell(struct table *table, const struct cell *cell, size_t column, int width, bool last)
{
    const struct table_column *col = &table->columns[column];
    struct term *t = table->term;
    term_spaces(t, GAP);
    if (col->kind == TABLE_BAR) {
        term_bar(t, cell->ink, cell->share, width);
        return;
    }
    const char *text = (char *)table->text.data + cell->start;
    buf_clear(&t->scratch);
    int used = cell->len ? text_fit(&t->scratch, text, cell->len, width, col->cut, t->style.unicode) : 0;
    if (col->kind == TABLE_RIGHT)
        term_spaces(t, width - used);
    term_clean(t, cell->ink, (char *)t->scratch.data, t->scratch.len);
    if (col->kind == TABLE_LEFT && !last)
        term_spaces(t, width - used);
}

static void print_titles(struct table *table, const int *widths)
{
    size_t end = titles_end(table, widths);
    for (size_t c = 0; c < end; c++) {
        const struct table_column *col = &table->columns[c];
        int pad = widths[c] - (int)strlen(col->title);
        if (widths[c] < 0)
            continue;
        term_spaces(table->term, GAP + (col->kind == TABLE_RIGHT ? pad : 0));
        term_put(table->term, INK_DIM, "%.*s", widths[c], col->title);
        if (col->kind != TABLE_RIGHT && c + 1 < end)
            term_spaces(table->term, pad);
    }
    if (end)
        term_newline(table->term);
}

static void print_row(struct table *table, const struct cell *row, const int *widths)
{
    size_t end = row_end(table, row, widths);
    for (size_t c = 0; c < end; c++) {
        if (widths[c] >= 0)
            print_cell(table, &row[c], c, widths[c], c + 1 == end);
    }
    term_newline(table->term);
}

/* Prints the lines that stand under the first `rows` rows, from the line at *next on. */
static void print_lines(struct table *table, size_t rows, const int *widths, size_t *next)
{
    struct term *t = table->term;
    int indent = 3 * GAP + (widths[0] > 0 ? widths[0] : 0);
    for (; *next < table->line_count && table->lines[*next].after == rows; ++*next) {
        const struct line *line = &table->lines[*next];
        buf_clear(&t->scratch);
        term_spaces(t, indent);
        text_fit(&t->scratch, (char *)table->text.data + line->start, line->len, t->style.width - indent,
                 TEXT_CUT_END, t->style.unicode);
        term_clean(t, line->ink, (char *)t->scratch.data, t->scratch.len);
        term_newline(t);
    }
}

int table_print(struct table *table)
{
    int widths[TABLE_MAX_COLUMNS];
    if (!table)
        return -ENOMEM;
    if (table->error || table->text.error)
        return table->error ? table->error : table->text.error;
    lay_out(table, widths);
    print_titles(table, widths);
    size_t next = 0;
    for (size_t row = 0; row < row_count(table); row++) {
        print_row(table, &table->cells[row * table->n], widths);
        print_lines(table, row + 1, widths, &next);
    }
    return 0;
}
