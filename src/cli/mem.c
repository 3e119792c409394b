/* zond mem: who allocated memory, and who held it. */
#include "cli/verbs.h"
#include "cli/view.h"

int verb_mem(const struct options *o)
{
    return view_main(o, report_memory);
}
