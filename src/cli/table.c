/* The tables from which everything about the command line is made: options.h says what the members mean. An
 * option that reads differently with some verbs has a row for each reading.
 */
#include "analysis/profile.h"
#include "cli/options.h"
#include "cli/verbs.h"

#define VERBS_STREAM (VERB_RUN | VERB_ATTACH)
/* Views of what the sampler saw, and all views as text. */
#define VERBS_TIME (VERB_REPORT | VERB_CALLS | VERB_LINES)
#define VERBS_TEXT (VERBS_TIME | VERB_MEM | VERB_GC)
#define VERBS_VIEW (VERBS_TEXT | VERB_EXPORT)
#define VERBS_LAUNCH (VERB_RUN | VERBS_VIEW)
#define VERBS_RECORD (VERBS_LAUNCH | VERB_ATTACH)
#define VERBS_SUMMARY (VERB_RUN | VERB_ATTACH | VERBS_TEXT)
/* What prints tables of a recording. */
#define VERBS_TABLES (VERBS_SUMMARY | VERB_DIFF)
#define VERBS_SHOW (VERBS_TABLES | VERB_STACK)
#define VERBS_ALL (VERBS_RECORD | VERB_DIFF | VERB_MERGE | VERB_STACK | VERB_DOCTOR)

static const char *const metric_words[METRIC_COUNT + 1] = {
    [METRIC_WALL] = "wall",
    [METRIC_CPU] = "cpu",
    [METRIC_GIL] = "gil",
    [METRIC_GC] = "gc",
};

static const char *const sort_words[MEMORY_ORDERS + 1] = {
    [MEMORY_PEAK] = "peak",
    [MEMORY_LIVE] = "live",
    [MEMORY_ALLOCATED] = "allocated",
    [MEMORY_COUNT] = "count",
};

static const char *const color_words[] = {
    [COLOR_AUTO] = "auto",
    [COLOR_ALWAYS] = "always",
    [COLOR_NEVER] = "never",
    NULL,
};

/* In the order of export_formats. */
static const char *const format_words[] = {"collapsed", "speedscope", "pprof", "otlp",  "gecko",
                                           "perfetto",  "pstats",     "csv",   "arrow", NULL};

#define AT(member) offsetof(struct options, member)

const struct option_def option_table[] = {
    {"output", 'o', OPTION_FILE, "FILE",
     "write the recording here (default: NAME-PID.zond); -: to standard output, and what the program prints "
     "there to standard error",
     NULL, AT(output), 0, VERBS_STREAM, true},
    {"output", 'o', OPTION_FILE, "FILE", "write the recording here (default: NAME-PID.zond)", NULL,
     AT(output), 0, VERBS_TEXT, true},
    {"output", 'o', OPTION_FILE, "FILE", "write here (default: standard output)", NULL, AT(output), 0,
     VERB_EXPORT, false},
    {"output", 'o', OPTION_FILE, "FILE", "write the merged recording here", NULL, AT(output), 0, VERB_MERGE,
     false},
    {"rotate", 0, OPTION_ROTATE, "TIME|SIZE",
     "begin another recording each 10m, 100MB or the like: NAME.TIME.zond, each complete by itself, TIME in "
     "UTC; give it twice for both",
     NULL, AT(rotate), 0, VERBS_STREAM, true},
    {"rotate-keep", 0, OPTION_INT, "N", "remove the oldest pieces beyond so many, also of earlier runs", NULL,
     AT(rotate_keep), 0, VERBS_STREAM, true},
    {"rate", 'r', OPTION_RATE, "HZ", "look so often in a second (default: 1000); max: without a pause", NULL,
     AT(rate_hz), 0, VERBS_RECORD, true},
    {"native-rate", 0, OPTION_NUMBER_OR_0, "HZ",
     "native stacks so often in a second (default: 100), for which a thread that runs is held for "
     "microseconds; 0: "
     "Python frames only",
     NULL, AT(native_rate_hz), 0, VERBS_RECORD, true},
    {"duration", 'd', OPTION_NUMBER, "SECONDS", "record for so long, then let the program go on", NULL,
     AT(duration_s), 0, VERBS_RECORD, true},
    {"python", 0, OPTION_PROGRAM, "EXE", "run scripts, -m and -c with it (default: python3 of PATH)", NULL,
     AT(python), 0, VERBS_LAUNCH, true},
    {NULL, 'm', OPTION_LAUNCH, "MODULE", "run a Python module; the rest are its arguments", NULL, 0,
     LAUNCH_MODULE, VERBS_LAUNCH, false},
    {NULL, 'c', OPTION_LAUNCH, "CODE", "run Python code; the rest are its arguments", NULL, 0, LAUNCH_CODE,
     VERBS_LAUNCH, false},
    {"format", 'f', OPTION_CHOICE, "FORMAT", "what to write", format_words, AT(format), 0, VERB_EXPORT,
     false},
    {"metric", 0, OPTION_CHOICE, "METRIC",
     "what to count: time on the clock, on a CPU, holding the GIL, or collecting garbage", metric_words,
     AT(metric), 0, (VERBS_TABLES & ~(VERB_MEM | VERB_GC)) | VERB_EXPORT, false},
    {"sort", 0, OPTION_CHOICE, "BY",
     "what comes first: bytes held at the peak (default), or at the end, all bytes allocated, or the number "
     "of "
     "allocations",
     sort_words, AT(sort), 0, VERB_MEM, false},
    {"pid", 0, OPTION_INT, "N", "only this process", NULL, AT(pid), 0, VERBS_VIEW, false},
    {"tid", 0, OPTION_INT, "N", "only this thread", NULL, AT(tid), 0, VERBS_TIME | VERB_EXPORT, false},
    {"rank", 0, OPTION_INDEX, "N", "only this rank of a job", NULL, AT(rank), 0, VERBS_VIEW, false},
    {"host", 0, OPTION_STRING, "NAME", "only what this machine recorded", NULL, AT(host), 0, VERBS_VIEW,
     false},
    {"symbols", 0, OPTION_FILE, "DIR",
     "look up native functions, lines and what was inlined once more, by build-id: in files below DIR, in "
     "those "
     "of this machine, and on the servers of DEBUGINFOD_URLS",
     NULL, AT(symbols), 0, VERBS_TIME | VERB_EXPORT | VERB_DIFF, false},
    {"async", 0, OPTION_FLAG, NULL, "await chains of waiting asyncio tasks, instead of threads (3.14+)", NULL,
     AT(async), 0, VERBS_TIME | VERB_EXPORT | VERB_DIFF, false},
    {"per-process", 0, OPTION_FLAG, NULL, "keep the processes apart instead of summing them", NULL,
     AT(per_process), 0, VERBS_VIEW, false},
    {"lines", 0, OPTION_FLAG, NULL, "a frame is a line, not a function", NULL, AT(lines), 0, VERB_EXPORT,
     false},
    {"shares", 0, OPTION_FLAG, NULL, "compare shares of the whole instead of seconds", NULL, AT(shares), 0,
     VERB_DIFF, false},
    {"limit", 'n', OPTION_INT, "N", "rows of a table", NULL, AT(limit), 0, VERBS_TABLES, false},
    {"tree", 0, OPTION_FLAG, NULL, "the processes below it, too", NULL, AT(tree), 0, VERB_STACK, false},
    {"repeat", 0, OPTION_INT, "N", "look so often, and show what changed since the look before", NULL,
     AT(repeat), 0, VERB_STACK, false},
    {"every", 0, OPTION_NUMBER, "SECONDS", "between two looks (default: 1)", NULL, AT(every_s), 0, VERB_STACK,
     false},
    {"no-native", 0, OPTION_FLAG, NULL, "Python frames only: no thread is stopped, not even for microseconds",
     NULL, AT(no_native), 0, VERB_STACK, false},
    {"locals", 0, OPTION_FLAG, NULL, "local variables under each Python frame, with their values", NULL,
     AT(locals), 0, VERB_STACK, false},
    {"json", 0, OPTION_FLAG, NULL, "print one JSON object instead of text", NULL, AT(json), 0, VERBS_SHOW,
     false},
    {"width", 0, OPTION_INT, "N", "columns to fill (default: those of the terminal)", NULL, AT(width), 0,
     VERBS_SHOW, false},
    {"color", 0, OPTION_CHOICE, "WHEN", "use colour", color_words, AT(color), 0, VERBS_SHOW, false},
    {"quiet", 'q', OPTION_FLAG, NULL, "print nothing of zond's own but errors and where the recording is",
     NULL, AT(quiet), 0, VERBS_RECORD, false},
    {"quiet", 'q', OPTION_FLAG, NULL, "say only what could not be merged", NULL, AT(quiet), 0, VERB_MERGE,
     false},
    {"help", 'h', OPTION_FLAG, NULL, "this help", NULL, AT(help), 0, VERBS_ALL, false},
};
const size_t option_count = ARRAY_LEN(option_table);

#define VIEW_USAGE "[options] FILE.zond | [--] COMMAND... | -m MODULE... | -c CODE..."

#define VIEW_TEXT                                                                                            \
    "FILE may still be growing; - is standard input. Given a command instead, records it first: what it\n"   \
    "prints on standard output goes to standard error.\n"

const struct verb verb_table[] = {
    {"run", VERB_RUN, "[options] [--] COMMAND... | SCRIPT.py... | -m MODULE... | -c CODE...",
     "record a program, then print the summary",
     "Runs the command and samples every Python in its process tree from outside: nothing is loaded into\n"
     "it. For native stacks a thread that runs is held for microseconds, see --native-rate; nothing else\n"
     "is. A word that ends in .py, -m and -c run under --python; anything else runs as it is. Exits as\n"
     "the command did, by the same signal if that killed it.\n"
     "Standard output is the command's, and the summary goes to standard error. With -o - or --json it is\n"
     "zond's, and what the command prints there goes to standard error.\n",
     "zond run app.py --fast           a script and its arguments\n"
     "zond run -m pytest tests         a module, as python -m does\n"
     "zond run --native-rate 0 app.py  Python frames only: nothing is held\n"
     "zond run -r max -- make check    a command that starts Pythons, as fast as zond can look\n"
     "zond run -o - app.py | ssh HOST 'cat > app.zond'\n"
     "zond run --rotate 10m --rotate-keep 144 -o app.zond app.py    the last day, in pieces\n",
     verb_run, TAKES_COMMAND},
    {"attach", VERB_ATTACH, "[options] PID", "record a process that runs already, then print the summary",
     "Samples the process and its children until it ends, or for --duration, or until Ctrl-C. It goes on\n"
     "when zond ends, however zond ends. A thread that runs is held for microseconds, see --native-rate.\n",
     "zond attach 4242                 until it ends, or Ctrl-C\n"
     "zond attach -d 10 -o web.zond 4242\n"
     "zond attach -d 10 -o - 4242 | zond calls -\n"
     "zond attach --rotate 100MB -o web.zond 4242    web.20261122T030000Z.zond and so on\n",
     verb_attach, TAKES_PID},
    {"stack", VERB_STACK, "[options] PID | CORE [EXE]",
     "what every thread of a process does now, or did in its core",
     "One look: the frames of Python and of C functions as one stack, innermost first, the system call that "
     "a\n"
     "waiting thread is in and what its descriptor stands for, and who holds the GIL. A thread that runs is\n"
     "stopped for some microseconds while its registers and stack are copied; one that waits is not.\n"
     "\n"
     "With --locals, the variables of functions stand under each Python frame: 50 of a frame, of the 100\n"
     "innermost frames of a thread, 80 characters of a value, 5 items of a container, two deep. Values are\n"
     "read, nothing is called: what is no builtin is shown by type and address. A thread that runs is then\n"
     "stopped for about a millisecond; with --no-native it is not, and has no variables.\n"
     "\n"
     "Of a core file, by gcore or the kernel, the same, with the signal that ended the process and the "
     "thread\n"
     "that got it. EXE is its executable where that is no more where the core says. A library that is not\n"
     "here or was replaced since is named, and the rest is shown.\n",
     "zond stack 4242\n"
     "zond stack --tree 4242            a server and its workers\n"
     "zond stack --locals 4242          with the values of local variables\n"
     "zond stack --repeat 5 --every 2 4242    does it move, and where?\n"
     "zond stack core.4242              why did it crash?\n"
     "zond stack --json 4242 | jq '.processes[].threads[] | select(.gil == \"held\").frames[0]'\n",
     verb_stack, TAKES_PID | TAKES_FILE},
    {"report", VERB_REPORT, VIEW_USAGE, "the summary of a recording",
     "Command, wall and CPU time, what the threads did with their time, the functions and lines that took\n"
     "most of it, what was missed, and what the profiler itself cost.\n" VIEW_TEXT,
     "zond report app-4242.zond\n"
     "zond report --metric cpu app-4242.zond    sorted by CPU time\n"
     "zond report --json app-4242.zond | jq '.functions[:5]'\n"
     "ssh HOST cat app.zond | zond report -\n"
     "zond report app.py                        record, then report\n",
     verb_report, TAKES_RECORDING | TAKES_COMMAND},
    {"calls", VERB_CALLS, VIEW_USAGE, "own and total time of functions, their callers and callees",
     "Sampled: times come from looks at the stack, so there is no number of calls. Under the table, each\n"
     "of the first functions has a block: whom its time came from, and what it went to.\n" VIEW_TEXT,
     "zond calls app-4242.zond\n"
     "zond calls -n 50 --metric cpu app-4242.zond\n",
     verb_calls, TAKES_RECORDING | TAKES_COMMAND},
    {"lines", VERB_LINES, VIEW_USAGE, "time of each line, in the source of the hottest files",
     "Sampled: times come from looks at the stack, so there is no number of hits. Own is time in the line\n"
     "itself, total includes what it calls.\n" VIEW_TEXT,
     "zond lines app-4242.zond\n"
     "zond lines -n 100 app-4242.zond           the hundred hottest lines\n",
     verb_lines, TAKES_RECORDING | TAKES_COMMAND},
    {"mem", VERB_MEM, VIEW_USAGE, "who allocated memory, and who held it when the program held most",
     "Exact, by function and line: what was asked of the system allocator (malloc and its kin, operator "
     "new,\n"
     "anonymous mmap), by every thread and process of the command. Python's own objects of up to 512 bytes\n"
     "come out of arenas of 256 KiB (from 3.10 on 1 MiB), which count where another was needed. Without the\n"
     "GIL, all of them come out of one reservation, which is not counted.\n"
     "A library of zond's is loaded into the program (LD_PRELOAD). What it cannot be loaded into, a static "
     "or\n"
     "set-user-ID program, is recorded from outside, and the view says so.\n" VIEW_TEXT,
     "zond mem app.py                           record, then show who held most\n"
     "zond mem app-4242.zond\n"
     "zond mem --sort live app-4242.zond        what was never given back\n"
     "zond mem --json app-4242.zond | jq .memory\n",
     verb_mem, TAKES_RECORDING | TAKES_COMMAND},
    {"gc", VERB_GC, VIEW_USAGE, "garbage collections: how long they took, and who triggers them",
     "Exact: each collection of Python's cyclic garbage collector with its generation, how long it took, "
     "what it\n"
     "found and the line that triggered it. A library of zond's is loaded into the program (LD_PRELOAD), and "
     "adds\n"
     "a function to gc.callbacks. What it cannot be loaded into is recorded from outside, and the view says "
     "so.\n"
     "Of a recording that was made otherwise, the view shows the share that samples saw.\n"
     "zond mem records collections, too.\n" VIEW_TEXT,
     "zond gc app.py                            record, then show the pauses\n"
     "zond gc app-4242.zond\n"
     "zond gc --json app-4242.zond | jq .gc.collections\n",
     verb_gc, TAKES_RECORDING | TAKES_COMMAND},
    {"export", VERB_EXPORT, "--format FORMAT [options] FILE.zond | [--] COMMAND...",
     "write a recording in the format of another tool",
     "collapsed   a stack and its microseconds a line: flamegraph.pl, inferno, speedscope\n"
     "speedscope  each thread in the order of time: https://www.speedscope.app\n"
     "pprof       gzipped profile.proto: go tool pprof, Pyroscope\n"
     "otlp        ProfilesData of OpenTelemetry (v1development): collectors\n"
     "gecko       each thread in the order of time: https://profiler.firefox.com\n"
     "perfetto    each thread in the order of time: https://ui.perfetto.dev, trace_processor\n"
     "pstats      functions and callers: Python's pstats, snakeviz; its calls are numbers of looks\n"
     "csv         own and total time of each function and thread: spreadsheets, pandas\n"
     "arrow       a row a sample, one table: pyarrow, polars, DuckDB\n"
     "\n"
     "Each holds one metric, and its weights add up to that of the report. The line of a frame is the\n"
     "first of its function; with --lines, the one that ran.\n" VIEW_TEXT,
     "zond export -f collapsed app-4242.zond | flamegraph.pl > app.svg\n"
     "zond export -f speedscope -o app.speedscope.json app-4242.zond\n"
     "zond export -f pprof --metric cpu -o app.pb.gz app-4242.zond && go tool pprof -http=: app.pb.gz\n"
     "zond export -f pstats -o app.pstats app-4242.zond && snakeviz app.pstats\n"
     "zond export -f arrow --lines -o app.arrow -- python3 app.py    record, then export\n",
     verb_export, TAKES_RECORDING | TAKES_COMMAND},
    {"diff", VERB_DIFF, "[options] A.zond B.zond", "what changed between two recordings",
     "Functions, lines and stacks whose time differs, the largest difference first, and what appeared and\n"
     "vanished. The two can be of different versions of the program, of Python, and of different machines:\n"
     "functions are found by their module and name, lines by their distance from the start of the function.\n"
     "Differences that are no larger than the noise of the samples are counted, not shown.\n",
     "zond diff before.zond after.zond\n"
     "zond diff --metric cpu before.zond after.zond\n"
     "zond diff --shares short-run.zond long-run.zond    runs that did different amounts of work\n"
     "zond diff --json before.zond after.zond | jq '.functions[] | select(.self.clear)'\n",
     verb_diff, TAKES_RECORDING},
    {"merge", VERB_MERGE, "FILE... -o OUT", "many recordings into one: the workers of a job",
     "Each recording is kept apart by its host, rank and process. Their clocks are aligned by the wall time "
     "at\n"
     "which they began. One that is cut or damaged is taken up to there, one that cannot be read is left "
     "out;\n"
     "both are said, also in the views of the merged recording. A merged recording can be merged again.\n",
     "zond merge worker-*.zond -o job.zond\n"
     "zond report job.zond                      the job as a whole\n"
     "zond report --rank 3 job.zond             one of its ranks\n",
     verb_merge, TAKES_RECORDING},
    {"doctor", VERB_DOCTOR, "", "what this machine and user allow, and how to allow more",
     "Checks what zond needs to look into other processes, and says how to get what is missing.\n",
     "zond doctor\n", verb_doctor, TAKES_NOTHING},
};
const size_t verb_count = ARRAY_LEN(verb_table);

static const struct program_status statuses[] = {
    {"0", "success"},
    {"2", "wrong use"},
    {"125", "zond itself failed"},
    {"126", "the command cannot be executed"},
    {"127", "there is no such command"},
    {"other", "that of the command, where one was recorded"},
};

const struct program program = {
    .date = "2026-11-23",
    .summary = "tells where the time of a Python program goes",
    .text = "zond looks at a Python program from outside, and works with CPython 3.8 to 3.15 on Linux. To "
            "record,\n"
            "it stops nothing.\n",
    .more =
        "A view (report, calls, lines, mem, gc, export) takes a recording, or a command to record first.\n"
        "'zond VERB --help' has the options and examples of each. 'zond --version' prints the version.\n"
        "'zond help --format bash', zsh or fish, prints completions for a shell.\n",
    .examples = "zond run app.py           record a script and print the summary\n"
                "zond attach 4242          the same on a running process\n"
                "zond lines app-4242.zond  the hottest lines of a recording\n",
    .statuses = statuses,
    .status_count = ARRAY_LEN(statuses),
};
