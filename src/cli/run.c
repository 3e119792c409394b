/* zond run: record a command, then the summary on stderr (stdout is the command's), and end as it did. */
#include <stdio.h>

#include "cli/record.h"
#include "cli/verbs.h"
#include "cli/view.h"

int verb_run(const struct options *o)
{
    struct place place;
    struct child_end end;
    if (!o->word_count)
        return usage_error(o->verb, "it needs a command, a script, -m MODULE or -c CODE");
    int status = record_command(o, &place, &end);
    if (status)
        return status;
    bool readable = place_is_readable(&place);
    if (readable && o->json)
        view_file(o, place.path, stdout, report_summary);
    else if (readable && !o->quiet)
        view_file(o, place.path, stderr, report_summary);
    place_say(&place);
    fflush(NULL);
    child_exit_as(&end);
}
