/* json_text: strings of JSON that is written as a stream, in formats that grow with the recording. */
#ifndef ZOND_EXPORT_JSON_TEXT_H
#define ZOND_EXPORT_JSON_TEXT_H

#include <stddef.h>
#include <stdio.h>

/* The string in quotes. Bytes that are not UTF-8 become U+FFFD; '<' is escaped, so that the text can stand
 * inside a script element. */
void json_text(FILE *to, const char *s, size_t len);

#endif
