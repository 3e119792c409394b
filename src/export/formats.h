/* formats: one writer a format, as export_format.write. */
#ifndef ZOND_EXPORT_FORMATS_H
#define ZOND_EXPORT_FORMATS_H

#include "export/export.h"

int export_collapsed(FILE *to, struct rec_reader *r, const struct export_options *o);
int export_speedscope(FILE *to, struct rec_reader *r, const struct export_options *o);
int export_pprof(FILE *to, struct rec_reader *r, const struct export_options *o);
int export_otlp(FILE *to, struct rec_reader *r, const struct export_options *o);
int export_gecko(FILE *to, struct rec_reader *r, const struct export_options *o);
int export_perfetto(FILE *to, struct rec_reader *r, const struct export_options *o);
int export_pstats(FILE *to, struct rec_reader *r, const struct export_options *o);
int export_csv(FILE *to, struct rec_reader *r, const struct export_options *o);
int export_arrow(FILE *to, struct rec_reader *r, const struct export_options *o);

#endif
