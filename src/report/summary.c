/* summary: the first screen. From what everybody wants to know (what ran, how long, doing what) down to
 * what is needed to trust it (what was missed, what the profiler cost).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report/common.h"
#include "report/report.h"
#include "report/sections.h"
#include "report/states.h"
#include "report/units.h"

#define FUNCTIONS 10
#define LINES 8
#define ROWS 10
#define COMMAND_MAX (TEXT_MAX * 10)
#define STATES_WIDTH 96

static size_t limit_of(const struct report_style *s, size_t usual)
{
    return s->limit ? s->limit : usual;
}

static void print_command(struct term *t, const struct profile *p)
{
    const struct rec_reader *r = profile_reader(p);
    const struct rec_header *h = rec_reader_header(r);
    char version[COMMON_PYTHON_MAX];
    struct buf command, python, fitted;
    buf_init(&command, COMMAND_MAX);
    buf_init(&python, TEXT_MAX);
    buf_init(&fitted, COMMAND_MAX);
    common_command(&command, t, h->command, h->command_len);
    if (!command.len && rec_reader_part_count(r) > 1)
        buf_put_str(&command, "several commands");
    common_python(version, r);
    text_clean(&python, version, strlen(version), t->style.unicode);
    int right = text_width((char *)python.data, python.len);
    int used = text_fit(&fitted, command.len ? (char *)command.data : "", command.len,
                        t->style.width - right - 2, TEXT_CUT_END, t->style.unicode);
    term_clean(t, INK_STRONG, (char *)fitted.data, fitted.len);
    if (right)
        term_spaces(t, t->style.width - used - right);
    term_clean(t, INK_DIM, (char *)python.data, python.len);
    term_newline(t);
    buf_release(&fitted);
    buf_release(&python);
    buf_release(&command);
}

/* How the command ended, if it did not just end with 0. */
static void put_exit(struct buf *out, const struct term *t, const struct profile *p)
{
    const struct rec_end *end = rec_reader_end(profile_reader(p));
    if (!end)
        return;
    if (end->signal) {
        const char *name = sigabbrev_np(end->signal);
        buf_printf(out, "%skilled by signal %d%s%s%s", term_dot(t), end->signal, name ? " (SIG" : "",
                   name ? name : "", name ? ")" : "");
    } else if (end->code != REC_NO_CODE && end->code != 0) {
        buf_printf(out, "%sexit %d", term_dot(t), end->code);
    }
}

static void print_facts(struct term *t, const struct profile *p)
{
    const struct rec_header *h = rec_reader_header(profile_reader(p));
    uint64_t elapsed = profile_elapsed_ns(p);
    uint64_t cpu = profile_cpu_ns(p);
    char wall[UNITS_MAX], used[UNITS_MAX], share[UNITS_MAX], when[32] = "";
    time_t started = (time_t)(h->started_wall_ns / NS_PER_S);
    struct tm tm;
    struct buf text;
    buf_init(&text, TEXT_MAX);
    buf_printf(&text, "%s wall%s%s CPU (%s of a core)", units_time(wall, elapsed), term_dot(t),
               units_time(used, cpu), units_percent(share, cpu, elapsed));
    put_exit(&text, t, p);
    if (localtime_r(&started, &tm) && strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm))
        buf_printf(&text, "%s%s", term_dot(t), when);
    if (h->attached)
        buf_printf(&text, "%sattached", term_dot(t));
    term_paragraph(t, INK_PLAIN, NULL, (char *)text.data, text.len);
    buf_release(&text);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* How many machines the parts are of; 0 without memory. */
static size_t count_hosts(const struct rec_reader *r)
{
    uint32_t parts = rec_reader_part_count(r);
    size_t hosts = 0;
    const char **names = calloc(parts, sizeof(*names));
    for (uint32_t i = 0; names && i < parts; i++)
        names[i] = rec_reader_part(r, i).header.host;
    if (names)
        qsort(names, parts, sizeof(*names), by_name);
    for (uint32_t i = 0; names && i < parts; i++)
        hosts += !i || strcmp(names[i], names[i - 1]) != 0;
    free(names);
    return hosts;
}

/* Of a merged recording: of what, how the clocks were aligned, and what there is not. */
static void print_parts(struct term *t, const struct profile *p)
{
    const struct rec_reader *r = profile_reader(p);
    const struct rec_merged *merged = rec_reader_merged(r);
    char n[UNITS_MAX];
    uint64_t cut, corrupt;
    uint32_t parts = rec_reader_part_count(r);
    struct buf text;
    if (rec_reader_header(r)->version != REC_FORMAT_MERGED)
        return;
    common_broken_parts(r, &cut, &corrupt);
    buf_init(&text, TEXT_MAX);
    buf_printf(&text, "Merged from %s recordings", units_count(n, parts));
    size_t hosts = count_hosts(r);
    buf_printf(&text, " of %s %s; their clocks are aligned by wall time.",
               hosts == 1 ? "one" : units_count(n, hosts), hosts == 1 ? "host" : "hosts");
    term_paragraph(t, INK_PLAIN, NULL, (char *)text.data, text.len);
    buf_clear(&text);
    if (cut)
        buf_printf(&text, "%s of them %s incomplete. ", units_count(n, cut), cut == 1 ? "is" : "are");
    if (corrupt)
        buf_printf(&text, "%s %s damaged. ", units_count(n, corrupt), corrupt == 1 ? "is" : "are");
    if (cut || corrupt)
        buf_put_str(&text, "Shown is what there is. ");
    if (merged && merged->left_out)
        buf_printf(&text, "%s more could not be read when they were merged.",
                   units_count(n, merged->left_out));
    if (text.len)
        term_paragraph(t, INK_WARN, NULL, (char *)text.data, text.len);
    buf_release(&text);
}

static void print_states_bar(struct term *t, const struct states *s)
{
    int width = t->style.width - 2 < STATES_WIDTH ? t->style.width - 2 : STATES_WIDTH;
    uint64_t before = 0;
    int at = 0;
    term_spaces(t, 2);
    for (size_t i = 0; i < s->count; i++) {
        before += s->parts[i].ns;
        int end = (int)((double)before / (double)s->total * width + 0.5);
        term_segment(t, s->parts[i].ink, end - at);
        at = end;
    }
    term_newline(t);
}

static void print_states_legend(struct term *t, const struct states *s)
{
    uint64_t parts[STATES_MAX];
    unsigned per_mille[STATES_MAX];
    int at = 0;
    for (size_t i = 0; i < s->count; i++)
        parts[i] = s->parts[i].ns;
    units_shares(parts, per_mille, s->count);
    for (size_t i = 0; i < s->count; i++) {
        char text[64];
        int n = snprintf(text, sizeof(text), "%s %u.%u%%", s->parts[i].name, per_mille[i] / 10,
                         per_mille[i] % 10);
        if (at && at + 5 + n > t->style.width) {
            term_newline(t);
            at = 0;
        }
        term_spaces(t, at ? 3 : 2);
        term_segment(t, s->parts[i].ink, 1);
        term_put(t, INK_PLAIN, " %s", text);
        at += (at ? 3 : 2) + 2 + n;
    }
    term_newline(t);
}

/* Processes of which there are samples. */
static size_t sampled_processes(const struct profile *p)
{
    size_t count, sampled = 0;
    const struct profile_process *processes = profile_processes(p, &count);
    for (size_t i = 0; i < count; i++)
        sampled += processes[i].sum.samples > 0;
    return sampled;
}

static void print_states(struct term *t, const struct profile *p)
{
    struct states s;
    char total[UNITS_MAX];
    size_t threads, processes = sampled_processes(p);
    const char *title = t->style.metric == METRIC_CPU ? "CPU time" : "Thread time";
    profile_threads(p, &threads);
    states_of(&s, profile_sum(p), t->style.metric);
    if (!s.total)
        return;
    units_time(total, s.total);
    if (threads > 1 && processes > 1)
        term_heading(t, title, "%s, summed over %zu threads in %zu processes", total, threads, processes);
    else if (threads > 1)
        term_heading(t, title, "%s, summed over %zu threads", total, threads);
    else
        term_heading(t, title, "%s of one thread", total);
    print_states_bar(t, &s);
    print_states_legend(t, &s);
}

/* What was not seen: after "1 " and after any other number. */
static const char *const loss_texts[REC_LOSS_KINDS][2] = {
    [REC_LOSS_MISSED] = {"look came too late and was left out", "looks came too late and were left out"},
    [REC_LOSS_TORN] = {"stack changed while it was read and was read again",
                       "stacks changed while they were read and were read again"},
    [REC_LOSS_DROPPED] = {"stack kept changing and was given up", "stacks kept changing and were given up"},
    [REC_LOSS_UNREADABLE] = {"stack could not be read", "stacks could not be read"},
    [REC_LOSS_TRUNCATED] = {"stack was deeper than the limit and is cut",
                            "stacks were deeper than the limit and are cut"},
    [REC_LOSS_PROCESS] = {"process could not be looked into", "processes could not be looked into"},
    [REC_LOSS_MEMORY] = {"allocation has no stack or was not recorded",
                         "allocations have no whole stack or were not recorded"},
    [REC_LOSS_GC] = {"garbage collection has no whole stack or was not recorded",
                     "garbage collections have no whole stack or were not recorded"},
    [REC_LOSS_WRITE] = {"sample was lost as the file could not take it",
                        "samples were lost as the file could not take them"},
};

/* What there would have been of a kind, had nothing been lost; 0 where a share says nothing. */
static uint64_t loss_whole(const struct profile *p, int kind, uint64_t lost)
{
    switch (kind) {
    case REC_LOSS_MISSED:
        return profile_stats(p)->ticks + lost;
    case REC_LOSS_DROPPED:
    case REC_LOSS_UNREADABLE:
    case REC_LOSS_WRITE:
        return profile_sum(p)->samples + lost;
    default:
        return 0;
    }
}

static void put_loss(struct buf *out, const struct term *t, const struct profile *p, int kind)
{
    uint64_t lost = profile_loss(p, (enum rec_loss_kind)kind);
    uint64_t whole = loss_whole(p, kind, lost);
    char text[UNITS_MAX];
    if (!lost)
        return;
    buf_printf(out, "%s%s %s", out->len ? term_dot(t) : "", units_count(text, lost),
               loss_texts[kind][lost != 1]);
    if (whole)
        buf_printf(out, " (%s)", units_percent(text, lost, whole));
}

static void print_missed(struct term *t, const struct profile *p)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    for (int kind = 0; kind < REC_LOSS_KINDS; kind++)
        put_loss(&text, t, p, kind);
    if (!text.len)
        buf_put_str(&text, "nothing");
    term_paragraph(t, INK_PLAIN, "Missed", (char *)text.data, text.len);
    common_loss_details(t, p, "");
    buf_release(&text);
}

/* What native stacks cost the program: stops, and how long they were. */
static void put_stops(struct buf *text, const struct term *t, const struct profile *p)
{
    const struct histogram *pauses = profile_pauses(p);
    const char *unit = t->style.unicode ? "\302\265s" : "us";
    char a[UNITS_MAX];
    uint64_t stops = profile_stats(p)->stops;
    if (!stops)
        buf_printf(text, "no thread was stopped");
    else
        buf_printf(text, "threads were stopped %s times, half of them up to %.0f %s, 90%% up to %.0f %s",
                   units_count(a, stops), (double)histogram_quantile(pauses, 0.5) / NS_PER_US, unit,
                   (double)histogram_quantile(pauses, 0.9) / NS_PER_US, unit);
}

static void print_cost(struct term *t, const struct profile *p)
{
    const struct rec_stats *st = profile_stats(p);
    uint64_t period = rec_reader_header(profile_reader(p))->period_ns;
    uint64_t elapsed = profile_elapsed_ns(p);
    char a[UNITS_MAX], b[UNITS_MAX], c[UNITS_MAX];
    struct buf text;
    buf_init(&text, TEXT_MAX);
    if (elapsed)
        buf_printf(
            &text, "%s looks a second",
            units_count(a, (uint64_t)((double)st->ticks / (double)profile_recorded_ns(p) * 1e9 + 0.5)));
    if (period)
        buf_printf(&text, " of %s asked for", units_count(b, (NS_PER_S + period / 2) / period));
    buf_printf(&text, "%s%s stacks", term_dot(t), units_count(c, profile_sum(p)->samples));
    term_paragraph(t, INK_PLAIN, "Sampling", (char *)text.data, text.len);
    buf_clear(&text);
    buf_printf(&text, "%s CPU (%s of a core)", units_time(a, st->cpu_ns),
               units_percent(b, st->cpu_ns, elapsed));
    buf_printf(&text, "%s%s system calls read", term_dot(t), units_count(a, st->reads));
    buf_printf(&text, " %s%s", units_bytes(b, st->read_bytes), term_dot(t));
    put_stops(&text, t, p);
    term_paragraph(t, INK_PLAIN, "zond itself", (char *)text.data, text.len);
    buf_release(&text);
}

/* The commands that look further into the recording. */
static void print_next(struct term *t)
{
    static const char *const verbs[] = {"lines", "calls"};
    const char *path = t->style.path;
    struct buf text;
    if (!path)
        return;
    buf_init(&text, COMMAND_MAX);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        buf_printf(&text, "%szond %s ", i ? term_dot(t) : "", verbs[i]);
        common_command(&text, t, path, strlen(path));
    }
    term_paragraph(t, INK_PLAIN, "Next", (char *)text.data, text.len);
    buf_release(&text);
}

/* How far the numbers can be trusted, what they cost, and, if there are any, where to look next. */
static void print_foot(struct term *t, const struct profile *p, bool something)
{
    bool cost = profile_stats(p)->ticks > 0;
    if (cost || something)
        term_newline(t);
    if (cost)
        print_cost(t, p);
    if (something || profile_stats(p)->samples)
        print_missed(t, p);
    if (something)
        print_next(t);
}

static int print_tables(struct term *t, struct profile *p)
{
    int rc = section_path(t, p);
    if (rc == 0)
        rc = section_functions(t, p, limit_of(&t->style, FUNCTIONS), false);
    if (rc == 0)
        rc = section_lines(t, p, limit_of(&t->style, LINES));
    if (rc == 0)
        rc = section_processes(t, p, limit_of(&t->style, ROWS));
    if (rc == 0)
        rc = section_threads(t, p, limit_of(&t->style, ROWS));
    return rc;
}

int report_summary(FILE *to, struct profile *p, const struct report_style *style)
{
    struct term t;
    int rc = 0;
    term_open(&t, to, style);
    print_command(&t, p);
    print_facts(&t, p);
    print_parts(&t, p);
    bool something = common_opening(&t, p);
    if (something && !style->tasks)
        print_states(&t, p);
    if (something)
        rc = print_tables(&t, p);
    print_foot(&t, p, something);
    int closed = term_close(&t);
    return rc ? rc : closed;
}
