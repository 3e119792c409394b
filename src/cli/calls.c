/* zond calls: functions, callers and callees. */
#include "cli/verbs.h"
#include "cli/view.h"

int verb_calls(const struct options *o)
{
    return view_main(o, report_calls);
}
