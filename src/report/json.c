/* json: the object of the contract, schema 1. Times in seconds, sizes in bytes. What a recording does not
 * measure is null, never 0. Text that is not UTF-8 gets U+FFFD for each byte that does not fit.
 */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "report/report.h"

#define SCHEMA 1
/* No string of a recording is longer, even if each byte of it has to be replaced by three. */
#define STRING_MAX (4u << 20)

static json_t *text(const char *s, size_t len)
{
    struct buf b;
    buf_init(&b, STRING_MAX);
    for (size_t i = 0, used; i < len; i += used) {
        if (utf8_next(s + i, len - i, &used) == UTF8_INVALID)
            buf_put_str(&b, "\xef\xbf\xbd");
        else
            buf_put(&b, s + i, used);
    }
    json_t *j = json_stringn_nocheck(b.len ? (char *)b.data : "", b.len);
    buf_release(&b);
    return j;
}

static json_t *string_of(const struct rec_reader *r, uint32_t id)
{
    size_t len;
    const char *s = rec_reader_string(r, id, &len);
    return text(s, len);
}

/* A number counted from 1, of which 0 means unknown. */
static json_t *known(uint32_t n)
{
    return n ? json_integer(n) : json_null();
}

static json_t *seconds(uint64_t ns)
{
    return json_real((double)ns / NS_PER_S);
}

/* The words of a command, each ended by a NUL. */
static json_t *words(const char *args, size_t len)
{
    json_t *list = json_array();
    for (size_t i = 0; i < len;) {
        size_t n = strnlen(args + i, len - i);
        json_array_append_new(list, text(args + i, n));
        i += n + 1;
    }
    return list;
}

static json_t *started(const struct rec_header *h)
{
    char out[32];
    struct tm tm;
    time_t s = (time_t)(h->started_wall_ns / NS_PER_S);
    if (!h->started_wall_ns || !gmtime_r(&s, &tm) || !strftime(out, sizeof(out), "%Y-%m-%dT%H:%M:%SZ", &tm))
        return json_null();
    return json_string(out);
}

static json_t *exit_object(int32_t code, int32_t signal)
{
    return json_pack("{s:o, s:o}", "code", code == REC_NO_CODE || signal ? json_null() : json_integer(code),
                     "signal", signal ? json_integer(signal) : json_null());
}

static json_t *run_object(const struct profile *p, const struct report_style *style)
{
    const struct rec_reader *r = profile_reader(p);
    const struct rec_header *h = rec_reader_header(r);
    const struct rec_end *end = rec_reader_end(r);
    bool whole = rec_reader_break(r, NULL) == REC_WHOLE;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:b}", "command", words(h->command, h->command_len),
                     "started", started(h), "wall_s", seconds(profile_elapsed_ns(p)), "cpu_s",
                     seconds(profile_cpu_ns(p)), "exit",
                     exit_object(end ? end->code : REC_NO_CODE, end ? end->signal : 0), "complete", whole,
                     "growing", !whole && style->growing, "attached", h->attached);
}

static json_t *losses(const struct profile *p)
{
    size_t count;
    const uint32_t *details = profile_loss_details(p, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, string_of(profile_reader(p), details[i]));
    return list;
}

static json_int_t loss(const struct profile *p, enum rec_loss_kind kind)
{
    return (json_int_t)profile_loss(p, kind);
}

/* No thread is stopped to be looked at, so that there are no pauses to measure: pause_us holds nulls. */
static json_t *sampling_object(const struct profile *p)
{
    const struct rec_header *h = rec_reader_header(profile_reader(p));
    const struct rec_stats *st = profile_stats(p);
    uint64_t elapsed = profile_elapsed_ns(p);
    bool measured = st->ticks && elapsed;
    json_t *o = json_pack(
        "{s:o, s:o, s:I, s:{s:n, s:n, s:n}, s:o}", "rate_hz",
        h->period_ns ? json_real((double)NS_PER_S / (double)h->period_ns) : json_null(), "achieved_hz",
        measured ? json_real((double)st->ticks / ((double)elapsed / NS_PER_S)) : json_null(), "samples",
        (json_int_t)profile_sum(p)->samples, "pause_us", "p50", "p90", "max", "sampler_cpu_s",
        measured ? seconds(st->cpu_ns) : json_null());
    json_t *missed =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "missed", loss(p, REC_LOSS_MISSED), "torn",
                  loss(p, REC_LOSS_TORN), "dropped", loss(p, REC_LOSS_DROPPED), "unreadable",
                  loss(p, REC_LOSS_UNREADABLE), "truncated", loss(p, REC_LOSS_TRUNCATED), "unseen_processes",
                  loss(p, REC_LOSS_PROCESS), "unwritten", loss(p, REC_LOSS_WRITE), "losses", losses(p));
    json_object_update_missing(o, missed);
    json_decref(missed);
    return o;
}

static json_t *thread_object(const struct rec_reader *r, const struct profile_thread *t)
{
    struct rec_thread thread = rec_reader_thread(r, t->thread);
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "tid", (json_int_t)thread.tid, "name",
                     string_of(r, thread.name), "wall_s", seconds(t->sum.wall), "cpu_s", seconds(t->sum.cpu),
                     "gil_held_s", seconds(t->sum.gil_held), "gil_wait_s", seconds(t->sum.gil_wait), "gc_s",
                     seconds(t->sum.gc), "blocked_s", seconds(t->sum.blocked));
}

static json_t *process_object(const struct profile *p, const struct profile_process *pp)
{
    const struct rec_reader *r = profile_reader(p);
    struct rec_process process = rec_reader_process(r, pp->process);
    size_t count, len;
    const struct profile_thread *threads = profile_threads(p, &count);
    const char *command = rec_reader_string(r, process.command, &len);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        if (rec_reader_thread(r, threads[i].thread).process == pp->process)
            json_array_append_new(list, thread_object(r, &threads[i]));
    }
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o}", "pid", (json_int_t)process.pid, "ppid",
                     (json_int_t)process.ppid, "python",
                     process.python ? string_of(r, process.python) : json_null(), "command",
                     words(command, len), "exit", exit_object(pp->code, pp->signal), "threads", list);
}

static json_t *processes_array(const struct profile *p)
{
    size_t count;
    const struct profile_process *processes = profile_processes(p, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, process_object(p, &processes[i]));
    return list;
}

static json_t *functions_array(struct profile *p, const struct report_style *style)
{
    static const char *const kinds[] = {"python", "native", "jit", "gc", "syscall"};
    const struct rec_reader *r = profile_reader(p);
    size_t count;
    const struct profile_function *f = profile_functions(p, style->metric, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count && (!style->limit || i < style->limit); i++) {
        struct rec_code c = rec_reader_code(r, f[i].code);
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:n}", "name", string_of(r, c.name),
                            "file", c.file ? string_of(r, c.file) : json_null(), "line", known(c.first_line),
                            "kind", c.kind < ARRAY_LEN(kinds) ? kinds[c.kind] : "unknown", "self_wall_s",
                            seconds(f[i].self.wall), "total_wall_s", seconds(f[i].total.wall), "self_cpu_s",
                            seconds(f[i].self.cpu), "total_cpu_s", seconds(f[i].total.cpu), "calls"));
    }
    return list;
}

static json_t *lines_array(struct profile *p, const struct report_style *style)
{
    const struct rec_reader *r = profile_reader(p);
    size_t count;
    const struct profile_line *l = profile_lines(p, style->metric, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count && (!style->limit || i < style->limit); i++) {
        struct rec_code c = rec_reader_code(r, l[i].code);
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:n, s:n, s:b, s:n, s:n, s:n, s:n, s:n}",
                            "file", c.file ? string_of(r, c.file) : json_null(), "line", known(l[i].line),
                            "function", string_of(r, c.name), "self_wall_s", seconds(l[i].self.wall),
                            "total_wall_s", seconds(l[i].total.wall), "self_cpu_s", seconds(l[i].self.cpu),
                            "total_cpu_s", seconds(l[i].total.cpu), "hits", "time_s", "exact", 0,
                            "alloc_bytes", "free_bytes", "live_bytes", "peak_bytes", "rss_delta_bytes"));
    }
    return list;
}

/* The share comes from samples; single collections are not seen by them: null. */
static json_t *gc_object(const struct profile *p)
{
    const struct weights *sum = profile_sum(p);
    return json_pack("{s:o, s:n}", "share",
                     sum->wall ? json_real((double)sum->gc / (double)sum->wall) : json_null(), "collections");
}

int report_json(FILE *to, struct profile *p, const struct report_style *style)
{
    json_t *o = json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:n, s:n, s:[]}", "zond", ZOND_VERSION,
                          "schema", SCHEMA, "run", run_object(p, style), "sampling", sampling_object(p),
                          "processes", processes_array(p), "functions", functions_array(p, style), "lines",
                          lines_array(p, style), "gc", gc_object(p), "memory", "io", "findings");
    if (!o)
        return -ENOMEM;
    int rc = json_dumpf(o, to, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    json_decref(o);
    fputc('\n', to);
    return rc || fflush(to) || ferror(to) ? -EIO : 0;
}
