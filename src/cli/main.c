/* main: finds the verb, parses its options, runs it. */
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/complete.h"
#include "cli/help.h"
#include "cli/man.h"
#include "cli/options.h"
#include "cli/suggest.h"

static int unknown_verb(const char *word)
{
    struct suggest s = {.word = word};
    for (size_t i = 0; i < verb_count; i++)
        suggest_offer(&s, verb_table[i].name);
    if (word[0] == '-')
        return usage_error(NULL, "the verb comes before the options; there is no option '%s'", word);
    if (s.best)
        return usage_error(NULL, "there is no verb '%s'; did you mean '%s'?", word, s.best);
    return usage_error(NULL, "there is no verb '%s'; to record a command: zond run %s", word, word);
}

/* A form of the help for a shell or for man: for `verb`, or, if that is NULL, for all. */
static int show_format(const char *format, const struct verb *verb)
{
    static const struct form {
        const char *name;
        void (*all)(FILE *to);
        void (*one)(FILE *to, const struct verb *verb);
    } forms[] = {
        {"man", man_program, man_verb},
        {"bash", complete_bash, NULL},
        {"zsh", complete_zsh, NULL},
        {"fish", complete_fish, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (!format || strcmp(forms[i].name, format) != 0)
            continue;
        if (verb && forms[i].one)
            forms[i].one(stdout, verb);
        else
            forms[i].all(stdout);
        return 0;
    }
    return usage_error(NULL, "help --format takes one of man, bash, zsh, fish");
}

/* zond help [--format FORMAT] [VERB] */
static int show_help(char **words)
{
    bool has_format = words[0] && strcmp(words[0], "--format") == 0;
    const char *format = has_format ? words[1] : NULL;
    const char *name = !has_format ? words[0] : format ? words[2] : NULL;
    const struct verb *verb = name ? verb_find(name) : NULL;
    if (name && !verb)
        return unknown_verb(name);
    if (has_format)
        return show_format(format, verb);
    if (verb)
        help_verb(stdout, verb);
    else
        help_all(stdout);
    return 0;
}

/* What is asked of zond itself; false if it is a verb's turn. */
static bool run_own(char **argv, int *status)
{
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        puts("zond " ZOND_VERSION);
        *status = 0;
        return true;
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        *status = show_help(argv + 2);
        return true;
    }
    return false;
}

/* A recording that got the number of a closed standard stream would have messages written into it. */
static void hold_standard_streams(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && fd <= STDERR_FILENO)
        ;
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    int status;
    hold_standard_streams();
    setlocale(LC_CTYPE, "");
    if (argc < 2) {
        help_all(stderr);
        return EXIT_USAGE;
    }
    if (run_own(argv, &status))
        return status;
    const struct verb *verb = verb_find(argv[1]);
    if (!verb)
        return unknown_verb(argv[1]);
    struct options o;
    status = options_parse(verb, argc - 1, argv + 1, &o);
    if (status)
        return status;
    if (o.help) {
        help_verb(stdout, verb);
        return 0;
    }
    return verb->run(&o);
}
