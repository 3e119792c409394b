/* zond attach: record a process that runs already, then the summary. */
#include <stdio.h>

#include "cli/record.h"
#include "cli/verbs.h"
#include "cli/view.h"

int verb_attach(const struct options *o)
{
    struct place place;
    pid_t pid;
    int status = options_pid(o, &pid);
    if (!status)
        status = record_process(o, pid, &place);
    if (status)
        return status;
    if (place_is_readable(&place) && (o->json || !o->quiet))
        status = view_file(o, place.path, stdout, report_summary);
    place_say(&place);
    return status;
}
