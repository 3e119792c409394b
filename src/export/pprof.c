/* pprof: profile.proto of https://github.com/google/pprof, gzipped, as `go tool pprof` reads it. A sample is
 * a distinct stack of one thread; its values are how many looks found it, and the nanoseconds of the metric.
 * Thread and process are labels, so that -tagroot and -tagfocus tell them apart.
 *
 * A location is a spot of paths.h, and has its id + 1; functions have the id of their code + 1. All messages
 * of Profile are small and stand in rows, so the file is made in one stream; the strings, which grow while
 * the rest is written, come last. Addresses and mappings do not exist for Python and are left out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "export/formats.h"
#include "export/gzip.h"
#include "export/label.h"
#include "export/sums.h"
#include "export/wire.h"

#define PIECE (1u << 16) /* what is gathered before it is compressed */

/* Numbers of fields. */
enum { PROFILE_SAMPLE_TYPE = 1, PROFILE_SAMPLE = 2, PROFILE_LOCATION = 4, PROFILE_FUNCTION = 5 };
enum { PROFILE_STRING = 6, PROFILE_TIME = 9, PROFILE_DURATION = 10, PROFILE_PERIOD_TYPE = 11 };
enum { PROFILE_PERIOD = 12, PROFILE_DEFAULT_TYPE = 14 };
enum { TYPE_TYPE = 1, TYPE_UNIT = 2 };
enum { SAMPLE_LOCATIONS = 1, SAMPLE_VALUES = 2, SAMPLE_LABEL = 3 };
enum { LABEL_KEY = 1, LABEL_STRING = 2 };
enum { LOCATION_ID = 1, LOCATION_LINE = 4 };
enum { LINE_FUNCTION = 1, LINE_LINE = 2 };
enum { FUNCTION_ID = 1, FUNCTION_NAME = 2, FUNCTION_SYSTEM_NAME = 3, FUNCTION_FILE = 4, FUNCTION_LINE = 5 };

/* rows is what is gathered of Profile; message and inner are scratch. */
struct pprof {
    struct paths paths;
    struct strtab strings;
    struct buf rows, message, inner, text;
    struct gzip gzip;
    struct sums sums;
    uint32_t *stack;
    uint32_t stack_cap;
    int error;
};

static uint32_t string_of(struct pprof *g, const char *s, size_t len)
{
    uint32_t id = 0;
    int rc = label_intern(&g->strings, &g->text, s, len, &id);
    if (rc && !g->error)
        g->error = rc;
    return id;
}

static uint32_t word(struct pprof *g, const char *s)
{
    return string_of(g, s, strlen(s));
}

/* Ends a row of Profile: what is in `message`. */
static void put_row(struct pprof *g, uint32_t field)
{
    wire_message(&g->rows, field, &g->message);
    buf_clear(&g->message);
    if (g->rows.error && !g->error)
        g->error = g->rows.error;
    if (g->rows.len < PIECE)
        return;
    gzip_put(&g->gzip, g->rows.data, g->rows.len);
    buf_clear(&g->rows);
}

static void put_type(struct pprof *g, uint32_t field, const char *type, const char *unit)
{
    wire_uint(&g->message, TYPE_TYPE, word(g, type));
    wire_uint(&g->message, TYPE_UNIT, word(g, unit));
    put_row(g, field);
}

static void put_head(struct pprof *g, const char *metric)
{
    const struct rec_header *h = rec_reader_header(g->paths.reader);
    const struct rec_end *end = rec_reader_end(g->paths.reader);
    put_type(g, PROFILE_SAMPLE_TYPE, "samples", "count");
    put_type(g, PROFILE_SAMPLE_TYPE, metric, "nanoseconds");
    put_type(g, PROFILE_PERIOD_TYPE, "wall", "nanoseconds");
    wire_uint(&g->rows, PROFILE_TIME, h->started_wall_ns);
    if (end)
        wire_uint(&g->rows, PROFILE_DURATION, end->ended_ns - h->started_ns);
    wire_uint(&g->rows, PROFILE_PERIOD, h->period_ns);
    wire_uint(&g->rows, PROFILE_DEFAULT_TYPE, word(g, metric));
}

static void put_function(struct pprof *g, const struct path_spot *spot, const struct label *l)
{
    uint32_t name = string_of(g, l->name, l->name_len);
    struct rec_code code = {0};
    if (!(spot->code & PATHS_PROCESS))
        code = rec_reader_code(g->paths.reader, spot->code);
    wire_uint(&g->message, FUNCTION_ID, (uint64_t)spot->code + 1);
    wire_uint(&g->message, FUNCTION_NAME, name);
    wire_uint(&g->message, FUNCTION_SYSTEM_NAME, name);
    wire_uint(&g->message, FUNCTION_FILE, string_of(g, l->file, l->file_len));
    wire_uint(&g->message, FUNCTION_LINE, code.first_line);
    put_row(g, PROFILE_FUNCTION);
}

static int put_spots(struct pprof *g)
{
    struct map seen;
    struct label l;
    int rc = 0;
    map_init(&seen);
    for (uint32_t i = 0; rc == 0 && i < g->paths.spot_count; i++) {
        const struct path_spot *spot = &g->paths.spots[i];
        buf_clear(&g->inner);
        wire_uint(&g->inner, LINE_FUNCTION, (uint64_t)spot->code + 1);
        wire_uint(&g->inner, LINE_LINE, spot->line);
        wire_uint(&g->message, LOCATION_ID, (uint64_t)i + 1);
        wire_message(&g->message, LOCATION_LINE, &g->inner);
        put_row(g, PROFILE_LOCATION);
        if (map_get(&seen, spot->code) != MAP_NONE)
            continue;
        label_of_spot(&g->paths, i, &l);
        put_function(g, spot, &l);
        rc = map_put(&seen, spot->code, 0);
    }
    map_release(&seen);
    return rc;
}

/* Labels of one thread, the same for all of its samples: made once, into `labels`. */
static void make_labels(struct pprof *g, uint32_t thread, struct buf *labels)
{
    struct thread_label t = label_of_thread(&g->paths, thread);
    char pid[16], tid[16];
    snprintf(pid, sizeof(pid), "%" PRIu32, t.pid);
    snprintf(tid, sizeof(tid), "%" PRIu32, t.tid);
    const uint32_t pairs[][2] = {
        {word(g, "thread"), string_of(g, t.name, t.name_len)},
        {word(g, "tid"), word(g, tid)},
        {word(g, "pid"), word(g, pid)},
    };
    buf_clear(labels);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        buf_clear(&g->inner);
        wire_uint(&g->inner, LABEL_KEY, pairs[i][0]);
        wire_uint(&g->inner, LABEL_STRING, pairs[i][1]);
        wire_message(labels, SAMPLE_LABEL, &g->inner);
    }
}

static int put_sample(struct pprof *g, uint32_t path, const struct buf *labels)
{
    uint32_t depth;
    int rc = paths_unwind(&g->paths, path, &g->stack, &g->stack_cap, &depth);
    if (rc)
        return rc;
    buf_clear(&g->inner);
    while (depth--) /* the innermost first */
        buf_put_varint(&g->inner, (uint64_t)g->paths.nodes[g->stack[depth]].spot + 1);
    wire_message(&g->message, SAMPLE_LOCATIONS, &g->inner);
    buf_clear(&g->inner);
    buf_put_varint(&g->inner, g->sums.of_path[path].looks);
    buf_put_varint(&g->inner, g->sums.of_path[path].weight);
    wire_message(&g->message, SAMPLE_VALUES, &g->inner);
    buf_put(&g->message, labels->data, labels->len);
    put_row(g, PROFILE_SAMPLE);
    return g->error;
}

static int put_samples(struct pprof *g)
{
    struct buf labels;
    int rc = 0;
    buf_init(&labels, PIECE);
    for (uint32_t i = 0; rc == 0 && i < g->paths.thread_count; i++) {
        sums_of_thread(&g->sums, &g->paths, i);
        if (g->sums.count)
            make_labels(g, i, &labels);
        for (uint32_t k = 0; rc == 0 && k < g->sums.count; k++)
            rc = put_sample(g, g->sums.touched[k], &labels);
    }
    rc = rc ? rc : labels.error;
    buf_release(&labels);
    return rc;
}

static void put_strings(struct pprof *g)
{
    for (uint32_t i = 0; i < g->strings.count; i++) {
        buf_put(&g->message, strtab_get(&g->strings, i), strtab_len(&g->strings, i));
        put_row(g, PROFILE_STRING);
    }
}

static int put_all(struct pprof *g)
{
    int rc = sums_init(&g->sums, &g->paths);
    if (rc == 0) {
        put_head(g, label_of_metric(g->paths.options->metric));
        rc = put_spots(g);
    }
    if (rc == 0)
        rc = put_samples(g);
    if (rc == 0)
        put_strings(g);
    gzip_put(&g->gzip, g->rows.data, g->rows.len);
    rc = rc ? rc : g->error;
    return rc ? rc : gzip_end(&g->gzip);
}

int export_pprof(FILE *to, struct rec_reader *r, const struct export_options *o)
{
    struct pprof g = {0};
    struct buf *const bufs[] = {&g.rows, &g.message, &g.inner, &g.text};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_init(bufs[i], UINT32_MAX);
    int rc = gzip_init(&g.gzip, to);
    if (rc)
        return rc;
    rc = paths_read(&g.paths, r, o, true);
    if (rc == 0)
        rc = strtab_init(&g.strings);
    if (rc == 0)
        rc = put_all(&g);
    gzip_release(&g.gzip);
    strtab_release(&g.strings);
    sums_release(&g.sums);
    free(g.stack);
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_release(bufs[i]);
    paths_release(&g.paths);
    if (rc == 0 && (fflush(to) || ferror(to)))
        rc = -EIO;
    return rc;
}
