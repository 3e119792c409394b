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
#include "export/json_stream.h"
#include "export/label.h"

static void put_frame(FILE *to, const struct paths *p, uint32_t spot)
{
    struct label l;
    label_of_spot(p, spot, &l);
    fputs("{\"name\":", to);
    json_put_text(to, l.name, l.name_len);
    if (l.file_len) {
        fputs(",\"file\":", to);
        json_put_text(to, l.file, l.file_len);
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

/* The numbers of a stack as text. A stack shares most of its frames with the one before, whose text is kept:
 * `nodes` are its, ends[i] is where the text of the first i + 1 of them ends. */
struct stack_text {
    struct buf text;
    uint32_t *nodes;
    uint32_t *ends;
    uint32_t depth, cap;
};

static int grow(struct stack_text *t, uint32_t depth)
{
    uint32_t *nodes = reallocarray(t->nodes, depth, sizeof(*nodes));
    if (nodes)
        t->nodes = nodes;
    uint32_t *ends = nodes ? reallocarray(t->ends, depth, sizeof(*ends)) : NULL;
    if (!ends)
        return -ENOMEM;
    t->ends = ends;
    t->cap = depth;
    return 0;
}

static void put_uint(struct buf *b, uint32_t v)
{
    char digits[10];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_put(b, digits + at, sizeof(digits) - at);
}

static int make_stack(struct stack_text *t, const struct paths *p, uint32_t path)
{
    uint32_t depth = p->nodes[path].depth, same = depth;
    int rc = depth > t->cap ? grow(t, depth) : 0;
    if (rc)
        return rc;
    /* From the inside to the first node that stands where it did: what is outside of that does, too. */
    for (uint32_t i = path; same && !(same <= t->depth && t->nodes[same - 1] == i); i = p->nodes[i].parent)
        t->nodes[--same] = i;
    t->text.len = same ? t->ends[same - 1] : 0;
    for (uint32_t i = same; i < depth; i++) {
        if (i)
            buf_put_u8(&t->text, ',');
        put_uint(&t->text, p->nodes[t->nodes[i]].spot);
        t->ends[i] = (uint32_t)t->text.len;
    }
    t->depth = depth;
    return t->text.error;
}

static int put_samples(FILE *to, const struct paths *p, uint32_t thread)
{
    struct cursor c = paths_start(p, thread);
    struct path_sample s = {0};
    struct stack_text t = {0};
    int rc = 0;
    buf_init(&t.text, UINT32_MAX);
    for (bool first = true; rc == 0 && paths_next(&c, &s); first = false) {
        rc = make_stack(&t, p, s.path);
        fputs_unlocked(first ? "\n[" : ",\n[", to);
        fwrite_unlocked(t.text.data, 1, t.text.len, to);
        putc_unlocked(']', to);
    }
    buf_release(&t.text);
    free(t.nodes);
    free(t.ends);
    return rc;
}

static void put_weights(FILE *to, const struct paths *p, uint32_t thread)
{
    struct cursor c = paths_start(p, thread);
    struct path_sample s = {0};
    for (bool first = true; paths_next(&c, &s); first = false) {
        if (!first)
            putc_unlocked(',', to);
        json_put_uint(to, s.weight);
    }
}

/* "MainThread (process 4242, thread 4242)" */
static void put_thread_name(FILE *to, const struct paths *p, uint32_t thread)
{
    struct thread_label t = label_of_thread(p, thread);
    struct buf name;
    buf_init(&name, 1 << 20);
    buf_put(&name, t.name, t.name_len);
    buf_printf(&name, "%s(process %" PRIu32 ", thread %" PRIu32 ")", t.name_len ? " " : "", t.pid, t.tid);
    json_put_text(to, (char *)name.data, name.len);
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
        json_put_text(to, name, strlen(name));
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
