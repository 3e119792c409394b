/* postmortem: one look at what a core holds, as a recording of one look at a process is.
 *
 * All threads stand still, so nothing is torn, waited for or looked at again: the target's own parts are
 * used, without the loop.
 */
#ifndef ZOND_SAMPLE_POSTMORTEM_H
#define ZOND_SAMPLE_POSTMORTEM_H

#include "os/core.h"
#include "python/find.h"
#include "record/locals.h"
#include "record/writer.h"

/* found: why there is no Python, if that is so; version: as far as it is known. */
struct postmortem {
    enum py_found found;
    char version[PY_VERSION_MAX];
};

/* native: also what is not Python. locals: NULL, or where local variables go. The writer stays open. What
 * could not be seen, and why, is in the recording. 0 or a negative errno. */
int postmortem_look(struct core *core, bool native, struct rec_locals *locals, struct rec_writer *writer,
                    struct postmortem *out);

#endif
