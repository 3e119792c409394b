/* rest: a write that our stop broke off is finished by the thread itself.
 *
 * A write to a pipe, a socket or a terminal that has written a part returns the short count when its thread
 * is stopped, and programs that do not look at the count lose what is left. So the thread does the call once
 * more, for what is left, traced until that returns; then it gets the sum. What ends the second call ends the
 * write as it would have ended the first: a signal, an error, SIGPIPE. Should zond be killed in between, the
 * program gets the count of the second call alone. The same holds for `send`, and for `recv` with
 * MSG_WAITALL.
 */
#ifndef ZOND_OS_REST_H
#define ZOND_OS_REST_H

#include <sys/types.h>

#include "base/base.h"

/* buffer, count: what the program asked for; of that `done` bytes were written by the first call. */
struct rest {
    uint64_t buffer, count, done;
    bool entered; /* the second call has begun */
};

/* The thread stands in the stop that our interrupt made, in one of its own system calls. True: that is such a
 * write, and the thread is on its way to do the rest. */
bool rest_begin(pid_t tid, struct rest *r);
/* It stands again, by `cause`, the status of its wait. True: its registers are what the program may see, and
 * it can be let go; false: it goes on writing. */
bool rest_step(pid_t tid, struct rest *r, int cause);

#endif
