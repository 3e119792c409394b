/* json: the object of the contract, schema 1. Times in seconds, sizes in bytes. What a recording does not
 * measure is null, never 0. Text that is not UTF-8 gets U+FFFD for each byte that does not fit.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report/common.h"
#include "report/json_text.h"
#include "report/report.h"
#include "report/whose.h"

#define SCHEMA 1

/* The object is written piece by piece: as one tree in memory, a recording of a million threads would take a
 * gigabyte. */
struct out {
    FILE *to;
    bool inside; /* of the brackets that are open, and behind a value */
    bool failed;
};

static void put_key(struct out *o, const char *key)
{
    fputs(o->inside ? ",\n" : "", o->to);
    if (key)
        fprintf(o->to, "\"%s\": ", key);
    o->inside = true;
}

/* `key`: NULL in an array. Takes value; NULL is one that could not be made. */
static void put(struct out *o, const char *key, json_t *value)
{
    put_key(o, key);
    o->failed |= !value || json_dumpf(value, o->to, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)) != 0;
    json_decref(value);
}

static void open_value(struct out *o, const char *key, char bracket)
{
    put_key(o, key);
    fprintf(o->to, "%c\n", bracket);
    o->inside = false;
}

static void close_value(struct out *o, char bracket)
{
    fprintf(o->to, "\n%c", bracket);
    o->inside = true;
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

/* null unless the recording was merged. */
static json_t *merged_object(const struct rec_reader *r)
{
    const struct rec_merged *merged = rec_reader_merged(r);
    json_int_t parts = rec_reader_part_count(r);
    uint64_t cut, corrupt;
    if (rec_reader_header(r)->version != REC_FORMAT_MERGED)
        return json_null();
    common_broken_parts(r, &cut, &corrupt);
    return json_pack("{s:I, s:I, s:I, s:o, s:s}", "recordings", parts, "incomplete", (json_int_t)cut,
                     "damaged", (json_int_t)corrupt, "left_out",
                     merged ? json_integer((json_int_t)merged->left_out) : json_null(), "clock",
                     "aligned by wall time");
}

static json_t *run_object(const struct profile *p, const struct report_style *style)
{
    const struct rec_reader *r = profile_reader(p);
    const struct rec_header *h = rec_reader_header(r);
    const struct rec_end *end = rec_reader_end(r);
    uint64_t offset;
    enum rec_break stop = rec_reader_break(r, &offset);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o, s:b, s:o}", "command",
                     json_words(h->command, h->command_len), "started", started(h), "wall_s",
                     seconds(profile_elapsed_ns(p)), "cpu_s", seconds(profile_cpu_ns(p)), "exit",
                     exit_object(end ? end->code : REC_NO_CODE, end ? end->signal : 0), "complete",
                     stop == REC_WHOLE, "growing", stop != REC_WHOLE && style->growing, "damaged_at",
                     stop == REC_CORRUPT ? json_integer((json_int_t)offset) : json_null(), "attached",
                     h->attached, "merged", merged_object(r));
}

static json_t *losses(const struct profile *p)
{
    size_t count;
    const uint32_t *details = profile_loss_details(p, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_text_of(profile_reader(p), details[i]));
    return list;
}

static json_int_t loss(const struct profile *p, enum rec_loss_kind kind)
{
    return (json_int_t)profile_loss(p, kind);
}

static json_t *pause_us(const struct profile *p, double share)
{
    const struct histogram *h = profile_pauses(p);
    return h->total ? json_real((double)histogram_quantile(h, share) / NS_PER_US) : json_null();
}

static json_t *sampling_object(const struct profile *p)
{
    const struct rec_header *h = rec_reader_header(profile_reader(p));
    const struct rec_stats *st = profile_stats(p);
    uint64_t elapsed = profile_elapsed_ns(p);
    bool measured = st->ticks && elapsed;
    json_t *o = json_pack(
        "{s:o, s:o, s:I, s:{s:o, s:o, s:o}, s:o}", "rate_hz",
        h->period_ns ? json_real((double)NS_PER_S / (double)h->period_ns) : json_null(), "achieved_hz",
        measured ? json_real((double)st->ticks / ((double)elapsed / NS_PER_S)) : json_null(), "samples",
        (json_int_t)profile_sum(p)->samples, "pause_us", "p50", pause_us(p, 0.5), "p90", pause_us(p, 0.9),
        "max", pause_us(p, 1), "sampler_cpu_s", measured ? seconds(st->cpu_ns) : json_null());
    json_t *missed = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "missed", loss(p, REC_LOSS_MISSED), "torn",
        loss(p, REC_LOSS_TORN), "dropped", loss(p, REC_LOSS_DROPPED), "unreadable",
        loss(p, REC_LOSS_UNREADABLE), "truncated", loss(p, REC_LOSS_TRUNCATED), "unseen_processes",
        loss(p, REC_LOSS_PROCESS), "unwritten", loss(p, REC_LOSS_WRITE), "unrecorded_allocations",
        loss(p, REC_LOSS_MEMORY), "unrecorded_collections", loss(p, REC_LOSS_GC), "losses", losses(p));
    json_object_update_missing(o, missed);
    json_decref(missed);
    return o;
}

static json_t *thread_object(const struct rec_reader *r, const struct profile_thread *t)
{
    struct rec_thread thread = rec_reader_thread(r, t->thread);
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "tid", (json_int_t)thread.tid, "name",
                     json_text_of(r, thread.name), "wall_s", seconds(t->sum.wall), "cpu_s",
                     seconds(t->sum.cpu), "gil_held_s", seconds(t->sum.gil_held), "gil_wait_s",
                     seconds(t->sum.gil_wait), "gc_s", seconds(t->sum.gc), "blocked_s",
                     seconds(t->sum.blocked));
}

static json_t *python_of(const struct rec_reader *r, const struct rec_process *process)
{
    return process->python ? json_text_of(r, process->python) : json_null();
}

/* The threads of each process, in their order, as lists of indices + 1; 0 ends a list. */
struct members {
    uint32_t *first; /* by process */
    uint32_t *next;  /* by index of profile_threads */
};

static int members_init(struct members *m, const struct profile *p)
{
    const struct rec_reader *r = profile_reader(p);
    size_t count;
    const struct profile_thread *threads = profile_threads(p, &count);
    m->first = calloc((size_t)rec_reader_process_count(r) + 1, sizeof(*m->first));
    m->next = calloc(count + 1, sizeof(*m->next));
    if (!m->first || !m->next)
        return -ENOMEM;
    for (size_t i = count; i-- > 0;) {
        uint32_t process = rec_reader_thread(r, threads[i].thread).process;
        m->next[i] = m->first[process];
        m->first[process] = (uint32_t)i + 1;
    }
    return 0;
}

static void members_release(struct members *m)
{
    free(m->first);
    free(m->next);
}

static void put_process(struct out *o, const struct profile *p, const struct profile_process *pp,
                        const struct members *m)
{
    const struct rec_reader *r = profile_reader(p);
    struct rec_process process = rec_reader_process(r, pp->process);
    size_t count, len;
    const struct profile_thread *threads = profile_threads(p, &count);
    const char *command = rec_reader_string(r, process.command, &len);
    struct rec_header h = rec_reader_part(r, rec_reader_part_of(r, pp->process)).header;
    open_value(o, NULL, '{');
    put(o, "host", *h.host ? json_text(h.host, strlen(h.host)) : json_null());
    put(o, "rank", h.rank == REC_NO_RANK ? json_null() : json_integer(h.rank));
    put(o, "pid", json_integer(process.pid));
    put(o, "ppid", json_integer(process.ppid));
    put(o, "python", python_of(r, &process));
    put(o, "command", json_words(command, len));
    put(o, "exit", exit_object(pp->code, pp->signal));
    open_value(o, "threads", '[');
    for (uint32_t i = m->first[pp->process]; i; i = m->next[i - 1])
        put(o, NULL, thread_object(r, &threads[i - 1]));
    close_value(o, ']');
    close_value(o, '}');
}

static int put_processes(struct out *o, const struct profile *p)
{
    struct members m = {0};
    size_t count;
    const struct profile_process *processes = profile_processes(p, &count);
    int err = members_init(&m, p);
    open_value(o, "processes", '[');
    for (size_t i = 0; !err && i < count; i++)
        put_process(o, p, &processes[i], &m);
    close_value(o, ']');
    members_release(&m);
    return err;
}

/* Memory of a function or line; nulls where the recording has none. Takes o. */
static json_t *with_memory(json_t *o, const struct memory_use *m, const struct memory_sums *s)
{
    static const struct memory_sums none;
    s = s ? s : &none;
    json_t *sums =
        m ? json_pack("{s:I, s:I, s:I, s:I, s:I}", "alloc_bytes", (json_int_t)s->allocated, "alloc_count",
                      (json_int_t)s->allocations, "free_bytes", (json_int_t)s->freed, "live_bytes",
                      (json_int_t)memory_live(s), "peak_bytes", (json_int_t)s->peak)
          : json_pack("{s:n, s:n, s:n, s:n, s:n}", "alloc_bytes", "alloc_count", "free_bytes", "live_bytes",
                      "peak_bytes");
    if (json_object_update(o, sums) != 0) {
        json_decref(o);
        o = NULL;
    }
    json_decref(sums);
    return o;
}

static json_t *function_object(const struct rec_reader *r, const struct memory_use *m, const struct whose *w)
{
    static const struct weights no_time;
    const struct weights *self = w->function ? &w->function->self : &no_time;
    const struct weights *total = w->function ? &w->function->total : &no_time;
    bool outside = w->code == MEMORY_OUTSIDE;
    struct rec_code c = rec_reader_code(r, outside ? 0 : w->code);
    json_t *o = json_pack("{s:o, s:o, s:o, s:s, s:b, s:o, s:o, s:o, s:o, s:n}", "name",
                          outside ? json_string("(outside Python)") : json_text_of(r, c.name), "file",
                          c.file && !outside ? json_text_of(r, c.file) : json_null(), "line",
                          known(outside ? 0 : c.first_line), "kind",
                          outside ? "native" : common_kind(c.kind).name, "guessed", c.kind == REC_GUESSED,
                          "self_wall_s", seconds(self->wall), "total_wall_s", seconds(total->wall),
                          "self_cpu_s", seconds(self->cpu), "total_cpu_s", seconds(total->cpu), "calls");
    return with_memory(o, m, w->memory ? &w->memory->self : NULL);
}

static json_t *line_object(const struct rec_reader *r, const struct memory_use *m, const struct whose *w)
{
    static const struct weights no_time;
    const struct weights *self = w->of_line ? &w->of_line->self : &no_time;
    const struct weights *total = w->of_line ? &w->of_line->total : &no_time;
    struct rec_code c = rec_reader_code(r, w->code);
    json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:n, s:n, s:b, s:n}", "file",
                          c.file ? json_text_of(r, c.file) : json_null(), "line", known(w->line), "function",
                          json_text_of(r, c.name), "self_wall_s", seconds(self->wall), "total_wall_s",
                          seconds(total->wall), "self_cpu_s", seconds(self->cpu), "total_cpu_s",
                          seconds(total->cpu), "hits", "time_s", "exact", 0, "rss_delta_bytes");
    return with_memory(o, m, w->memory ? &w->memory->self : NULL);
}

static int put_functions(struct out *o, struct profile *p, const struct report_style *style)
{
    struct whose *list;
    size_t count;
    int err = whose_functions(p, style, &list, &count);
    open_value(o, "functions", '[');
    for (size_t i = 0; !err && i < count && (!style->limit || i < style->limit); i++)
        put(o, NULL, function_object(profile_reader(p), profile_memory(p), &list[i]));
    close_value(o, ']');
    free(list);
    return err;
}

static int put_lines(struct out *o, struct profile *p, const struct report_style *style)
{
    struct whose *list;
    size_t count;
    int err = whose_lines(p, style, &list, &count);
    open_value(o, "lines", '[');
    for (size_t i = 0; !err && i < count && (!style->limit || i < style->limit); i++)
        put(o, NULL, line_object(profile_reader(p), profile_memory(p), &list[i]));
    close_value(o, ']');
    free(list);
    return err;
}

/* null unless memory was recorded. */
static json_t *memory_object(const struct profile *p)
{
    const struct memory_use *m = profile_memory(p);
    if (!m)
        return json_null();
    const struct memory_whole *w = &m->whole;
    uint64_t started = rec_reader_header(profile_reader(p))->started_ns;
    return json_pack("{s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:n}", "peak_bytes", (json_int_t)w->sums.peak,
                     "peak_s", seconds(w->peak_ns > started ? w->peak_ns - started : 0), "peak_rss_bytes",
                     w->rss_peak ? json_integer((json_int_t)w->rss_peak) : json_null(), "live_at_exit_bytes",
                     (json_int_t)memory_live(&w->sums), "allocations", (json_int_t)w->sums.allocations,
                     "allocated_bytes", (json_int_t)w->sums.allocated, "programs", (json_int_t)w->heaps,
                     "identity");
}

static json_t *collections_sums(const struct collections_sums *s)
{
    return json_pack("{s:I, s:o, s:o, s:I, s:I}", "count", (json_int_t)s->count, "total_s", seconds(s->ns),
                     "max_s", seconds(s->longest_ns), "collected", (json_int_t)s->collected, "uncollectable",
                     (json_int_t)s->uncollectable);
}

static json_t *collections_list(const struct collections_use *c)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < REC_GENERATIONS; i++) {
        json_t *one = collections_sums(&c->generations[i]);
        json_object_set_new(one, "generation", json_integer(i));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *pauses_object(const struct collections_use *c)
{
    bool any = c->whole.count;
    return json_pack("{s:I, s:o, s:o, s:o, s:o}", "count", (json_int_t)c->whole.count, "total_s",
                     seconds(c->whole.ns), "max_s", any ? seconds(c->whole.longest_ns) : json_null(), "p50_s",
                     any ? seconds(collections_quantile(c, 0.5)) : json_null(), "p99_s",
                     any ? seconds(collections_quantile(c, 0.99)) : json_null());
}

static int by_collections(const void *a, const void *b)
{
    const struct collections_row *x = a;
    const struct collections_row *y = b;
    if (x->sums.ns != y->sums.ns)
        return x->sums.ns < y->sums.ns ? 1 : -1;
    if (x->code != y->code)
        return x->code < y->code ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

/* Who triggered them: functions, or lines. */
static json_t *triggers(const struct rec_reader *r, const struct buf *from, bool lines, size_t limit)
{
    size_t count = from->len / sizeof(struct collections_row);
    struct collections_row *rows = calloc(count + 1, sizeof(*rows));
    json_t *list = rows ? json_array() : NULL;
    if (rows && count)
        memcpy(rows, from->data, from->len);
    if (rows)
        qsort(rows, count, sizeof(*rows), by_collections);
    for (size_t i = 0; rows && i < count && (!limit || i < limit); i++) {
        bool outside = rows[i].code == COLLECTIONS_OUTSIDE;
        struct rec_code code = rec_reader_code(r, outside ? 0 : rows[i].code);
        json_t *one = collections_sums(&rows[i].sums);
        json_object_set_new(one, lines ? "function" : "name",
                            outside ? json_string("(outside Python)") : json_text_of(r, code.name));
        json_object_set_new(one, "file", code.file && !outside ? json_text_of(r, code.file) : json_null());
        json_object_set_new(one, "line", known(outside ? 0 : lines ? rows[i].line : code.first_line));
        json_array_append_new(list, one);
    }
    free(rows);
    return list;
}

/* Where collections were not recorded one by one, the share comes from samples, and the rest is null. */
static json_t *gc_object(const struct profile *p, const struct report_style *style)
{
    const struct collections_use *c = profile_collections(p);
    const struct rec_reader *r = profile_reader(p);
    const struct weights *sum = profile_sum(p);
    if (!c)
        return json_pack("{s:o, s:b, s:n, s:n, s:n, s:n, s:n, s:n}", "share",
                         sum->wall ? json_real((double)sum->gc / (double)sum->wall) : json_null(), "exact", 0,
                         "programs", "recorded_s", "collections", "pauses", "functions", "lines");
    return json_pack("{s:o, s:b, s:I, s:o, s:o, s:o, s:o, s:o}", "share",
                     c->recorded_ns ? json_real((double)c->whole.ns / (double)c->recorded_ns) : json_null(),
                     "exact", 1, "programs", (json_int_t)c->recorded, "recorded_s", seconds(c->recorded_ns),
                     "collections", collections_list(c), "pauses", pauses_object(c), "functions",
                     triggers(r, &c->functions, false, style->limit), "lines",
                     triggers(r, &c->lines, true, style->limit));
}

int report_json(FILE *to, struct profile *p, const struct report_style *style)
{
    struct out o = {.to = to};
    open_value(&o, NULL, '{');
    put(&o, "zond", json_string(ZOND_VERSION));
    put(&o, "schema", json_integer(SCHEMA));
    put(&o, "run", run_object(p, style));
    put(&o, "sampling", sampling_object(p));
    int err = put_processes(&o, p);
    if (!err)
        err = put_functions(&o, p, style);
    if (!err)
        err = put_lines(&o, p, style);
    put(&o, "gc", gc_object(p, style));
    put(&o, "memory", memory_object(p));
    put(&o, "io", json_null());
    put(&o, "findings", json_array());
    close_value(&o, '}');
    fputc('\n', to);
    if (err)
        return err;
    return o.failed || fflush(to) || ferror(to) ? -EIO : 0;
}
