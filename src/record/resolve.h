/* resolve: a recording once more, with what is known now of its native frames.
 *
 * Names and lines that were not there when it was made can be found later, on another machine, by the places
 * that it has of native frames. A frame becomes one or, where functions were inlined, several. All else is
 * copied as it is.
 */
#ifndef ZOND_RECORD_RESOLVE_H
#define ZOND_RECORD_RESOLVE_H

#include "record/reader.h"

/* A function at a place. Strings are copied at once. line 0, file "": not known. */
struct rec_resolved {
    const char *function, *file;
    uint32_t line;
};

/* Frames that one place can stand for. */
#define REC_RESOLVED_MAX 64

/* What is at an address of a module, innermost first, at most REC_RESOLVED_MAX: how many; 0: the frame stays
 * as it is. */
typedef size_t rec_resolve_fn(void *ctx, const char *path, const char *build_id, uint64_t address,
                              struct rec_resolved *out);

/* Copies a recording that was opened and not read yet into the file `to`, which stays the caller's. -ENOTSUP:
 * a merged one. A recording that is cut or damaged becomes one that is cut there. */
int rec_resolve(struct rec_reader *r, int to, rec_resolve_fn *resolve, void *ctx);

#endif
