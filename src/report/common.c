/* common: see common.h. */
#include "report/common.h"

#include <string.h>

#include "analysis/modules.h"
#include "report/source.h"
#include "report/units.h"

const char *metric_name(enum metric metric)
{
    static const char *const names[METRIC_COUNT] = {
        [METRIC_WALL] = "wall time",
        [METRIC_CPU] = "CPU time",
        [METRIC_GIL] = "time holding the GIL",
        [METRIC_GC] = "time in garbage collection",
    };
    return names[metric];
}

static void say(struct term *t, enum ink ink, const char *text)
{
    term_paragraph(t, ink, NULL, text, strlen(text));
}

void common_broken(struct term *t, const struct profile *p)
{
    char text[256];
    char time[UNITS_MAX];
    uint64_t offset = 0;
    enum rec_break broken = rec_reader_break(profile_reader(p), &offset);
    if (broken == REC_WHOLE)
        return;
    units_time(time, profile_elapsed_ns(p));
    if (broken == REC_CUT && t->style.growing)
        snprintf(text, sizeof(text),
                 "Still being written: shown is what there is so far, up to %s after the start.", time);
    else if (broken == REC_CUT)
        snprintf(text, sizeof(text),
                 "Incomplete: the recording ends without its end mark, as when zond is killed. Shown is what "
                 "there is, up to %s (byte %llu).",
                 time, (unsigned long long)offset);
    else
        snprintf(
            text, sizeof(text),
            "Damaged: the recording cannot be read from byte %llu on. Shown is what comes before, up to %s.",
            (unsigned long long)offset, time);
    say(t, INK_WARN, text);
}

/* Of a recording that was damaged when it was merged, what is left looks as if it had been cut. */
void common_broken_parts(const struct rec_reader *r, uint64_t *cut, uint64_t *corrupt)
{
    const struct rec_merged *merged = rec_reader_merged(r);
    uint64_t damaged = merged ? merged->corrupt : 0;
    *cut = *corrupt = 0;
    for (uint32_t i = 0; i < rec_reader_part_count(r); i++) {
        enum rec_break stop = rec_reader_part(r, i).stop;
        *cut += stop == REC_CUT;
        *corrupt += stop == REC_CORRUPT;
    }
    damaged = min_u64(damaged, *cut);
    *cut -= damaged;
    *corrupt += damaged;
}

static bool has_python(const struct rec_reader *r)
{
    for (uint32_t i = 0; i < rec_reader_process_count(r); i++) {
        if (rec_reader_process(r, i).python)
            return true;
    }
    return false;
}

void common_python(char out[static COMMON_PYTHON_MAX], const struct rec_reader *r)
{
    uint32_t python = 0;
    *out = 0;
    for (uint32_t i = 0; i < rec_reader_process_count(r); i++) {
        uint32_t id = rec_reader_process(r, i).python;
        if (id && python && id != python) {
            snprintf(out, COMMON_PYTHON_MAX, "Pythons: several");
            return;
        }
        python = id ? id : python;
    }
    if (python)
        snprintf(out, COMMON_PYTHON_MAX, "Python %s", rec_reader_string(r, python, NULL));
}

void common_loss_details(struct term *t, const struct profile *p, const char *label)
{
    size_t count;
    const uint32_t *details = profile_loss_details(p, &count);
    for (size_t i = 0; i < count; i++) {
        size_t len;
        const char *s = rec_reader_string(profile_reader(p), details[i], &len);
        struct buf clean;
        buf_init(&clean, TEXT_MAX * 10);
        text_clean(&clean, s, len, t->style.unicode);
        term_paragraph(t, INK_PLAIN, label, (char *)clean.data, clean.len);
        buf_release(&clean);
    }
}

/* Why there is not one sample of the metric to show. */
static void say_nothing(struct term *t, const struct profile *p)
{
    const struct rec_reader *r = profile_reader(p);
    char text[256];
    if (profile_sum(p)->samples) {
        snprintf(text, sizeof(text), "The recording holds samples, but none with %s.",
                 metric_name(t->style.metric));
        say(t, INK_PLAIN, text);
    } else if (t->style.tasks) {
        say(t, INK_PLAIN,
            "No asyncio task was seen waiting. Await chains are recorded with CPython 3.14 and later.");
    } else if (profile_stats(p)->samples) {
        say(t, INK_PLAIN,
            "The recording holds samples, but none of the process or thread that was asked for.");
    } else if (has_python(r)) {
        say(t, INK_PLAIN, "No samples: Python was seen, but it ended before the first look at its stack.");
        common_loss_details(t, p, NULL);
    } else {
        say(t, INK_PLAIN,
            "No Python was seen: neither the command nor what it started was a CPython that zond "
            "can look into.");
        common_loss_details(t, p, NULL);
    }
}

struct kind_text common_kind(uint8_t kind)
{
    static const struct kind_text texts[] = {
        [REC_PYTHON] = {"python", "py"}, [REC_NATIVE] = {"native", "C"},     [REC_JIT] = {"jit", "jit"},
        [REC_GC] = {"gc", "gc"},         [REC_SYSCALL] = {"syscall", "sys"}, [REC_GUESSED] = {"native", "C?"},
    };
    return kind < ARRAY_LEN(texts) ? texts[kind] : (struct kind_text){"unknown", "?"};
}

bool common_opening(struct term *t, struct profile *p)
{
    common_broken(t, p);
    if (weights_of(profile_sum(p), t->style.metric))
        return true;
    say_nothing(t, p);
    return false;
}

/* Words that a shell takes as they are need no quotes. */
static bool is_plain(const char *word, size_t len)
{
    static const char special[] = " \t\n\"'\\$`*?[]{}()<>|&;#~!";
    for (size_t i = 0; i < len; i++) {
        if (strchr(special, word[i]))
            return false;
    }
    return len > 0;
}

void common_command(struct buf *out, const struct term *t, const char *args, size_t len)
{
    const char *end = args + len;
    for (const char *word = args; word < end;) {
        size_t n = strnlen(word, (size_t)(end - word));
        const char *quote = is_plain(word, n) ? "" : "'";
        if (word > args)
            buf_put_str(out, " ");
        buf_put_str(out, quote);
        text_clean(out, word, n, t->style.unicode);
        buf_put_str(out, quote);
        word += n + 1;
    }
}

const char *common_path(const struct term *t, const char *path, size_t *len)
{
    const char *here = t->style.here;
    size_t n = here ? strlen(here) : 0;
    if (n > 1 && *len > n + 1 && memcmp(path, here, n) == 0 && path[n] == '/') {
        *len -= n + 1;
        return path + n + 1;
    }
    return path;
}

const char *common_short_path(const struct term *t, const char *path, size_t *len)
{
    size_t cut;
    module_origin(path, *len, &cut);
    if (!cut || cut >= *len)
        return common_path(t, path, len);
    *len -= cut;
    return path + cut;
}

void common_function_cell(struct table *table, const struct profile *p, uint32_t code)
{
    const struct rec_reader *r = profile_reader(p);
    size_t len;
    const char *name = rec_reader_string(r, rec_reader_code(r, code).name, &len);
    table_foreign(table, INK_PLAIN, name, len);
}

void common_place_cell(struct table *table, const struct term *t, const struct profile *p, uint32_t code,
                       uint32_t line)
{
    const struct rec_reader *r = profile_reader(p);
    char place[TEXT_MAX];
    size_t len;
    const char *file = rec_reader_string(r, rec_reader_code(r, code).file, &len);
    file = common_short_path(t, file, &len);
    size_t room = sizeof(place) - UNITS_MAX;
    size_t n = len < room ? len : room;
    memcpy(place, file, n);
    if (line && n)
        n += (size_t)snprintf(place + n, UNITS_MAX, ":%u", line);
    table_foreign(table, INK_DIM, place, n);
}

void common_source_cell(struct table *table, const struct profile *p, uint32_t code, uint32_t line)
{
    const struct rec_reader *r = profile_reader(p);
    struct source source;
    size_t len = 0;
    const char *text = NULL;
    if (source_open(&source, rec_reader_string(r, rec_reader_code(r, code).file, NULL)) == 0)
        text = source_line(&source, line, &len);
    for (; len && (*text == ' ' || *text == '\t'); text++)
        len--;
    if (len)
        table_foreign(table, INK_PLAIN, text, len);
    else
        common_function_cell(table, p, code);
    source_release(&source);
}

void common_time_cell(struct table *table, uint64_t ns, uint64_t max_ns)
{
    char text[UNITS_MAX];
    table_cell(table, ns ? INK_PLAIN : INK_DIM, "%s", units_time_like(text, ns, max_ns));
}

void common_share_cell(struct table *table, uint64_t part, uint64_t whole)
{
    char text[UNITS_MAX];
    table_cell(table, part ? INK_PLAIN : INK_DIM, "%s", units_percent(text, part, whole));
}
