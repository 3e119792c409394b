/* io: see io.h. */
#include "record/io.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

ssize_t io_read(int fd, uint8_t *to, size_t len)
{
    for (;;) {
        ssize_t n = read(fd, to, len);
        if (n >= 0)
            return n;
        if (errno == EAGAIN)
            poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1);
        else if (errno != EINTR)
            return -errno;
    }
}

int io_write(int fd, const uint8_t *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);
        if (n >= 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}
