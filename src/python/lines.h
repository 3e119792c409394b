/* lines: from an instruction to its place in the source, by the line tables of each version.
 *
 * Works on a copy of the table; the table is not trusted.
 */
#ifndef ZOND_PYTHON_LINES_H
#define ZOND_PYTHON_LINES_H

#include "python/layout.h"

/* A place in the source. 0 = unknown. Columns count bytes from 1; the end is exclusive. */
struct py_place {
    uint32_t line, end_line;
    uint32_t column, end_column;
};

/* `at` is the offset of the instruction in bytes from the start of the bytecode. An instruction that the
 * table does not cover gets the function's first line without columns. */
struct py_place py_place_of(enum lines_kind kind, const uint8_t *table, size_t len, uint32_t first_line,
                            uint32_t at);

#endif
