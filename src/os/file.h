/* file: opening what is to be a regular file, of a name that may lead to anything: a pipe, a device. */
#ifndef ZOND_OS_FILE_H
#define ZOND_OS_FILE_H

#include <sys/stat.h>

/* Opens it for reading, and never waits. flags: O_NOFOLLOW or 0. st: NULL, or what it is. A descriptor or a
 * negative errno; -ENOENT also for what is no regular file. */
int file_open(const char *path, int flags, struct stat *st);

#endif
