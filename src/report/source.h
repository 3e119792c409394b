/* source: lines of source files as they are on disk now. The paths come from a recording and are not
 * trusted: only regular files are read, up to SOURCE_MAX bytes.
 */
#ifndef ZOND_REPORT_SOURCE_H
#define ZOND_REPORT_SOURCE_H

#include "base/base.h"

/* A larger file is treated as unreadable: no source that people write is near it. */
#define SOURCE_MAX (16u << 20)

/* A file's text. Invariant: starts[i] is where line i + 1 begins, starts[count] the end of the text. */
struct source {
    char *text;
    size_t *starts;
    size_t count;
    uint64_t changed_ns; /* last change, ns since 1970 */
};

/* 0, or a negative errno; release also after a failure. */
int source_open(struct source *s, const char *path);
void source_release(struct source *s);

/* Line `line` (from 1) without blanks at its end, or NULL when there is none. */
const char *source_line(const struct source *s, uint32_t line, size_t *len);

#endif
