/* gzip: a FILE that takes what was written to it, compressed. */
#ifndef ZOND_EXPORT_GZIP_H
#define ZOND_EXPORT_GZIP_H

#include <stdio.h>
#include <zlib.h>

#include "base/buf.h"

/* The FILE is the caller's. error: the first, negative errno; later writes do nothing. */
struct gzip {
    FILE *to;
    z_stream stream;
    int error;
};

int gzip_init(struct gzip *z, FILE *to);
/* Frees without an end of the file: gzip_end comes before it. */
void gzip_release(struct gzip *z);

void gzip_put(struct gzip *z, const void *bytes, size_t len);
/* Ends the file; returns the first error. */
int gzip_end(struct gzip *z);

#endif
