/* place: where a recording goes: a file, pieces of a file, or standard output. Opens it, keeps other zonds
 * from writing to it, and names the pieces.
 */
#ifndef ZOND_CLI_PLACE_H
#define ZOND_CLI_PLACE_H

#include <limits.h>
#include <signal.h>

#include "cli/options.h"

/* path: NAME.zond, or NAME.TIME.zond of the present piece; "-" is standard output. stem: NAME, of pieces. */
struct place {
    const struct options *o;
    char path[PATH_MAX];
    char stem[PATH_MAX];
    uint64_t began_ns; /* of the present piece */
    unsigned pieces;   /* 0: the recording is in one */
    bool made;         /* path did not exist before */
    bool regular;      /* a file, not a pipe or a device */
    bool told;         /* that another piece cannot be begun */
};

/* May the recording go where o says? Before anything is started: 0, or EXIT_USAGE after a sentence.
 * reads_again: it will be read as soon as it is made. */
int place_check(const struct options *o, bool reads_again);

/* Does the recording go to standard output, under whatever name? */
bool place_is_stdout(const struct options *o);

/* Opens it for writing; what is there stays as it is until place_clear. name: what to call the recording
 * where o does not say. The mask is in force while a pipe waits for its reader. 0, or the exit status after a
 * sentence. */
int place_open(struct place *p, const struct options *o, const char *name, const sigset_t *mask, int *fd);
/* Drops what was there before. 0 or a negative errno. */
int place_clear(const struct place *p, int fd);
/* Nothing will be recorded: leaves no trace, and what was there before as it was. Takes fd. */
void place_drop(const struct place *p, int fd);

/* Is it time for another piece, `written` bytes being in the present one? */
bool place_is_due(const struct place *p, uint64_t now_ns, size_t written);
/* Begins another piece and removes the oldest beyond --rotate-keep. False after a sentence: go on as before.
 */
bool place_next(struct place *p, uint64_t now_ns, int *fd);

/* Can it be read again, as one recording? */
bool place_is_readable(const struct place *p);

/* The last line on stderr: where the recording is. */
void place_say(const struct place *p);

/* Is somebody writing to this file? */
bool place_is_growing(int fd);

#endif
