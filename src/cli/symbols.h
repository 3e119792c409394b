/* symbols: a recording with the names of its native code looked up once more (--symbols). */
#ifndef ZOND_CLI_SYMBOLS_H
#define ZOND_CLI_SYMBOLS_H

#include "cli/options.h"
#include "record/reader.h"

/* The recording `path` that r has opened, with what --symbols finds, in a file that is nowhere: its
 * descriptor. A negative errno after a sentence. r is read by that. */
int symbols_add(const struct options *o, const char *path, struct rec_reader *r);

#endif
