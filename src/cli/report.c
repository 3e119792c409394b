/* zond report: the summary. */
#include "cli/verbs.h"
#include "cli/view.h"

int verb_report(const struct options *o)
{
    return view_main(o, report_summary);
}
