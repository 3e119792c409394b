/* suggest: edit distance with transpositions over short words, a full table. A candidate is near
 * enough when less than half of the typed word has to change, and at most three characters.
 */
#include "cli/suggest.h"

#include <string.h>

#define WORD_MAX 32

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Damerau-Levenshtein (adjacent swaps); words longer than WORD_MAX are as far as can be. */
static size_t distance(const char *a, const char *b)
{
    size_t la = strlen(a);
    size_t lb = strlen(b);
    size_t d[WORD_MAX + 1][WORD_MAX + 1];
    if (la > WORD_MAX || lb > WORD_MAX)
        return SIZE_MAX;
    for (size_t i = 0; i <= la; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= lb; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        for (size_t j = 1; j <= lb; j++) {
            d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = min3(d[i][j], d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[la][lb];
}

void suggest_offer(struct suggest *s, const char *candidate)
{
    size_t far = distance(s->word, candidate);
    if (far > 3 || far * 2 > strlen(s->word))
        return;
    if (s->best && s->distance <= far)
        return;
    s->best = candidate;
    s->distance = far;
}
