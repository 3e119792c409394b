/* text: Python strings and bytes out of another process, as UTF-8. */
#ifndef ZOND_PYTHON_TEXT_H
#define ZOND_PYTHON_TEXT_H

#include "base/buf.h"
#include "python/find.h"

/* Longer strings are cut at this many bytes. */
#define PY_TEXT_MAX 4096
/* Larger bytes objects are refused (-EFBIG): real line tables and bytecode stay far below. */
#define PY_BYTES_MAX (16u << 20)

/* Appends the str at `object` to out. Surrogates that stand for undecodable bytes of a file name
 * (surrogateescape) become those bytes again. -EBADMSG when it is no compact string. */
int py_read_str(struct py_runtime *rt, uint64_t object, struct buf *out);

/* Replaces *out by the contents of the bytes object; *out is freed by the caller, NULL on error. */
int py_read_bytes(struct py_runtime *rt, uint64_t object, uint8_t **out, size_t *len);

#endif
