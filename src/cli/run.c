/* zond run: record a command, then the summary on stderr (stdout is the command's), and end as it did. */
#include <limits.h>
#include <stdio.h>

#include "cli/record.h"
#include "cli/verbs.h"
#include "cli/view.h"

int verb_run(const struct options *o)
{
    char path[PATH_MAX];
    struct child_end end;
    if (!o->word_count)
        return usage_error(o->verb, "it needs a command, a script, -m MODULE or -c CODE");
    int status = record_command(o, path, sizeof(path), &end);
    if (status)
        return status;
    bool readable = record_is_file(path);
    if (readable && o->json)
        view_file(o, path, stdout, report_summary);
    else if (readable && !o->quiet)
        view_file(o, path, stderr, report_summary);
    record_say_where(path);
    fflush(NULL);
    child_exit_as(&end);
}
