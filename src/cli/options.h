/* options: one const table of options and one of verbs. Parsing, --help, manual pages and completions are
 * generated from them; nothing else in the tree knows the name of an option.
 *
 * Options end at the first word that is not one (the command follows), at `--`, and at -m and -c, which
 * take the rest of the words as Python does. Verbs that take no command let options stand between words.
 */
#ifndef ZOND_CLI_OPTIONS_H
#define ZOND_CLI_OPTIONS_H

#include <sys/types.h>

#include "base/base.h"

/* Exit statuses of zond's own; 126 and 127 as in a shell. */
enum {
    EXIT_USAGE = 2,
    EXIT_ZOND = 125,
    EXIT_CANNOT_EXECUTE = 126,
    EXIT_NOT_FOUND = 127,
};

/* One bit for each verb: which verbs take an option. */
enum verb_bit {
    VERB_RUN = 1 << 0,
    VERB_ATTACH = 1 << 1,
    VERB_REPORT = 1 << 2,
    VERB_CALLS = 1 << 3,
    VERB_LINES = 1 << 4,
    VERB_EXPORT = 1 << 5,
    VERB_DOCTOR = 1 << 6,
    VERB_DIFF = 1 << 7,
    VERB_MERGE = 1 << 8,
    VERB_STACK = 1 << 9,
    VERB_MEM = 1 << 10,
    VERB_GC = 1 << 11,
};

/* Verbs that take no command: options may stand behind and between their words. */
#define VERBS_MIXED (VERB_DIFF | VERB_MERGE)

/* What the words after the options are. */
enum launch {
    LAUNCH_WORDS,  /* a command, a script, a recording or a PID, as the verb has it */
    LAUNCH_MODULE, /* -m: words[0] is the module, the rest its arguments */
    LAUNCH_CODE,   /* -c: words[0] is the code, the rest its arguments */
};

enum color_choice { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

/* When the next piece of a recording begins: after so long, or so much; 0: never for that reason. */
struct rotation {
    uint64_t ns;
    uint64_t bytes;
};

/* The command line, parsed. Strings and words point into argv. Bool, int, double and pointer members are
 * where the table of options says that a value goes. */
struct options {
    const struct verb *verb;
    const char *output;    /* NULL: the verb's default */
    double rate_hz;        /* 0: as fast as possible */
    double native_rate_hz; /* 0: Python frames only */
    double duration_s;     /* 0: until the end */
    const char *python;    /* the interpreter for scripts, -m and -c */
    struct rotation rotate;
    int rotate_keep;     /* pieces; 0: all */
    int metric;          /* enum metric */
    int color;           /* enum color_choice */
    int sort;            /* enum memory_order */
    int format;          /* index into export_formats; -1: not given */
    int width;           /* 0: that of the terminal */
    int limit;           /* rows of a table; 0: the view's default */
    int pid;             /* 0: all */
    int tid;             /* 0: all */
    int rank;            /* -1: all */
    const char *host;    /* NULL: all */
    const char *symbols; /* a directory; NULL: names are those of the recording */
    bool json;
    bool tree;
    bool no_native;
    bool locals;
    int repeat;     /* looks */
    double every_s; /* between them */
    bool quiet;
    bool async;
    bool per_process;
    bool lines;
    bool shares;
    bool help;
    enum launch launch;
    char **words; /* ended by NULL */
    size_t word_count;
    uint64_t given; /* bit i: option_table[i] was on the command line */
};

enum option_kind {
    OPTION_FLAG,        /* bool: true when given */
    OPTION_INT,         /* int > 0 */
    OPTION_INDEX,       /* int >= 0 */
    OPTION_NUMBER,      /* double > 0 */
    OPTION_NUMBER_OR_0, /* double >= 0 */
    OPTION_RATE,        /* double > 0, or the word "max": 0 */
    OPTION_ROTATE,      /* struct rotation: the member that the unit asks for */
    OPTION_STRING,      /* const char * */
    OPTION_FILE,        /* const char *: a path */
    OPTION_PROGRAM,     /* const char *: a path, or a name in PATH */
    OPTION_CHOICE,      /* int: index into choices */
    OPTION_LAUNCH,      /* ends the options: the value and all that follows are words */
};

struct option_def {
    const char *name; /* long name, or NULL */
    char letter;      /* or 0 */
    enum option_kind kind;
    const char *argument; /* its name in the help; NULL for a flag */
    const char *help;
    const char *const *choices; /* OPTION_CHOICE: the allowed words, ended by NULL */
    size_t offset;              /* of the member of struct options */
    int value;                  /* OPTION_LAUNCH: enum launch */
    unsigned verbs;             /* bits of enum verb_bit */
    bool records;               /* only means something while recording */
};

/* What the words after the options are: for completion. */
enum takes {
    TAKES_NOTHING = 0,
    TAKES_COMMAND = 1 << 0,
    TAKES_RECORDING = 1 << 1,
    TAKES_PID = 1 << 2,
    TAKES_FILE = 1 << 3, /* any */
};

struct verb {
    const char *name;
    enum verb_bit bit;
    const char *usage;                   /* what follows the name */
    const char *summary;                 /* one line */
    const char *text;                    /* a paragraph or more for --help */
    const char *examples;                /* lines, each a command and what it does */
    int (*run)(const struct options *o); /* returns the exit status */
    unsigned takes;                      /* bits of enum takes */
};

/* What is said of zond as a whole. */
struct program {
    const char *date;     /* of the last change of what the tables say: for manual pages */
    const char *summary;  /* one line */
    const char *text;     /* a paragraph */
    const char *more;     /* what comes after the list of verbs */
    const char *examples; /* as of a verb */
    const struct program_status {
        const char *status, *text;
    } * statuses;
    size_t status_count;
};

extern const struct option_def option_table[];
extern const size_t option_count;
extern const struct verb verb_table[];
extern const size_t verb_count;
extern const struct program program;

/* The verb of that name, or NULL. */
const struct verb *verb_find(const char *name);

/* Parses what follows the verb: argv[0] is the verb's name, argv ends with NULL. 0, or EXIT_USAGE after
 * one sentence on stderr. */
int options_parse(const struct verb *verb, int argc, char **argv, struct options *o);

/* Says what is wrong with the use of a verb (NULL: of zond) and where help is; returns EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int usage_error(const struct verb *verb, const char *fmt, ...);

/* The one word of a verb that takes a process. 0 and *pid, or EXIT_USAGE after a sentence. */
int options_pid(const struct options *o, pid_t *pid);

/* The first option given that only means something while recording, or NULL. */
const struct option_def *options_recording(const struct options *o);

#endif
