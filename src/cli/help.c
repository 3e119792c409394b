/* help: --help of zond and of each verb, 100 columns wide. */
#include "cli/help.h"

#include <string.h>

#define HELP_WIDTH 100
#define HELP_INDENT 29

/* Words of text from column HELP_INDENT on, wrapped and indented. */
static void print_wrapped(FILE *to, const char *text)
{
    size_t at = HELP_INDENT;
    while (*text) {
        size_t len = strcspn(text, " ");
        if (at + 1 + len > HELP_WIDTH) {
            fprintf(to, "\n%*s", HELP_INDENT, "");
            at = HELP_INDENT;
        }
        fprintf(to, "%s%.*s", at > HELP_INDENT ? " " : "", (int)len, text);
        at += len + (at > HELP_INDENT);
        text += len + strspn(text + len, " ");
    }
    fputc('\n', to);
}

/* FORMAT of a choice is spelt out: collapsed|speedscope. */
static void option_argument(const struct option_def *d, char *out, size_t size)
{
    size_t len = 0;
    out[0] = 0;
    if (d->kind != OPTION_CHOICE && d->argument)
        snprintf(out, size, "%s%s", d->argument, d->kind == OPTION_RATE ? "|max" : "");
    for (size_t i = 0; d->kind == OPTION_CHOICE && d->choices[i]; i++) {
        int n = snprintf(out + len, size - len, "%s%s", i ? "|" : "", d->choices[i]);
        len = len + (size_t)n < size ? len + (size_t)n : size - 1;
    }
}

static void print_option(FILE *to, const struct option_def *d)
{
    char argument[64];
    char title[128];
    option_argument(d, argument, sizeof(argument));
    int n = 0;
    if (d->letter && d->name)
        n = snprintf(title, sizeof(title), "  -%c, --%s%s%s", d->letter, d->name, *argument ? " " : "",
                     argument);
    else if (d->name)
        n = snprintf(title, sizeof(title), "      --%s%s%s", d->name, *argument ? " " : "", argument);
    else
        n = snprintf(title, sizeof(title), "  -%c %s...", d->letter, argument);
    fputs(title, to);
    if (n > HELP_INDENT - 2)
        fprintf(to, "\n%*s", HELP_INDENT, "");
    else
        fprintf(to, "%*s", HELP_INDENT - n, "");
    print_wrapped(to, d->help);
}

static void print_indented(FILE *to, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        fprintf(to, "  %.*s\n", (int)len, text);
        text += len + (text[len] == '\n');
    }
}

void help_verb(FILE *to, const struct verb *verb)
{
    fprintf(to, "zond %s: %s\n\nUsage: zond %s %s\n\n%s\nOptions:\n", verb->name, verb->summary, verb->name,
            verb->usage, verb->text);
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].verbs & verb->bit)
            print_option(to, &option_table[i]);
    }
    fputs("\nExamples:\n", to);
    print_indented(to, verb->examples);
}

void help_all(FILE *to)
{
    fputs("zond tells where the time of a Python program goes: it looks from outside, stops nothing, and "
          "works\n"
          "with CPython 3.8 to 3.15 on Linux.\n\n"
          "Usage: zond VERB [options] ...\n\n",
          to);
    for (size_t i = 0; i < verb_count; i++)
        fprintf(to, "  %-8s %s\n", verb_table[i].name, verb_table[i].summary);
    fputs("\nA view (report, calls, lines, export) takes a recording, or a command to record first.\n\n"
          "Examples:\n"
          "  zond run app.py           record a script and print the summary\n"
          "  zond attach 4242          the same on a running process\n"
          "  zond lines app-4242.zond  the hottest lines of a recording\n\n"
          "'zond VERB --help' has the options and examples of each. 'zond --version' prints the version.\n",
          to);
}
