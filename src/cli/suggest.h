/* suggest: the word that was probably meant. */
#ifndef ZOND_CLI_SUGGEST_H
#define ZOND_CLI_SUGGEST_H

#include "base/base.h"

/* Keeps the nearest of the words that it is offered. Start with {.word = what was typed}. */
struct suggest {
    const char *word;
    const char *best; /* NULL: nothing is near enough */
    size_t distance;
};

void suggest_offer(struct suggest *s, const char *candidate);

#endif
