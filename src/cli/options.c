/* options: parses a command line by option_table. Written by hand rather than with getopt_long, as each verb
 * takes its own part of the table, and as an error has to name what was probably meant.
 */
#include "cli/options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/suggest.h"

#define NATIVE_RATE_DEFAULT 100.0
#define NATIVE_RATE_UNSET (-1.0)

/* at: the first word that is not read yet. done: the options are over. */
struct parser {
    const struct verb *verb;
    struct options *o;
    char **at;
    bool done;
};

int usage_error(const struct verb *verb, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, verb ? "zond %s: " : "zond: ", verb ? verb->name : "");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, verb ? "\nTry 'zond %s --help'.\n" : "\nTry 'zond --help'.\n", verb ? verb->name : "");
    va_end(ap);
    return EXIT_USAGE;
}

int options_pid(const struct options *o, pid_t *pid)
{
    char *end;
    if (o->word_count != 1)
        return usage_error(o->verb, "it needs one PID");
    long number = strtol(o->words[0], &end, 10);
    if (*end || end == o->words[0] || number <= 0 || number > INT_MAX)
        return usage_error(o->verb, "'%s' is not a PID", o->words[0]);
    *pid = (pid_t)number;
    return 0;
}

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < verb_count; i++) {
        if (strcmp(verb_table[i].name, name) == 0)
            return &verb_table[i];
    }
    return NULL;
}

const struct option_def *options_recording(const struct options *o)
{
    for (size_t i = 0; i < option_count; i++) {
        if (o->given >> i & 1 && option_table[i].records)
            return &option_table[i];
    }
    return NULL;
}

/* How an option is called in a message: --name, or -c when it has no name. */
static const char *option_title(const struct option_def *d, char out[static 32])
{
    if (d->name)
        snprintf(out, 32, "--%s", d->name);
    else
        snprintf(out, 32, "-%c", d->letter);
    return out;
}

static const struct option_def *find_long(unsigned verbs, const char *name, size_t len)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_def *d = &option_table[i];
        if (d->verbs & verbs && d->name && strlen(d->name) == len && memcmp(d->name, name, len) == 0)
            return d;
    }
    return NULL;
}

static const struct option_def *find_letter(unsigned verbs, char letter)
{
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].verbs & verbs && option_table[i].letter == letter)
            return &option_table[i];
    }
    return NULL;
}

static int unknown_long(const struct parser *p, const char *name, size_t len)
{
    char typed[64];
    snprintf(typed, sizeof(typed), "%.*s", (int)len, name);
    if (find_long(UINT_MAX, name, len))
        return usage_error(p->verb, "it takes no option '--%s'", typed);
    struct suggest s = {.word = typed};
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].verbs & p->verb->bit && option_table[i].name)
            suggest_offer(&s, option_table[i].name);
    }
    if (s.best)
        return usage_error(p->verb, "there is no option '--%s'; did you mean '--%s'?", typed, s.best);
    return usage_error(p->verb, "there is no option '--%s'", typed);
}

/* A finite number above 0 that is the whole of text; `zero`: or 0. */
static bool parse_number(const char *text, bool zero, double *out)
{
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return end != text && !*end && !errno && isfinite(*out) && (*out > 0 || (zero && *out == 0));
}

static int set_number(const struct parser *p, const struct option_def *d, const char *text)
{
    double *to = (double *)((char *)p->o + d->offset);
    char title[32];
    if (d->kind == OPTION_RATE && strcmp(text, "max") == 0) {
        *to = 0;
        return 0;
    }
    if (parse_number(text, d->kind == OPTION_NUMBER_OR_0, to))
        return 0;
    return usage_error(p->verb, "%s takes a number %s 0%s, not '%s'", option_title(d, title),
                       d->kind == OPTION_NUMBER_OR_0 ? "from" : "above",
                       d->kind == OPTION_RATE ? " or 'max'" : "", text);
}

static int set_int(const struct parser *p, const struct option_def *d, const char *text)
{
    char *end;
    char title[32];
    errno = 0;
    long n = strtol(text, &end, 10);
    bool index = d->kind == OPTION_INDEX;
    if (end == text || *end || errno || n < !index || n > INT_MAX)
        return usage_error(p->verb, "%s takes a whole number %s 0, not '%s'", option_title(d, title),
                           index ? "from" : "above", text);
    *(int *)((char *)p->o + d->offset) = (int)n;
    return 0;
}

/* 10m, 100MB. A time is not below a second, a size not below what one takes in a second. */
static int set_rotation(const struct parser *p, const struct option_def *d, const char *text)
{
    static const struct unit {
        const char *name;
        double factor;
        bool time;
    } units[] = {
        {"s", 1e9, true},        {"m", 60e9, true},       {"h", 3600e9, true}, {"d", 86400e9, true},
        {"kB", 1e3, false},      {"MB", 1e6, false},      {"GB", 1e9, false},  {"KiB", 1024, false},
        {"MiB", 1 << 20, false}, {"GiB", 1 << 30, false},
    };
    struct rotation *to = (struct rotation *)((char *)p->o + d->offset);
    char *end, title[32];
    double n = strtod(text, &end);
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        double value = n * units[i].factor;
        if (end == text || strcmp(end, units[i].name) != 0 || !(value >= (units[i].time ? 1e9 : 1e5)) ||
            value > 1e18)
            continue;
        *(units[i].time ? &to->ns : &to->bytes) = (uint64_t)value;
        return 0;
    }
    return usage_error(p->verb,
                       "%s takes a time from 1s on (s, m, h, d) or a size from 100kB on (kB, MB, GB, KiB, "
                       "MiB, GiB), not '%s'",
                       option_title(d, title), text);
}

static int set_choice(const struct parser *p, const struct option_def *d, const char *text)
{
    char title[32];
    char list[128] = "";
    size_t len = 0;
    for (int i = 0; d->choices[i]; i++) {
        if (strcmp(d->choices[i], text) == 0) {
            *(int *)((char *)p->o + d->offset) = i;
            return 0;
        }
        int n = snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "", d->choices[i]);
        len = len + (size_t)n < sizeof(list) ? len + (size_t)n : sizeof(list) - 1;
    }
    return usage_error(p->verb, "%s takes one of %s, not '%s'", option_title(d, title), list, text);
}

static int set_launch(struct parser *p, const struct option_def *d)
{
    p->o->launch = (enum launch)d->value;
    p->done = true;
    return 0;
}

/* text: the option's argument; for OPTION_LAUNCH the parser stands on the word after it. */
static int set_value(struct parser *p, const struct option_def *d, const char *text)
{
    p->o->given |= 1ull << (d - option_table);
    switch (d->kind) {
    case OPTION_FLAG:
        *(bool *)((char *)p->o + d->offset) = true;
        return 0;
    case OPTION_STRING:
    case OPTION_FILE:
    case OPTION_PROGRAM:
        *(const char **)((char *)p->o + d->offset) = text;
        return 0;
    case OPTION_INT:
    case OPTION_INDEX:
        return set_int(p, d, text);
    case OPTION_CHOICE:
        return set_choice(p, d, text);
    case OPTION_NUMBER:
    case OPTION_NUMBER_OR_0:
    case OPTION_RATE:
        return set_number(p, d, text);
    case OPTION_ROTATE:
        return set_rotation(p, d, text);
    case OPTION_LAUNCH:
        return set_launch(p, d);
    }
    return 0;
}

/* The argument of d: `joined` when it hangs on the option itself, else the next word. */
static int take_value(struct parser *p, const struct option_def *d, char *joined)
{
    char title[32];
    if (joined)
        *--p->at = joined; /* the word that held the option is spent: its place holds the argument */
    if (!*p->at)
        return usage_error(p->verb, "%s needs %s", option_title(d, title), d->argument);
    if (d->kind == OPTION_LAUNCH)
        return set_value(p, d, NULL);
    return set_value(p, d, *p->at++);
}

static int parse_long(struct parser *p, char *word)
{
    char *name = word + 2;
    size_t len = strcspn(name, "=");
    const struct option_def *d = find_long(p->verb->bit, name, len);
    if (!d)
        return unknown_long(p, name, len);
    if (d->kind != OPTION_FLAG)
        return take_value(p, d, name[len] ? name + len + 1 : NULL);
    if (name[len])
        return usage_error(p->verb, "--%s takes no value", d->name);
    return set_value(p, d, NULL);
}

/* A cluster of flags, of which the last may take a value: -q, -qn5, -n 5. */
static int parse_letters(struct parser *p, char *word)
{
    for (char *c = word + 1; *c; c++) {
        const struct option_def *d = find_letter(p->verb->bit, *c);
        if (!d)
            return usage_error(p->verb, "there is no option '-%c'", *c);
        if (d->kind != OPTION_FLAG)
            return take_value(p, d, c[1] ? c + 1 : NULL);
        set_value(p, d, NULL);
    }
    return 0;
}

static int parse_word(struct parser *p)
{
    char *word = *p->at;
    if (!word || word[0] != '-' || !word[1]) {
        p->done = true;
        return 0;
    }
    p->at++;
    if (strcmp(word, "--") == 0) {
        p->done = true;
        return 0;
    }
    return word[1] == '-' ? parse_long(p, word) : parse_letters(p, word);
}

int options_parse(const struct verb *verb, int argc, char **argv, struct options *o)
{
    *o = (struct options){.verb = verb,
                          .rate_hz = 1000,
                          .native_rate_hz = NATIVE_RATE_UNSET,
                          .repeat = 1,
                          .every_s = 1,
                          .format = -1,
                          .rank = -1};
    struct parser p = {.verb = verb, .o = o, .at = argv + 1};
    bool mixed = verb->bit & VERBS_MIXED;
    char **words = argv + 1;
    char **end = words;
    for (;;) {
        while (!p.done) {
            int rc = parse_word(&p);
            if (rc)
                return rc;
        }
        if (!mixed || !*p.at)
            break;
        /* What was read is spent: its place takes the words, so that they stand together. */
        *end++ = *p.at++;
        p.done = end > words && strcmp(p.at[-2], "--") == 0;
    }
    if (!mixed)
        words = p.at;
    o->words = words;
    o->word_count = mixed ? (size_t)(end - words) : (size_t)(argv + argc - p.at);
    if (o->native_rate_hz == NATIVE_RATE_UNSET)
        o->native_rate_hz =
            o->rate_hz > 0 && o->rate_hz < NATIVE_RATE_DEFAULT ? o->rate_hz : NATIVE_RATE_DEFAULT;
    if (o->rate_hz > 0 && o->native_rate_hz > o->rate_hz)
        return usage_error(verb, "--native-rate is at most --rate (%g): a native stack is part of a look",
                           o->rate_hz);
    return 0;
}
