/* Two profiles side by side, as text or as one JSON object. Errors, widths and characters as in report.h. */
#ifndef ZOND_REPORT_DIFF_H
#define ZOND_REPORT_DIFF_H

#include "analysis/diff.h"
#include "report/report.h"

/* profiles: those of the diff, A and B; paths: where their recordings are. */
struct diff_view {
    const struct diff *diff;
    struct profile *profiles[DIFF_SIDES];
    const char *paths[DIFF_SIDES];
    bool shares; /* the diff compares shares of the whole, not seconds */
};

int report_diff(FILE *to, const struct diff_view *view, const struct report_style *style);
int report_diff_json(FILE *to, const struct diff_view *view, const struct report_style *style);

#endif
