/* Views and exports of recordings that the real writer made: none is wider than asked for, none lets a name
 * of the program drive the terminal, and their sums are true.
 */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <jansson.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <wchar.h>

#include "base/utf8.h"
#include "export/export.h"
#include "record/writer.h"
#include "report/report.h"
#include "report/states.h"
#include "report/text.h"
#include "report/units.h"

#define TICK NS_PER_MS
#define START (5 * NS_PER_S)

/* What is recorded: names and files of a stack of three functions, and how many threads run it. */
struct program {
    const char *title;
    const char *names[3];
    const char *file;
    int threads;
    int ticks;
    bool python;
    bool cut;
};

#define LONG_NAME                                                                                            \
    "a_function_with_a_name_that_goes_on_and_on_and_on_until_no_terminal_in_the_world_could_hold_it_on_one_" \
    "line"

static const struct program programs[] = {
    {"one thread", {"<module>", "main", "Worker.run"}, "/srv/app/work.py", 1, 900, true, false},
    {"threads", {"<module>", "main", "Worker.run"}, "/srv/app/work.py", 12, 50, true, false},
    {"escapes",
     {"\033[31mred\033[0m", "a;b\nc\td", "</script>\"\\'"},
     "/tmp/\033]0;x\007.py",
     3,
     40,
     true,
     false},
    {"not UTF-8", {"\xff\xfe\x80", "\xc3(", "\xed\xa0\x80"}, "/tmp/\xf0\x28\x8c.py", 2, 40, true, false},
    {"wide",
     {"\u6e2c\u5b9a\u95a2\u6570", "e\u0301\u202eesrever", "\U0001f600"},
     "/tmp/\u6e2c\u5b9a.py",
     2,
     40,
     true,
     false},
    {"long",
     {LONG_NAME, LONG_NAME LONG_NAME, LONG_NAME},
     "/" LONG_NAME "/" LONG_NAME ".py",
     2,
     40,
     true,
     false},
    {"cut", {"<module>", "main", "Worker.run"}, "/srv/app/work.py", 1, 40, true, true},
    {"no samples", {"", "", ""}, "", 1, 0, true, false},
    {"no Python", {"", "", ""}, "", 0, 0, false, false},
    {"one look", {"<module>", "main", "Worker.run"}, "/srv/app/work.py", 1, 1, true, false},
};

static uint32_t put_string(struct rec_writer *w, const char *s)
{
    return rec_string(w, s, strlen(s));
}

static uint32_t put_frame(struct rec_writer *w, const struct program *g, int i)
{
    struct rec_code code = {.name = put_string(w, g->names[i]),
                            .file = put_string(w, g->file),
                            .first_line = 10 * (uint32_t)i + 1};
    struct rec_frame frame = {.code = rec_code(w, &code), .line = 10 * (uint32_t)i + 5};
    return rec_frame(w, &frame);
}

/* Samples that go through all states, in turn and at varying depth. */
static void put_sample(struct rec_writer *w, uint32_t thread, const uint32_t *nodes, int tick)
{
    static const uint8_t states[] = {REC_ON_CPU | REC_GIL_HELD, REC_ON_CPU | REC_GIL_HELD | REC_IN_C,
                                     REC_GIL_WAIT, 0, REC_ON_CPU | REC_GIL_HELD | REC_IN_GC};
    uint8_t state = states[tick % (int)ARRAY_LEN(states)];
    struct rec_sample s = {
        .thread = thread,
        .stack = nodes[tick % 4],
        .end_ns = START + (uint64_t)(tick + 1) * TICK,
        .wall_ns = TICK,
        .cpu_ns = state & REC_ON_CPU ? TICK / 10 * 9 : 0,
        .count = 1,
        .syscall = REC_NO_SYSCALL,
        .state = state,
    };
    rec_sample(w, &s);
}

static void put_threads(struct rec_writer *w, const struct program *g, uint32_t process)
{
    uint32_t nodes[4] = {REC_NO_STACK};
    uint32_t threads[16] = {0};
    for (int i = 0; i < 3; i++)
        nodes[i + 1] = rec_push(w, nodes[i], put_frame(w, g, i));
    for (int t = 0; t < g->threads; t++) {
        struct rec_thread thread = {.process = process,
                                    .tid = 100 + (uint32_t)t,
                                    .start_ns = START,
                                    .name = put_string(w, g->names[1])};
        threads[t] = rec_thread(w, &thread);
    }
    for (int tick = 0; tick < g->ticks; tick++) {
        for (int t = 0; t < g->threads; t++)
            put_sample(w, threads[t], nodes, tick);
    }
}

/* A recording of the program; the caller closes the descriptor. */
static int record(const struct program *g)
{
    static const char command[] = "python3\0w o r k.py";
    int fd = memfd_create("recording", 0);
    struct rec_header header = {.version = REC_FORMAT_VERSION,
                                .zond = "0",
                                .host = "h",
                                .command = command,
                                .command_len = sizeof(command),
                                .started_wall_ns = 1763823000 * NS_PER_S,
                                .started_ns = START,
                                .period_ns = TICK};
    struct rec_writer *w;
    assert_int_equal(rec_writer_new(dup(fd), &header, &w), 0);
    struct rec_process process = {.pid = 100,
                                  .ppid = 1,
                                  .start_ns = START,
                                  .python = g->python ? put_string(w, "3.11.7") : 0,
                                  .command = rec_string(w, command, sizeof(command))};
    put_threads(w, g, rec_process(w, &process));
    struct rec_loss loss = {REC_LOSS_PROCESS, START, 1, put_string(w, "process 7 is \033[2Jno Python")};
    rec_loss(w, &loss);
    uint64_t end_ns = START + (uint64_t)g->ticks * TICK;
    struct rec_stats stats = {.time_ns = end_ns,
                              .ticks = (uint64_t)g->ticks,
                              .samples = (uint64_t)(g->ticks * g->threads),
                              .cpu_ns = 12345678,
                              .reads = 99,
                              .read_bytes = 123456};
    rec_stats(w, &stats);
    struct rec_end end = {.ended_ns = end_ns, .code = 3, .signal = 0};
    assert_int_equal(rec_writer_free(w, g->cut ? NULL : &end), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

typedef int show_fn(FILE *to, struct profile *p, const struct report_style *style);

/* What a view prints; the caller frees. */
static char *show(const struct program *g, show_fn *view, const struct report_style *style)
{
    struct profile_filter all = {0};
    struct rec_reader *r;
    struct profile *p;
    char *text;
    size_t len;
    int fd = record(g);
    FILE *to = open_memstream(&text, &len);
    assert_int_equal(rec_reader_new(fd, &r), 0);
    assert_int_equal(profile_new(r, &all, &p), 0);
    assert_int_equal(view(to, p, style), 0);
    fclose(to);
    profile_free(p);
    rec_reader_free(r);
    close(fd);
    assert_int_equal(strlen(text), len);
    return text;
}

static struct report_style style_of(int width, bool unicode, enum metric metric)
{
    return (struct report_style){
        .width = width, .unicode = unicode, .metric = metric, .path = "work-100.zond"};
}

static show_fn *const views[] = {report_summary, report_calls, report_lines};

/* Columns of a line in a UTF-8 locale; fails on what is not printable. */
static int columns(const char *line, size_t len)
{
    int width = 0;
    for (size_t i = 0, used; i < len; i += used) {
        uint32_t c = utf8_next(line + i, len - i, &used);
        assert_int_not_equal(c, UTF8_INVALID);
        int w = wcwidth((wchar_t)c);
        assert_true(w >= 0);
        assert_false(c >= 0x202a && c <= 0x202e);
        width += w;
    }
    return width;
}

static void check_lines(const char *text, int width, const char *title)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        if (columns(text, len) > width)
            fail_msg("%s: wider than %d: %.*s", title, width, (int)len, text);
        if (len && text[len - 1] == ' ')
            fail_msg("%s: ends in a blank: '%.*s'", title, (int)len, text);
        text += len + (text[len] == '\n');
    }
}

static void test_widths(void **state)
{
    static const int widths[] = {40, 47, 60, 80, 100, 200};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(programs) * ARRAY_LEN(widths) * ARRAY_LEN(views); i++) {
        const struct program *g = &programs[i % ARRAY_LEN(programs)];
        int width = widths[i / ARRAY_LEN(programs) % ARRAY_LEN(widths)];
        show_fn *view = views[i / ARRAY_LEN(programs) / ARRAY_LEN(widths)];
        struct report_style style = style_of(width, i % 2, (enum metric)(i % METRIC_COUNT));
        char *text = show(g, view, &style);
        check_lines(text, width, g->title);
        free(text);
    }
}

/* With colour, the only control sequences are those that set and reset it. */
static void test_colour_is_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        struct report_style style = style_of(80, true, METRIC_WALL);
        style.color = true;
        char *text = show(&programs[i], report_summary, &style);
        for (const char *c = text; *c; c++) {
            if (*c == '\033') {
                size_t len = strspn(c + 2, "0123456789;");
                assert_int_equal(c[1], '[');
                assert_int_equal(c[2 + len], 'm');
            } else {
                assert_true(*c == '\n' || (unsigned char)*c >= 0x20);
            }
        }
        free(text);
    }
}

static void test_ascii_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(programs) * ARRAY_LEN(views); i++) {
        struct report_style style = style_of(90, false, METRIC_WALL);
        char *text = show(&programs[i % ARRAY_LEN(programs)], views[i / ARRAY_LEN(programs)], &style);
        for (const char *c = text; *c; c++)
            assert_true(*c == '\n' || (*c >= 0x20 && *c < 0x7f));
        free(text);
    }
}

/* The percentages of the line or lines under the stacked bar. */
static double legend_sum(const char *text)
{
    const char *at = strstr(text, "time  ");
    double sum = 0;
    at = strchr(at, '\n') + 1; /* the bar */
    at = strchr(at, '\n') + 1;
    const char *end = strstr(at, "\n\n");
    for (const char *percent = at; (percent = strchr(percent, '%')) && percent < end; percent++) {
        const char *number = percent;
        while (number[-1] != ' ')
            number--;
        sum += strtod(number, NULL);
    }
    return sum;
}

static void test_states_sum_to_100(void **state)
{
    (void)state;
    for (int metric = 0; metric < METRIC_COUNT; metric++) {
        for (int ticks = 1; ticks < 40; ticks += 3) {
            struct program g = programs[1];
            struct report_style style = style_of(60, true, (enum metric)metric);
            g.ticks = ticks + 5;
            char *text = show(&g, report_summary, &style);
            assert_int_equal((int)(legend_sum(text) * 10 + 0.5), 1000);
            free(text);
        }
    }
}

/* Sums of a profile overlap, and clocks disagree; the states still add up. */
static void test_states_of(void **state)
{
    static const struct weights sums[] = {
        {.wall = 100, .cpu = 90, .gil_held = 80, .gil_wait = 5, .gc = 10, .in_c = 30, .blocked = 5},
        {.wall = 100, .cpu = 120, .gil_held = 200, .gil_wait = 70, .gc = 90, .in_c = 110, .blocked = 60},
        {.wall = 1, .cpu = 0, .gil_held = 0, .gil_wait = 0, .gc = 0, .in_c = 0, .blocked = 1},
        {0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sums) * METRIC_COUNT; i++) {
        enum metric metric = (enum metric)(i % METRIC_COUNT);
        const struct weights *w = &sums[i / METRIC_COUNT];
        struct states s;
        uint64_t sum = 0;
        states_of(&s, w, metric);
        for (size_t k = 0; k < s.count; k++)
            sum += s.parts[k].ns;
        assert_int_equal(sum, metric == METRIC_CPU ? w->cpu : w->wall);
        assert_int_equal(sum, s.total);
    }
}

static void test_shares(void **state)
{
    static const uint64_t parts[][4] = {
        {1, 1, 1, 0}, {0, 0, 0, 0}, {UINT64_MAX, UINT64_MAX, 1, 7}, {999, 1, 0, 0}, {3, 7, 11, 13}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        unsigned shares[4];
        units_shares(parts[i], shares, 4);
        assert_int_equal(shares[0] + shares[1] + shares[2] + shares[3], i == 1 ? 0 : 1000);
    }
}

static void test_sentences(void **state)
{
    static const struct {
        int program;
        enum metric metric;
        const char *says;
    } cases[] = {
        {0, METRIC_WALL, "exit 3"},
        {0, METRIC_WALL, "Missed      1 process could not be looked into"},
        {0, METRIC_WALL, "process 7 is \\x1b[2Jno Python"},
        {0, METRIC_WALL, "sampled"},
        {6, METRIC_WALL, "Incomplete: "},
        {7, METRIC_WALL, "No samples: "},
        {8, METRIC_WALL, "No Python was seen"},
        {9, METRIC_GC, "none with time in garbage collection"},
        {9, METRIC_GC, "Missed      1 process could not be looked into"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct report_style style = style_of(200, true, cases[i].metric);
        char *text = show(&programs[cases[i].program], report_summary, &style);
        if (!strstr(text, cases[i].says))
            fail_msg("no '%s' in:\n%s", cases[i].says, text);
        free(text);
    }
}

static double number_at(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    assert_true(json_is_number(v));
    return json_number_value(v);
}

static void test_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        const struct program *g = &programs[i];
        struct report_style style = style_of(80, true, METRIC_WALL);
        char *text = show(g, report_json, &style);
        json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        json_t *run = json_object_get(o, "run");
        json_t *f;
        size_t k;
        double self = 0;
        assert_non_null(o);
        assert_int_equal(number_at(o, "schema"), 1);
        assert_string_equal(json_string_value(json_array_get(json_object_get(run, "command"), 1)),
                            "w o r k.py");
        assert_int_equal(json_boolean_value(json_object_get(run, "complete")), !g->cut);
        assert_true(json_is_null(json_object_get(o, "memory")) && json_is_null(json_object_get(o, "io")));
        assert_true(json_is_array(json_object_get(o, "findings")));
        json_array_foreach(json_object_get(o, "functions"), k, f) self += number_at(f, "self_wall_s");
        /* One sample in four has no stack and belongs to no function. */
        int with_stack = g->ticks - (g->ticks + 3) / 4;
        assert_float_equal(self, g->threads * with_stack * 1e-3, 1e-6);
        json_array_foreach(json_object_get(o, "lines"), k, f) assert_true(
            json_is_false(json_object_get(f, "exact")) && json_is_null(json_object_get(f, "hits")));
        json_decref(o);
        free(text);
    }
}

/* What an export writes; the caller frees. */
static char *export_text(const struct program *g, const char *format, const struct export_options *o)
{
    struct rec_reader *r;
    char *text;
    size_t len;
    int fd = record(g);
    bool binary = false;
    FILE *to = open_memstream(&text, &len);
    assert_int_equal(rec_reader_new(fd, &r), 0);
    for (size_t i = 0; i < export_format_count; i++) {
        if (strcmp(export_formats[i].name, format) != 0)
            continue;
        assert_int_equal(export_formats[i].write(to, r, o), 0);
        binary = export_formats[i].binary;
    }
    fclose(to);
    rec_reader_free(r);
    close(fd);
    if (!binary)
        assert_int_equal(strlen(text), len);
    return text;
}

static size_t count_of(const char *s, size_t len, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += s[i] == c;
    return n;
}

/* Each line is a stack of at most three frames and a weight; the weights add up to the time of all threads.
 */
static void test_collapsed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        const struct program *g = &programs[i];
        struct export_options o = {.per_process = i % 2};
        char *text = export_text(g, "collapsed", &o);
        unsigned long sum = 0;
        for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
            size_t len = strcspn(line, "\n");
            const char *space = memrchr(line, ' ', len);
            assert_non_null(space);
            assert_true(count_of(line, len, ';') <= 2u + o.per_process);
            assert_null(memchr(line, '\033', len));
            sum += strtoul(space, NULL, 10);
        }
        assert_int_equal(sum, g->threads * g->ticks * 1000);
        free(text);
    }
}

static void check_profile(const json_t *profile, size_t frames, const struct program *g)
{
    json_t *samples = json_object_get(profile, "samples");
    json_t *weights = json_object_get(profile, "weights");
    json_t *sample, *frame;
    size_t i, k;
    double sum = 0;
    assert_string_equal(json_string_value(json_object_get(profile, "type")), "sampled");
    assert_string_equal(json_string_value(json_object_get(profile, "unit")), "nanoseconds");
    assert_true(json_is_string(json_object_get(profile, "name")));
    assert_int_equal(json_array_size(samples), json_array_size(weights));
    json_array_foreach(samples, i, sample)
    {
        sum += json_number_value(json_array_get(weights, i));
        json_array_foreach(sample, k, frame)
            assert_true(json_is_integer(frame) && (size_t)json_integer_value(frame) < frames);
    }
    assert_true(sum == (double)g->ticks * TICK);
    assert_true(number_at(profile, "endValue") - number_at(profile, "startValue") == sum);
}

static void test_speedscope(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        const struct program *g = &programs[i];
        struct export_options o = {.per_process = i % 2, .name = "\xff</script>.zond"};
        char *text = export_text(g, "speedscope", &o);
        json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        json_t *profiles = json_object_get(root, "profiles");
        json_t *frames = json_object_get(json_object_get(root, "shared"), "frames");
        json_t *profile, *frame;
        size_t k;
        assert_non_null(root);
        assert_null(strstr(text, "</script>"));
        assert_string_equal(json_string_value(json_object_get(root, "name")), "\xef\xbf\xbd</script>.zond");
        assert_int_equal(json_array_size(profiles), g->ticks ? g->threads : 0);
        json_array_foreach(frames, k, frame) assert_true(json_is_string(json_object_get(frame, "name")));
        json_array_foreach(profiles, k, profile) check_profile(profile, json_array_size(frames), g);
        json_decref(root);
        free(text);
    }
}

/* Each format takes each program, whatever its names, whether it is cut or empty; a filter that lets nothing
 * through too. What they say is tested with the formats' own readers. */
static void test_every_format(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        for (size_t f = 0; f < export_format_count; f++) {
            struct export_options o = {
                .per_process = i % 2, .lines = f % 2, .metric = (enum metric)(i % METRIC_COUNT)};
            for (int none = 0; none < 2; none++) {
                o.filter.pid = none ? 12345 : 0;
                free(export_text(&programs[i], export_formats[f].name, &o));
            }
        }
    }
}

static void test_export_filter(void **state)
{
    struct export_options one = {.filter = {.tid = 101}, .metric = METRIC_CPU};
    struct export_options none = {.filter = {.pid = 12345}};
    (void)state;
    char *text = export_text(&programs[1], "speedscope", &one);
    json_t *root = json_loads(text, 0, NULL);
    json_t *profiles = json_object_get(root, "profiles");
    assert_int_equal(json_array_size(profiles), 1);
    /* Three samples in five are on a CPU. */
    assert_true(number_at(json_array_get(profiles, 0), "endValue") == 27.0 * TICK);
    json_decref(root);
    free(text);
    text = export_text(&programs[1], "collapsed", &none);
    assert_string_equal(text, "");
    free(text);
}

static void test_text(void **state)
{
    static const struct {
        const char *raw;
        const char *clean;
        enum text_cut cut;
        int width;
        const char *fits;
    } cases[] = {
        {"plain", "plain", TEXT_CUT_END, 5, "plain"},
        {"a\nb", "a\\nb", TEXT_CUT_END, 3, "a\\\u2026"},
        {"\033[1m", "\\x1b[1m", TEXT_CUT_END, 9, "\\x1b[1m"},
        {"\x9b\x31", "\\x9b1", TEXT_CUT_END, 9, "\\x9b1"},
        {"a\u202eb", "a\\u202eb", TEXT_CUT_END, 20, "a\\u202eb"},
        {"0123456789", "0123456789", TEXT_CUT_MIDDLE, 7, "01\u20266789"},
        {"0123456789", "0123456789", TEXT_CUT_START, 4, "\u2026789"},
        {"\u6e2c\u5b9a\u95a2", "\u6e2c\u5b9a\u95a2", TEXT_CUT_END, 4, "\u6e2c\u2026"},
        {"ab", "ab", TEXT_CUT_END, 1, "a"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf clean, fits;
        buf_init(&clean, 1000);
        buf_init(&fits, 1000);
        int width = text_clean(&clean, cases[i].raw, strlen(cases[i].raw), true);
        assert_int_equal(width, text_width((char *)clean.data, clean.len));
        int used = text_fit(&fits, (char *)clean.data, clean.len, cases[i].width, cases[i].cut, true);
        assert_true(used <= cases[i].width);
        buf_put_u8(&clean, 0);
        buf_put_u8(&fits, 0);
        assert_string_equal((char *)clean.data, cases[i].clean);
        assert_string_equal((char *)fits.data, cases[i].fits);
        buf_release(&clean);
        buf_release(&fits);
    }
}

static void test_style(void **state)
{
    static const char *const names[] = {"PYTHON_COLORS", "NO_COLOR", "FORCE_COLOR",
                                        "TERM",          "LC_ALL",   "COLUMNS"};
    static const struct {
        enum report_color flag;
        const char *values[ARRAY_LEN(names)];
        bool color, unicode;
        int width;
    } cases[] = {
        {REPORT_COLOR_AUTO, {NULL, NULL, NULL, "xterm", "C", NULL}, false, false, 100},
        {REPORT_COLOR_AUTO, {NULL, NULL, "1", "dumb", "de_DE.UTF-8", "72"}, true, true, 72},
        {REPORT_COLOR_AUTO, {NULL, "1", "1", "xterm", "C.utf8", "0"}, false, true, 100},
        {REPORT_COLOR_AUTO, {"1", "1", NULL, "dumb", "C", "7"}, true, false, REPORT_MIN_WIDTH},
        {REPORT_COLOR_AUTO, {"0", NULL, "1", "xterm", "C", NULL}, false, false, 100},
        {REPORT_COLOR_ALWAYS, {"0", "1", NULL, "dumb", "C", NULL}, true, false, 100},
        {REPORT_COLOR_NEVER, {"1", NULL, "1", "xterm", "C", NULL}, false, false, 100},
    };
    FILE *to = tmpfile();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct report_style s;
        for (size_t k = 0; k < ARRAY_LEN(names); k++) {
            if (cases[i].values[k])
                setenv(names[k], cases[i].values[k], 1);
            else
                unsetenv(names[k]);
        }
        report_style_init(&s, to, cases[i].flag, 0);
        assert_int_equal(s.color, cases[i].color);
        assert_int_equal(s.unicode, cases[i].unicode);
        assert_int_equal(s.width, cases[i].width);
    }
    fclose(to);
}

/* A full disk is said, not passed over. */
static void test_write_error(void **state)
{
    struct profile_filter all = {0};
    struct report_style style = style_of(80, true, METRIC_WALL);
    struct rec_reader *r;
    struct profile *p;
    FILE *full = fopen("/dev/full", "w");
    int fd = record(&programs[0]);
    (void)state;
    assert_non_null(full);
    assert_int_equal(rec_reader_new(fd, &r), 0);
    assert_int_equal(profile_new(r, &all, &p), 0);
    assert_true(report_summary(full, p, &style) < 0);
    assert_true(report_json(full, p, &style) < 0);
    profile_free(p);
    rec_reader_free(r);
    fclose(full);
    close(fd);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_widths),        cmocka_unit_test(test_colour_is_all),
        cmocka_unit_test(test_ascii_only),    cmocka_unit_test(test_states_sum_to_100),
        cmocka_unit_test(test_states_of),     cmocka_unit_test(test_shares),
        cmocka_unit_test(test_sentences),     cmocka_unit_test(test_json),
        cmocka_unit_test(test_collapsed),     cmocka_unit_test(test_speedscope),
        cmocka_unit_test(test_export_filter), cmocka_unit_test(test_every_format),
        cmocka_unit_test(test_text),          cmocka_unit_test(test_style),
        cmocka_unit_test(test_write_error),
    };
    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
