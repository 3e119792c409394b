/* zond lines: lines in their source. */
#include "cli/verbs.h"
#include "cli/view.h"

int verb_lines(const struct options *o)
{
    return view_main(o, report_lines);
}
