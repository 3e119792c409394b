/* speedscope: the file format of https://www.speedscope.app (file-format-schema.json): shared frames, and a
 * profile of type "sampled" for each thread, in the order of time, weights in nanoseconds.
 *
 * Written as a stream, as a recording may hold more samples than a JSON tree would fit into memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "export/formats.h"
#include "export/json_text.h"
#include "export/label.h"

static void put_frame(FILE *to, const struct paths *p, uint32_t spot)
{
    struct label l;
    label_of_spot(p, spot, &l);
    fputs("{\"name\":", to);
    json_text(to, l.name, l.name_len);
    if (l.file_len) {
        fputs(",\"file\":", to);
        json_text(to, l.file, l.file_len);
    }
    if (l.line)
        fprintf(to, ",\"line\":%" PRIu32, l.line);
    fputc('}', to);
}

static void put_frames(FILE *to, const struct paths *p)
{
    for (uint32_t i = 0; i < p->spot_count; i++) {
        fputs(i ? ",\n" : "\n", to);
        put_frame(to, p, i);
    }
}

static void put_number(FILE *to, bool first, uint64_t v)
{
    if (!first)
        putc_unlocked(',', to);
    json_uint(to, v);
}

static int put_samples(FILE *to, const struct paths *p, uint32_t thread)
{
    struct cursor c = paths_start(p, thread);
    struct path_sample s = {0};
    uint32_t *stack = NULL;
    uint32_t cap = 0, depth;
    int rc = 0;
    for (bool first = true; rc == 0 && paths_next(&c, &s); first = false) {
        rc = paths_unwind(p, s.path, &stack, &cap, &depth);
        fputs(first ? "\n[" : ",\n[", to);
        for (uint32_t i = 0; rc == 0 && i < depth; i++)
            put_number(to, i == 0, p->nodes[stack[i]].spot);
        fputc(']', to);
    }
    free(stack);
    return rc;
}

static void put_weights(FILE *to, const struct paths *p, uint32_t thread)
{
    struct cursor c = paths_start(p, thread);
    struct path_sample s = {0};
    for (bool first = true; paths_next(&c, &s); first = false)
        put_number(to, first, s.weight);
}

/* "MainThread (process 4242, thread 4242)" */
static void put_thread_name(FILE *to, const struct paths *p, uint32_t thread)
{
    struct thread_label t = label_of_thread(p, thread);
    struct buf name;
    buf_init(&name, 1 << 20);
    buf_put(&name, t.name, t.name_len);
    buf_printf(&name, "%s(process %" PRIu32 ", thread %" PRIu32 ")", t.name_len ? " " : "", t.pid, t.tid);
    json_text(to, (char *)name.data, name.len);
    buf_release(&name);
}

/* Wall time starts where the thread did; other metrics have no gaps to show and start at 0. */
static int put_profile(FILE *to, const struct paths *p, uint32_t thread)
{
    const struct path_sequence *q = &p->threads[thread];
    uint64_t began = rec_reader_header(p->reader)->started_ns;
    uint64_t start = p->options->metric == METRIC_WALL && q->start_ns > began ? q->start_ns - began : 0;
    fputs("\n{\"type\":\"sampled\",\"name\":", to);
    put_thread_name(to, p, thread);
    fprintf(to,
            ",\"unit\":\"nanoseconds\",\"startValue\":%" PRIu64 ",\"endValue\":%" PRIu64 ",\n\"samples\":[",
            start, start + q->weight);
    int rc = put_samples(to, p, thread);
    fputs("],\n\"weights\":[", to);
    put_weights(to, p, thread);
    fputs("]}", to);
    return rc;
}

static int put_profiles(FILE *to, const struct paths *p)
{
    bool first = true;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < p->thread_count; i++) {
        if (!p->threads[i].bytes.len)
            continue;
        if (!first)
            fputc(',', to);
        rc = put_profile(to, p, i);
        first = false;
    }
    return rc;
}

int export_speedscope(FILE *to, struct rec_reader *r, const struct export_options *o)
{
    struct paths p;
    int rc = paths_read(&p, r, o, true);
    if (rc == 0) {
        const char *name = o->name ? o->name : "zond";
        fputs("{\"$schema\":\"https://www.speedscope.app/"
              "file-format-schema.json\",\"exporter\":\"zond " ZOND_VERSION "\",\"name\":",
              to);
        json_text(to, name, strlen(name));
        fputs(",\"activeProfileIndex\":0,\n\"shared\":{\"frames\":[", to);
        put_frames(to, &p);
        fputs("]},\n\"profiles\":[", to);
        rc = put_profiles(to, &p);
        fputs("]}\n", to);
    }
    paths_release(&p);
    if (rc == 0 && (fflush(to) || ferror(to)))
        rc = -EIO;
    return rc;
}
