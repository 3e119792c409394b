/* complete_zsh: the script for zsh's own completion system; _arguments does the work. */
#include "cli/complete.h"

#include <string.h>

#include "cli/options.h"

static const char head[] =
    "#compdef zond\n"
    "# zsh completion for zond, made by `zond help --format zsh`.\n"
    "\n"
    "_zond_program() {\n"
    "  _alternative 'scripts:script:_path_files -g \"*.py\"' 'folders:folder:_path_files -/' \\\n"
    "    'commands:command:_command_names -e'\n"
    "}\n"
    "\n"
    "_zond_recording() {\n"
    "  _alternative 'recordings:recording:_path_files -g \"*.zond\"' 'folders:folder:_path_files -/'\n"
    "}\n"
    "\n"
    "# Processes whose program is called python.\n"
    "_zond_pid() {\n"
    "  local exe expl\n"
    "  local -a pids\n"
    "  for exe in /proc/<->/exe(N@); do\n"
    "    [[ ${${exe:A}:t} == *python* ]] && pids+=(${${exe:h}:t})\n"
    "  done\n"
    "  _wanted pids expl process compadd -a pids\n"
    "}\n"
    "\n"
    "_zond_pid_or_file() { _alternative 'pids:process:_zond_pid' 'files:core file:_files' }\n"
    "\n"
    "_zond_recording_or_program() { _alternative 'recordings:recording:_zond_recording' "
    "'programs:program:_zond_program' }\n"
    "\n"
    "_zond() {\n"
    "  local curcontext=$curcontext state line ret=1\n"
    "  local -A opt_args\n"
    "  local -a verbs\n"
    "  verbs=(\n";
static const char verbs_end[] =
    "  )\n"
    "  _arguments -C '(- *)'{-h,--help}'[help]' '(- *)'{-V,--version}'[the version]' \\\n"
    "    '1: :->verb' '*:: :->words' && return 0\n"
    "  case $state in\n"
    "  verb)\n"
    "    verbs+=('help:usage, options and examples')\n"
    "    _describe -t verbs verb verbs && ret=0 ;;\n"
    "  words)\n"
    "    case $words[1] in\n"
    "    help) ((CURRENT == 2)) && _describe -t verbs verb verbs && ret=0 ;;\n";
static const char tail[] =
    "    esac ;;\n"
    "  esac\n"
    "  return ret\n"
    "}\n"
    "\n"
    "if [[ $funcstack[1] == _zond ]]; then _zond \"$@\"; else compdef _zond zond; fi\n";

/* Inside of single quotes; brackets are escaped, too. */
static void put_text(FILE *to, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", to);
        else
            fprintf(to, strchr("[]\\", *text) ? "\\%c" : "%c", *text);
    }
}

/* :MESSAGE:ACTION of what the option takes. */
static void put_value(FILE *to, const struct option_def *d)
{
    if (d->kind == OPTION_FLAG)
        return;
    fprintf(to, ":%s:", d->argument);
    if (d->kind == OPTION_FILE)
        fputs("_files", to);
    if (d->kind == OPTION_PROGRAM)
        fputs("_command_names -e", to);
    for (size_t i = 0; d->kind == OPTION_CHOICE && d->choices[i]; i++)
        fprintf(to, "%s%s", i ? " " : "(", d->choices[i]);
    if (d->kind == OPTION_CHOICE)
        fputc(')', to);
    if (d->kind != OPTION_FILE && d->kind != OPTION_PROGRAM && d->kind != OPTION_CHOICE)
        fputc(' ', to);
}

/* A launch ends the options; --rotate may come twice; all others once. */
static void put_option(FILE *to, const struct option_def *d)
{
    const char *equals = d->kind == OPTION_FLAG ? "" : "=", *plus = d->kind == OPTION_FLAG ? "" : "+";
    fputs("      ", to);
    if (d->kind == OPTION_LAUNCH)
        fprintf(to, "'(- 1)-%c+[", d->letter);
    else if (d->kind == OPTION_ROTATE)
        fprintf(to, "'*--%s=[", d->name);
    else if (d->letter)
        fprintf(to, "'(-%c --%s)'{-%c%s,--%s%s}'[", d->letter, d->name, d->letter, plus, d->name, equals);
    else
        fprintf(to, "'--%s%s[", d->name, equals);
    put_text(to, d->help);
    fputc(']', to);
    put_value(to, d);
    fputs("' \\\n", to);
}

static void put_verb(FILE *to, const struct verb *verb)
{
    fprintf(to, "    %s) _arguments -s -S -A '-*' \\\n", verb->name);
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].verbs & verb->bit)
            put_option(to, &option_table[i]);
    }
    const char *also = verb->takes & TAKES_COMMAND ? "'(-)1: :" : "'(-)*: :";
    const char *action = verb->takes == TAKES_PID         ? "_zond_pid"
                         : verb->takes & TAKES_FILE       ? "_zond_pid_or_file"
                         : verb->takes == TAKES_COMMAND   ? "_zond_program"
                         : verb->takes == TAKES_RECORDING ? "_zond_recording"
                                                          : "_zond_recording_or_program";
    if (verb->takes)
        fprintf(to, "      %s%s' \\\n", also, action);
    if (verb->takes & TAKES_COMMAND)
        fputs("      '*:: :_normal' \\\n", to);
    fputs("      && ret=0 ;;\n", to);
}

void complete_zsh(FILE *to)
{
    fputs(head, to);
    for (size_t i = 0; i < verb_count; i++) {
        fprintf(to, "    '%s:", verb_table[i].name);
        put_text(to, verb_table[i].summary);
        fputs("'\n", to);
    }
    fputs(verbs_end, to);
    for (size_t i = 0; i < verb_count; i++)
        put_verb(to, &verb_table[i]);
    fputs(tail, to);
}
