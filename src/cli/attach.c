/* zond attach: record a process that runs already, then the summary. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/record.h"
#include "cli/verbs.h"
#include "cli/view.h"

int verb_attach(const struct options *o)
{
    struct place place;
    char *end;
    if (o->word_count != 1)
        return usage_error(o->verb, "it needs one PID");
    long pid = strtol(o->words[0], &end, 10);
    if (*end || end == o->words[0] || pid <= 0 || pid > INT_MAX)
        return usage_error(o->verb, "'%s' is not a PID", o->words[0]);
    int status = record_process(o, (pid_t)pid, &place);
    if (status)
        return status;
    if (place_is_readable(&place) && (o->json || !o->quiet))
        status = view_file(o, place.path, stdout, report_summary);
    place_say(&place);
    return status;
}
