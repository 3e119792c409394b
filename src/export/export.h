/* export: a recording in the formats of other tools. One format a file; each streams the recording once
 * through its reader and writes to a FILE that the caller owns.
 */
#ifndef ZOND_EXPORT_EXPORT_H
#define ZOND_EXPORT_EXPORT_H

#include <stdio.h>

#include "analysis/profile.h"

struct export_options {
    struct profile_filter filter;
    enum metric metric; /* what a weight is */
    bool lines;         /* a frame is a line, not a function */
    bool per_process;   /* keep processes apart: a root frame for each */
    const char *name;   /* of the recording, for formats that hold one; may be NULL */
};

struct export_format {
    const char *name;
    /* Runs the reader, which has not run yet. 0, -ENOMEM, -EIO when the FILE did not take it, or what
     * stopped the reader; a recording that is cut is exported as far as it goes. */
    int (*write)(FILE *to, struct rec_reader *r, const struct export_options *o);
    bool binary; /* not for a terminal */
};

/* In the order of the words of --format. */
extern const struct export_format export_formats[];
extern const size_t export_format_count;

#endif
