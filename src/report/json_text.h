/* json_text: strings of a recording as JSON. Text that is not UTF-8 gets U+FFFD for each byte that does not
 * fit. Each returns a new reference, or NULL without memory.
 */
#ifndef ZOND_REPORT_JSON_TEXT_H
#define ZOND_REPORT_JSON_TEXT_H

#include <jansson.h>
#include <string.h>

#include "record/reader.h"

json_t *json_text(const char *s, size_t len);
/* A string of the reader's table. */
json_t *json_text_of(const struct rec_reader *r, uint32_t id);
/* The words of a command, each ended by a NUL. */
json_t *json_words(const char *args, size_t len);

#endif
