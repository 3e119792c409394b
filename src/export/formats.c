/* formats: the table of export.h. */
#include "export/formats.h"

#include "export/export.h"

const struct export_format export_formats[] = {
    {"collapsed", export_collapsed, false}, {"speedscope", export_speedscope, false},
    {"pprof", export_pprof, true},          {"otlp", export_otlp, true},
    {"gecko", export_gecko, false},         {"perfetto", export_perfetto, true},
    {"pstats", export_pstats, true},        {"csv", export_csv, false},
    {"arrow", export_arrow, true},
};
const size_t export_format_count = ARRAY_LEN(export_formats);
