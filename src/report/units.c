/* units: see units.h. */
#include "report/units.h"

#include <stdio.h>
#include <string.h>

const char *units_time(char out[static UNITS_MAX], uint64_t ns)
{
    unsigned long long s = ns / NS_PER_S;
    if (s >= 3600)
        snprintf(out, UNITS_MAX, "%llu h %02llu min", s / 3600, s % 3600 / 60);
    else if (s >= 100)
        snprintf(out, UNITS_MAX, "%llu min %02llu s", s / 60, s % 60);
    else
        units_time_like(out, ns, ns);
    return out;
}

const char *units_time_like(char out[static UNITS_MAX], uint64_t ns, uint64_t max_ns)
{
    if (max_ns >= NS_PER_S)
        snprintf(out, UNITS_MAX, "%.2f s", (double)ns / NS_PER_S);
    else
        snprintf(out, UNITS_MAX, "%.1f ms", (double)ns / NS_PER_MS);
    return out;
}

const char *units_percent(char out[static UNITS_MAX], uint64_t part, uint64_t whole)
{
    if (whole)
        snprintf(out, UNITS_MAX, "%.1f%%", 100.0 * (double)part / (double)whole);
    else
        snprintf(out, UNITS_MAX, "-");
    return out;
}

const char *units_count(char out[static UNITS_MAX], uint64_t n)
{
    char digits[UNITS_MAX];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
    char *to = out;
    for (int i = 0; i < len; i++) {
        *to++ = digits[i];
        if (i + 1 < len && (len - i - 1) % 3 == 0)
            *to++ = ',';
    }
    *to = 0;
    return out;
}

const char *units_bytes(char out[static UNITS_MAX], uint64_t n)
{
    static const char *const names[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double v = (double)n / 1000;
    size_t i = 0;
    if (n < 1000) {
        snprintf(out, UNITS_MAX, "%llu B", (unsigned long long)n);
        return out;
    }
    for (; v >= 999.95 && i + 1 < ARRAY_LEN(names); i++)
        v /= 1000;
    snprintf(out, UNITS_MAX, "%.1f %s", v, names[i]);
    return out;
}

void units_shares(const uint64_t *parts, unsigned *per_mille, size_t n)
{
    long double sum = 0;
    unsigned given = 0;
    for (size_t i = 0; i < n; i++)
        sum += (long double)parts[i];
    for (size_t i = 0; i < n; i++) {
        per_mille[i] = sum > 0 ? (unsigned)((long double)parts[i] * 1000 / sum) : 0;
        given += per_mille[i];
    }
    while (sum > 0 && given < 1000) {
        size_t best = 0;
        long double most = -1;
        for (size_t i = 0; i < n; i++) {
            long double left = (long double)parts[i] * 1000 / sum - per_mille[i];
            if (left > most) {
                most = left;
                best = i;
            }
        }
        per_mille[best]++;
        given++;
    }
}
