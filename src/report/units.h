/* units: numbers as people read them. Every function writes at most UNITS_MAX bytes and returns out. */
#ifndef ZOND_REPORT_UNITS_H
#define ZOND_REPORT_UNITS_H

#include "base/base.h"

#define UNITS_MAX 32

/* A time in the unit that suits it: "0.4 ms", "34.1 ms", "2.31 s", "3 min 12 s", "2 h 05 min". */
const char *units_time(char out[static UNITS_MAX], uint64_t ns);
/* A time in a column of which the largest is max_ns: one unit and one number of decimals for all. */
const char *units_time_like(char out[static UNITS_MAX], uint64_t ns, uint64_t max_ns);
/* "61.2%"; "-" when the whole is 0. */
const char *units_percent(char out[static UNITS_MAX], uint64_t part, uint64_t whole);
/* "1,234,567". */
const char *units_count(char out[static UNITS_MAX], uint64_t n);
/* "9.2 MB". */
const char *units_bytes(char out[static UNITS_MAX], uint64_t n);

/* Splits 1000 per mille among n parts by their size, so that the rounded shares sum to exactly 1000
 * (largest remainders; ties to the first). All 0 when the parts are. */
void units_shares(const uint64_t *parts, unsigned *per_mille, size_t n);

#endif
