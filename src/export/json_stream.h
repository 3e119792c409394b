/* json_stream: strings and numbers of JSON that is written as a stream, in formats that grow with the
 * recording. */
#ifndef ZOND_EXPORT_JSON_STREAM_H
#define ZOND_EXPORT_JSON_STREAM_H

#include <stdio.h>

#include "base/base.h"

/* The string in quotes. Bytes that are not UTF-8 become U+FFFD; '<' is escaped, so that the text can stand
 * inside a script element. */
void json_put_text(FILE *to, const char *s, size_t len);

/* Numbers. printf takes several times as long, and an hour of samples has ten million of them. */
void json_put_uint(FILE *to, uint64_t v);
/* Nanoseconds as milliseconds, exactly. */
void json_put_millis(FILE *to, uint64_t ns);

#endif
