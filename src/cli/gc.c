/* zond gc: garbage collections, and what triggers them. */
#include "cli/verbs.h"
#include "cli/view.h"

int verb_gc(const struct options *o)
{
    return view_main(o, report_collections);
}
