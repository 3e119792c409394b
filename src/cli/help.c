/* help: --help of zond and of each verb, 100 columns wide. */
#include "cli/help.h"

#include <string.h>

#define HELP_WIDTH 100
#define HELP_INDENT 29
#define HELP_INDENT_STATUS 9

/* Words of text from column `indent` on, wrapped and indented. */
static void print_wrapped(FILE *to, const char *text, int indent)
{
    size_t start = (size_t)indent, at = start;
    while (*text) {
        size_t len = strcspn(text, " ");
        if (at + 1 + len > HELP_WIDTH) {
            fprintf(to, "\n%*s", indent, "");
            at = start;
        }
        fprintf(to, "%s%.*s", at > start ? " " : "", (int)len, text);
        at += len + (at > start);
        text += len + strspn(text + len, " ");
    }
    fputc('\n', to);
}

void help_argument(const struct option_def *d, char *out, size_t size)
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
    help_argument(d, argument, sizeof(argument));
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
    print_wrapped(to, d->help, HELP_INDENT);
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
    fprintf(to, "zond %s.\n\n%s\nUsage: zond VERB [options] ...\n\n", program.summary, program.text);
    for (size_t i = 0; i < verb_count; i++)
        fprintf(to, "  %-8s %s\n", verb_table[i].name, verb_table[i].summary);
    fprintf(to, "\n%s\nExit status:\n", program.more);
    for (size_t i = 0; i < program.status_count; i++) {
        fprintf(to, "  %-*s", HELP_INDENT_STATUS - 2, program.statuses[i].status);
        print_wrapped(to, program.statuses[i].text, HELP_INDENT_STATUS);
    }
    fputs("\nExamples:\n", to);
    print_indented(to, program.examples);
}
