/* io: read and write that go on after a signal and wait where they would block. */
#ifndef ZOND_RECORD_IO_H
#define ZOND_RECORD_IO_H

#include <sys/types.h>

#include "base/base.h"

/* Up to len bytes, at least one: their number, 0 at the end of the input, or a negative errno. */
ssize_t io_read(int fd, uint8_t *to, size_t len);
/* All of them: 0 or a negative errno. */
int io_write(int fd, const uint8_t *bytes, size_t len);

#endif
