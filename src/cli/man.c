/* man: the manual pages zond(1) and zond-VERB(1), made from the tables of options.h; in the man macros that
 * groff and mandoc have in common.
 */
#include "cli/man.h"

#include <ctype.h>
#include <string.h>

#include "cli/help.h"

#define LINE_MAX_LEN 76

/* One character as it is. A minus that somebody may copy is one; between letters it is a hyphen. */
static void put_char(FILE *to, const char *at, bool literal, bool word_before)
{
    static const struct {
        char c;
        const char *as;
    } special[] = {{'\\', "\\e"}, {'\'', "\\(aq"}, {'`', "\\(ga"}, {'^', "\\(ha"}, {'~', "\\(ti"}};
    for (size_t i = 0; i < ARRAY_LEN(special); i++) {
        if (*at == special[i].c) {
            fputs(special[i].as, to);
            return;
        }
    }
    bool hyphen = !literal && word_before && isalpha((unsigned char)at[1]);
    fputs(*at == '-' && !hyphen ? "\\-" : (char[]){*at, 0}, to);
}

/* Prose is broken before LINE_MAX_LEN; a line begins with no control character; \& is nothing. */
static void put_text(FILE *to, const char *text, size_t len, bool literal)
{
    size_t column = 0;
    for (size_t i = 0; i < len; i++) {
        bool full = text[i] == ' ' && column + 1 + strcspn(text + i + 1, " \n") > LINE_MAX_LEN;
        bool breaks = text[i] == '\n' || (full && !literal);
        if (column == 0 && (text[i] == '.' || text[i] == '\''))
            fputs("\\&", to);
        if (breaks)
            fputc('\n', to);
        else
            put_char(to, text + i, literal, i && isalpha((unsigned char)text[i - 1]));
        column = breaks ? 0 : column + 1;
    }
}

static void put_line(FILE *to, const char *text)
{
    put_text(to, text, strlen(text), false);
    fputc('\n', to);
}

/* Words in capitals are placeholders; each alternative has a line. */
static void put_usage(FILE *to, const char *usage)
{
    static const char capitals[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    while (*usage) {
        size_t word = strspn(usage, capitals), rest = strcspn(usage, capitals);
        const char *bar = strstr(usage, " | ");
        if (bar == usage) {
            fputs("\n| ", to);
            usage += strlen(" | ");
            continue;
        }
        size_t len = word ? word : bar && bar < usage + rest ? (size_t)(bar - usage) : rest;
        fputs(word ? "\\fI" : "", to);
        put_text(to, usage, len, true);
        fputs(word ? "\\fR" : "", to);
        usage += len;
    }
    fputc('\n', to);
}

static void put_head(FILE *to, const char *name, const char *summary)
{
    fputs(".TH \"", to);
    for (const char *c = name; *c; c++)
        fputc(toupper((unsigned char)*c), to);
    fprintf(to, "\" 1 %s \"zond %s\" \"zond\"\n.SH NAME\n", program.date, ZOND_VERSION);
    put_text(to, name, strlen(name), true);
    fputs(" \\- ", to);
    put_line(to, summary);
}

static void put_examples(FILE *to, const char *examples)
{
    fputs(".SH EXAMPLES\n.EX\n", to);
    put_text(to, examples, strlen(examples), true);
    fputs(".EE\n", to);
}

static void put_option(FILE *to, const struct option_def *d)
{
    char argument[64];
    help_argument(d, argument, sizeof(argument));
    fputs(".TP\n", to);
    if (d->letter)
        fprintf(to, "\\fB\\-%c\\fR%s", d->letter, d->name ? ", " : "");
    if (d->name) {
        fputs("\\fB\\-\\-", to);
        put_text(to, d->name, strlen(d->name), true);
        fputs("\\fR", to);
    }
    fputs(*argument ? " " : "", to);
    if (d->kind == OPTION_CHOICE)
        put_text(to, argument, strlen(argument), true);
    else
        put_usage(to, argument);
    if (d->kind == OPTION_CHOICE)
        fputc('\n', to);
    put_line(to, d->help);
}

static void put_statuses(FILE *to)
{
    fputs(".SH \"EXIT STATUS\"\n", to);
    for (size_t i = 0; i < program.status_count; i++) {
        fprintf(to, ".TP\n%s\n", program.statuses[i].status);
        put_line(to, program.statuses[i].text);
    }
}

void man_verb(FILE *to, const struct verb *verb)
{
    char name[64];
    snprintf(name, sizeof(name), "zond-%s", verb->name);
    put_head(to, name, verb->summary);
    fprintf(to, ".SH SYNOPSIS\n.B zond %s\n", verb->name);
    if (*verb->usage)
        put_usage(to, verb->usage);
    fputs(".SH DESCRIPTION\n", to);
    put_text(to, verb->text, strlen(verb->text), false);
    fputs(".SH OPTIONS\n", to);
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].verbs & verb->bit)
            put_option(to, &option_table[i]);
    }
    put_statuses(to);
    put_examples(to, verb->examples);
    fputs(".SH \"SEE ALSO\"\n.BR zond (1)\n", to);
}

void man_program(FILE *to)
{
    put_head(to, "zond", program.summary);
    fputs(".SH SYNOPSIS\n.B zond\n\\fIVERB\\fR [options] ...\n.SH DESCRIPTION\n", to);
    put_text(to, program.text, strlen(program.text), false);
    fputs(".SH VERBS\n", to);
    for (size_t i = 0; i < verb_count; i++) {
        fprintf(to, ".TP\n.BR zond\\-%s (1)\n", verb_table[i].name);
        put_line(to, verb_table[i].summary);
    }
    fputs(".PP\n", to);
    put_text(to, program.more, strlen(program.more), false);
    put_statuses(to);
    put_examples(to, program.examples);
    fputs(".SH \"SEE ALSO\"\n", to);
    for (size_t i = 0; i < verb_count; i++)
        fprintf(to, ".BR zond\\-%s (1)%s\n", verb_table[i].name, i + 1 < verb_count ? "," : "");
}
