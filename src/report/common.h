/* common: what the text views share. */
#ifndef ZOND_REPORT_COMMON_H
#define ZOND_REPORT_COMMON_H

#include "analysis/profile.h"
#include "report/table.h"
#include "report/term.h"

/* "wall time", "CPU time", "time holding the GIL", "time in garbage collection". */
const char *metric_name(enum metric metric);

/* What a kind of frame is called, in JSON and where there is little room. */
struct kind_text {
    const char *name, *tag;
};
struct kind_text common_kind(uint8_t kind);

/* What every view starts with when it applies: that the recording is cut or damaged, that there is nothing
 * to show and why. False: there is nothing more to say. */
bool common_opening(struct term *t, struct profile *p);

/* Only the first of these: nothing for a whole recording. */
void common_broken(struct term *t, const struct profile *p);

/* Parts of a merged recording that are not whole: cut, and damaged by then or since. */
void common_broken_parts(const struct rec_reader *r, uint64_t *cut, uint64_t *corrupt);

/* "Python 3.11.7", "Pythons: several" or nothing, not cleaned. */
#define COMMON_PYTHON_MAX 48
void common_python(char out[static COMMON_PYTHON_MAX], const struct rec_reader *r);

/* The sentences that the sampler attached to losses, one a paragraph; label as of term_paragraph. */
void common_loss_details(struct term *t, const struct profile *p, const char *label);

/* The arguments of a command, each ended by a NUL, as people would type them, appended as clean text. */
void common_command(struct buf *out, const struct term *t, const char *args, size_t len);

/* A cell with the name of a function, and one with its place: file:line, by common_short_path. line 0: a
 * file only. */
void common_function_cell(struct table *table, const struct profile *p, uint32_t code);
void common_place_cell(struct table *table, const struct term *t, const struct profile *p, uint32_t code,
                       uint32_t line);

/* A cell with the text of a line in its file as it is now, without indentation; else the name of the
 * function. */
void common_source_cell(struct table *table, const struct profile *p, uint32_t code, uint32_t line);

/* A path without style.here. */
const char *common_path(const struct term *t, const char *path, size_t *len);
/* The same, and without the directory of the standard library or of installed packages. */
const char *common_short_path(const struct term *t, const char *path, size_t *len);

/* Cells: a time in the unit of the largest of its column, and its share of the whole. */
void common_time_cell(struct table *table, uint64_t ns, uint64_t max_ns);
void common_share_cell(struct table *table, uint64_t part, uint64_t whole);

#endif
