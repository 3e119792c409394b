/* gzip: see gzip.h. */
#include "export/gzip.h"

#include <errno.h>

#define GZIP_WINDOW (15 + 16) /* the largest window; 16: with a gzip header */
#define GZIP_MEMORY 8

int gzip_init(struct gzip *z, FILE *to)
{
    *z = (struct gzip){.to = to};
    int rc = deflateInit2(&z->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
                          Z_DEFAULT_STRATEGY);
    return rc == Z_OK ? 0 : -ENOMEM;
}

void gzip_release(struct gzip *z)
{
    deflateEnd(&z->stream);
}

static void compress_in(struct gzip *z, int flush)
{
    unsigned char out[65536];
    do {
        z->stream.next_out = out;
        z->stream.avail_out = sizeof(out);
        deflate(&z->stream, flush);
        size_t n = sizeof(out) - z->stream.avail_out;
        if (n && fwrite(out, 1, n, z->to) != n)
            z->error = -EIO;
    } while (z->stream.avail_out == 0 && !z->error);
}

void gzip_put(struct gzip *z, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    while (len && !z->error) {
        size_t n = min_u64(len, 1u << 30);       /* avail_in is 32 bits wide */
        z->stream.next_in = (unsigned char *)at; /* zlib only reads it */
        z->stream.avail_in = (uInt)n;
        compress_in(z, Z_NO_FLUSH);
        at += n;
        len -= n;
    }
}

int gzip_end(struct gzip *z)
{
    if (!z->error)
        compress_in(z, Z_FINISH);
    return z->error;
}
