/* complete_bash: the script for bash 4.2 or newer. It needs nothing of bash-completion, but lets it complete
 * the arguments of the command where it is loaded.
 *
 * bash breaks --name=value into three words. What an option takes is one word beginning with @, or the list
 * of its choices.
 */
#include "cli/complete.h"

#include "cli/options.h"

static const char head[] =
    "# bash completion for zond, made by `zond help --format bash`.\n"
    "\n"
    "# Appends to COMPREPLY what compgen finds.\n"
    "_zond_add()\n"
    "{\n"
    "    local line\n"
    "    while IFS= read -r line; do COMPREPLY+=(\"$line\"); done < <(compgen \"$@\" 2>/dev/null)\n"
    "}\n"
    "\n"
    "# Completes $2 as what $1 says.\n"
    "_zond_complete()\n"
    "{\n"
    "    case $1 in\n"
    "    @none) ;;\n"
    "    @file) compopt -o filenames; _zond_add -f -- \"$2\" ;;\n"
    "    @program)\n"
    "        compopt -o filenames\n"
    "        [[ -n $2 ]] && _zond_add -c -- \"$2\"\n"
    "        _zond_add -f -X '!*.py' -- \"$2\"\n"
    "        _zond_add -d -- \"$2\"\n"
    "        ;;\n"
    "    @recording)\n"
    "        compopt -o filenames\n"
    "        _zond_add -f -X '!*.zond' -- \"$2\"\n"
    "        _zond_add -d -- \"$2\"\n"
    "        ;;\n"
    "    @pid)\n"
    "        _zond_add -W \"$(find /proc/[0-9]*/exe -lname '*python*' 2>/dev/null | tr -cd '0-9\\n')\" -- "
    "\"$2\"\n"
    "        ;;\n"
    "    *) _zond_add -W \"$1\" -- \"$2\" ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_zond()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} word value wanted='' options='' words=''\n"
    "    local i=2 command_at=0\n"
    "    COMPREPLY=()\n"
    "    if ((COMP_CWORD < 2)); then\n"
    "        _zond_complete '";
static const char verbs_end[] = "help --help --version' \"$cur\"\n"
                                "        return\n"
                                "    fi\n"
                                "    case $verb in\n";
static const char values_begin[] = "    help) words='";
static const char scan[] = "' ;;\n"
                           "    esac\n"
                           "    # Up to the cursor: options and their values, until the command begins.\n"
                           "    while ((i < COMP_CWORD)); do\n"
                           "        word=${COMP_WORDS[i]}\n"
                           "        if [[ $word == -- ]]; then\n"
                           "            command_at=$((i + 1))\n"
                           "            break\n"
                           "        elif [[ $word != -?* ]]; then\n"
                           "            command_at=$i\n"
                           "            break\n"
                           "        fi\n"
                           "        value=''\n"
                           "        case \"$verb $word\" in\n";
static const char tail[] =
    "        esac\n"
    "        ((i += 1))\n"
    "        [[ -n $value ]] || continue\n"
    "        if ((i == COMP_CWORD)) && [[ $cur == = ]]; then\n"
    "            cur=''\n"
    "        elif ((i < COMP_CWORD)) && [[ ${COMP_WORDS[i]} == = ]]; then\n"
    "            ((i += 1))\n"
    "        fi\n"
    "        if ((i == COMP_CWORD)); then\n"
    "            wanted=${value/@launch/@none}\n"
    "        elif [[ $value == @launch ]]; then\n"
    "            wanted=@file\n"
    "            break\n"
    "        fi\n"
    "        ((i += 1))\n"
    "    done\n"
    "    if [[ -n $wanted ]]; then\n"
    "        _zond_complete \"$wanted\" \"$cur\"\n"
    "    elif ((command_at && command_at < COMP_CWORD)) && [[ $words == *@program* ]]; then\n"
    "        if declare -F _command_offset >/dev/null; then\n"
    "            _command_offset \"$command_at\"\n"
    "        else\n"
    "            _zond_complete @file \"$cur\"\n"
    "        fi\n"
    "    elif ((!command_at)) && [[ $cur == -?* || $cur == - ]]; then\n"
    "        _zond_complete \"$options\" \"$cur\"\n"
    "    elif [[ $words == @* ]]; then\n"
    "        for word in $words; do _zond_complete \"$word\" \"$cur\"; done\n"
    "    else\n"
    "        _zond_complete \"$words\" \"$cur\"\n"
    "    fi\n"
    "}\n"
    "complete -F _zond zond\n";

static void put_verbs(FILE *to)
{
    for (size_t i = 0; i < verb_count; i++)
        fprintf(to, "%s ", verb_table[i].name);
}

static void put_verb(FILE *to, const struct verb *verb)
{
    fprintf(to, "    %s)\n        options='", verb->name);
    for (size_t i = 0; i < option_count; i++) {
        const struct option_def *d = &option_table[i];
        if (!(d->verbs & verb->bit))
            continue;
        if (d->name)
            fprintf(to, "--%s ", d->name);
        if (d->letter)
            fprintf(to, "-%c ", d->letter);
    }
    fprintf(to, "'\n        words='%s%s%s%s'\n        ;;\n",
            verb->takes & TAKES_RECORDING ? "@recording " : "", verb->takes & TAKES_PID ? "@pid " : "",
            verb->takes & TAKES_FILE ? "@file " : "", verb->takes & TAKES_COMMAND ? "@program " : "");
}

static void put_value(FILE *to, const struct verb *verb, const struct option_def *d)
{
    if (!(d->verbs & verb->bit) || d->kind == OPTION_FLAG)
        return;
    fputs("        ", to);
    if (d->name)
        fprintf(to, "'%s --%s'%s", verb->name, d->name, d->letter ? " | " : "");
    if (d->letter)
        fprintf(to, "'%s -%c'", verb->name, d->letter);
    fputs(") value='", to);
    for (size_t i = 0; d->kind == OPTION_CHOICE && d->choices[i]; i++)
        fprintf(to, "%s%s", i ? " " : "", d->choices[i]);
    if (d->kind != OPTION_CHOICE)
        fputs(d->kind == OPTION_FILE      ? "@file"
              : d->kind == OPTION_PROGRAM ? "@program"
              : d->kind == OPTION_LAUNCH  ? "@launch"
                                          : "@none",
              to);
    fputs("' ;;\n", to);
}

void complete_bash(FILE *to)
{
    fputs(head, to);
    put_verbs(to);
    fputs(verbs_end, to);
    for (size_t i = 0; i < verb_count; i++)
        put_verb(to, &verb_table[i]);
    fputs(values_begin, to);
    put_verbs(to);
    fputs(scan, to);
    for (size_t i = 0; i < verb_count; i++) {
        for (size_t k = 0; k < option_count; k++)
            put_value(to, &verb_table[i], &option_table[k]);
    }
    fputs(tail, to);
}
