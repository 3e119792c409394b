/* complete_fish: the script for fish 3. Its only code tells what stands before the cursor; what may follow is
 * data.
 */
#include "cli/complete.h"

#include "cli/options.h"

static const char head[] =
    "# fish completion for zond, made by `zond help --format fish`.\n"
    "\n"
    "# What stands before the cursor: `verb`, or the verb and, when the command has begun, at which word.\n"
    "function __zond_state\n"
    "    set -l words (commandline -opc)\n"
    "    set -l count (count $words)\n"
    "    if test $count -lt 2\n"
    "        echo verb\n"
    "        return\n"
    "    end\n"
    "    set -l verb $words[2]\n"
    "    set -l i 3\n"
    "    while test $i -le $count\n"
    "        switch \"$verb $words[$i]\"\n"
    "            case \"$verb --\"\n"
    "                echo $verb (math $i + 1)\n"
    "                return\n"
    "            case ";
static const char launch_begin[] = "\n"
                                   "                set i (math $i + 1)\n"
                                   "            case ";
static const char tail[] =
    "\n"
    "                test $i -lt $count; and echo $verb (math $i + 2); or echo $verb\n"
    "                return\n"
    "            case \"$verb -?*\"\n"
    "            case '*'\n"
    "                echo $verb $i\n"
    "                return\n"
    "        end\n"
    "        set i (math $i + 1)\n"
    "    end\n"
    "    echo $verb\n"
    "end\n"
    "\n"
    "# May options and words of this verb stand here?\n"
    "function __zond_in\n"
    "    test (__zond_state | string collect) = $argv[1]\n"
    "end\n"
    "\n"
    "# The same after `--`, where the command is still to come.\n"
    "function __zond_words_in\n"
    "    set -l state (__zond_state | string split ' ')\n"
    "    test $state[1] = $argv[1]; or return 1\n"
    "    set -q state[2]; or return 0\n"
    "    test $state[2] -gt (count (commandline -opc))\n"
    "end\n"
    "\n"
    "# Has the command of this verb begun?\n"
    "function __zond_begun\n"
    "    set -l state (__zond_state | string split ' ')\n"
    "    set -q state[2]; and contains -- $state[1] $argv\n"
    "    and test $state[2] -le (count (commandline -opc))\n"
    "end\n"
    "\n"
    "# What the command itself would complete.\n"
    "function __zond_rest\n"
    "    set -l at (__zond_state | string split ' ')[2]\n"
    "    set -l words (commandline -opc)\n"
    "    complete -C \"$(string join ' ' -- (string escape -- $words[$at..])) $(commandline "
    "-ct)\"\n"
    "end\n"
    "\n"
    "# Folders, and files with this ending.\n"
    "function __zond_files\n"
    "    set -l ending (string escape --style=regex -- $argv[1])\n"
    "    __fish_complete_path (commandline -ct) | string match -re \"(/|$ending)(\\t|\\$)\"\n"
    "end\n"
    "\n"
    "complete -c zond -f\n"
    "complete -c zond -n 'test (__zond_state) = verb' -s h -l help -d 'help'\n"
    "complete -c zond -n 'test (__zond_state) = verb' -s V -l version -d 'the version'\n"
    "complete -c zond -n 'test (__zond_state) = verb' -a help -d 'usage, options and "
    "examples'\n";

static void put_text(FILE *to, const char *text)
{
    fputc('\'', to);
    for (; *text; text++)
        fprintf(to, *text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
    fputc('\'', to);
}

/* 'run -o' 'run --output' ...: the options that the next word belongs to. */
static void put_valued(FILE *to, bool launch)
{
    for (size_t i = 0; i < verb_count * option_count; i++) {
        const struct verb *verb = &verb_table[i / option_count];
        const struct option_def *d = &option_table[i % option_count];
        if (!(d->verbs & verb->bit) || d->kind == OPTION_FLAG || (d->kind == OPTION_LAUNCH) != launch)
            continue;
        if (d->name)
            fprintf(to, "'%s --%s' ", verb->name, d->name);
        if (d->letter)
            fprintf(to, "'%s -%c' ", verb->name, d->letter);
    }
}

static void put_option(FILE *to, const struct verb *verb, const struct option_def *d)
{
    fprintf(to, "complete -c zond -n '__zond_in %s'", verb->name);
    if (d->letter)
        fprintf(to, " -s %c", d->letter);
    if (d->name)
        fprintf(to, " -l %s", d->name);
    if (d->kind == OPTION_FILE)
        fputs(" -r -F", to);
    else if (d->kind == OPTION_PROGRAM)
        fputs(" -x -a '(__fish_complete_command)'", to);
    else if (d->kind == OPTION_CHOICE)
        fputs(" -x -a '", to);
    else if (d->kind != OPTION_FLAG)
        fputs(" -x", to);
    for (size_t i = 0; d->kind == OPTION_CHOICE && d->choices[i]; i++)
        fprintf(to, "%s%s", i ? " " : "", d->choices[i]);
    fputs(d->kind == OPTION_CHOICE ? "' -d " : " -d ", to);
    put_text(to, d->help);
    fputc('\n', to);
}

static void put_words(FILE *to, const struct verb *verb, enum takes takes, const char *words)
{
    if (verb->takes & takes)
        fprintf(to, "complete -c zond -n '__zond_words_in %s' -a '(%s)'\n", verb->name, words);
}

static void put_verb(FILE *to, const struct verb *verb)
{
    fprintf(to, "\ncomplete -c zond -n 'test (__zond_state) = verb' -a %s -d ", verb->name);
    put_text(to, verb->summary);
    fprintf(to, "\ncomplete -c zond -n '__zond_in help' -a %s\n", verb->name);
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].verbs & verb->bit)
            put_option(to, verb, &option_table[i]);
    }
    put_words(to, verb, TAKES_PID, "__fish_complete_pids");
    put_words(to, verb, TAKES_FILE, "__fish_complete_path");
    put_words(to, verb, TAKES_RECORDING, "__zond_files .zond");
    put_words(to, verb, TAKES_COMMAND, "__zond_files .py; __fish_complete_command");
    if (verb->takes & TAKES_COMMAND)
        fprintf(to, "complete -c zond -n '__zond_begun %s' -a '(__zond_rest)'\n", verb->name);
}

void complete_fish(FILE *to)
{
    fputs(head, to);
    put_valued(to, false);
    fputs(launch_begin, to);
    put_valued(to, true);
    fputs(tail, to);
    for (size_t i = 0; i < verb_count; i++)
        put_verb(to, &verb_table[i]);
}
