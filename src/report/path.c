/* path: the way to where most of the time went, from the outside in: whose line it was, and what did it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/common.h"
#include "report/sections.h"
#include "report/units.h"

/* A way is followed while it has this share of the whole, and this one of where it comes from. */
#define LEAST_OF_WHOLE 5
#define LEAST_OF_CALLER 2
/* One that splits before it has so many rows is not worth a picture. */
#define ROWS_LEAST 2
/* Of a longer one so many rows are shown of its beginning, and so many of its end. */
#define SHOWN_FIRST 3
#define SHOWN_LAST 5

/* nodes: from the outermost Python frame to the innermost frame of the way, as indices of profile_nodes. */
struct way {
    const struct rec_reader *reader;
    const struct profile_node *all;
    uint64_t *totals; /* of all */
    uint32_t *nodes;
    size_t count;
    uint64_t whole;
};

static uint8_t kind_of(const struct way *w, uint32_t node)
{
    return rec_reader_code(w->reader, rec_reader_frame(w->reader, w->all[node].frame).code).kind;
}

/* The heaviest callee of each node. 0: it has none. */
static void find_heaviest(const struct way *w, size_t count, uint32_t *heaviest)
{
    for (uint32_t i = 1; i < count; i++) {
        uint32_t *best = &heaviest[w->all[i].parent];
        if (!*best || w->totals[i] > w->totals[*best])
            *best = i;
    }
}

static int find_way(struct way *w, size_t count, enum metric by)
{
    uint32_t *heaviest = calloc(count, sizeof(*heaviest));
    w->totals = calloc(count, sizeof(*w->totals));
    w->nodes = calloc(count, sizeof(*w->nodes));
    if (!heaviest || !w->totals || !w->nodes) {
        free(heaviest);
        return -ENOMEM;
    }
    for (size_t i = count; i-- > 0;) {
        w->totals[i] += weights_of(&w->all[i].self, by);
        if (i)
            w->totals[w->all[i].parent] += w->totals[i];
    }
    find_heaviest(w, count, heaviest);
    w->whole = w->totals[0];
    for (uint32_t at = heaviest[0], caller = 0; at; caller = at, at = heaviest[at]) {
        if (w->totals[at] < w->whole / LEAST_OF_WHOLE || w->totals[at] < w->totals[caller] / LEAST_OF_CALLER)
            break;
        /* What starts the interpreter is the same for all. */
        if (w->count || kind_of(w, at) == REC_PYTHON)
            w->nodes[w->count++] = at;
    }
    free(heaviest);
    return 0;
}

static bool is_python(const struct way *w, size_t i)
{
    return kind_of(w, w->nodes[i]) == REC_PYTHON;
}

/* The function of a frame, and of Python its line. */
static void put_frame(struct buf *out, const struct term *t, const struct way *w, size_t i)
{
    struct rec_frame frame = rec_reader_frame(w->reader, w->all[w->nodes[i]].frame);
    struct rec_code code = rec_reader_code(w->reader, frame.code);
    size_t len;
    const char *text = rec_reader_string(w->reader, code.name, &len);
    text_clean(out, text, len, t->style.unicode);
    if (code.kind != REC_PYTHON)
        return;
    text = rec_reader_string(w->reader, code.file, &len);
    text = common_short_path(t, text, &len);
    buf_put_str(out, "  ");
    text_clean(out, text, len, t->style.unicode);
    if (frame.line)
        buf_printf(out, ":%u", frame.line);
}

/* A row for a Python frame, or one for all that is native up to the next: how much reaches its end. Returns
 * where the next row begins. */
static size_t put_row(struct term *t, const struct way *w, size_t i)
{
    char label[UNITS_MAX + 2], share[UNITS_MAX];
    struct buf text;
    buf_init(&text, TEXT_MAX * 4);
    put_frame(&text, t, w, i);
    while (!is_python(w, i) && i + 1 < w->count && !is_python(w, i + 1)) {
        buf_put_str(&text, t->style.unicode ? " › " : " > ");
        put_frame(&text, t, w, ++i);
    }
    snprintf(label, sizeof(label), "  %s", units_percent(share, w->totals[w->nodes[i]], w->whole));
    term_paragraph(t, INK_PLAIN, label, (char *)text.data, text.len);
    buf_release(&text);
    return i + 1;
}

static size_t count_rows(const struct way *w)
{
    size_t rows = 0;
    for (size_t i = 0; i < w->count; i++)
        rows += is_python(w, i) || i == 0 || is_python(w, i - 1);
    return rows;
}

static void put_way(struct term *t, const struct way *w)
{
    size_t rows = count_rows(w),
           left_out = rows > SHOWN_FIRST + SHOWN_LAST ? rows - SHOWN_FIRST - SHOWN_LAST : 0;
    size_t row = 0, at = 0;
    while (at < w->count) {
        if (row >= SHOWN_FIRST && row < SHOWN_FIRST + left_out) {
            for (; row < SHOWN_FIRST + left_out; row++) {
                while (!is_python(w, at) && !is_python(w, at + 1))
                    at++;
                at++;
            }
            char text[UNITS_MAX * 2];
            int n = snprintf(text, sizeof(text), "(%zu more)", left_out);
            term_paragraph(t, INK_DIM, "", text, (size_t)n);
        }
        at = put_row(t, w, at);
        row++;
    }
}

int section_path(struct term *t, struct profile *p)
{
    size_t count;
    struct way w = {.reader = profile_reader(p), .all = profile_nodes(p, &count)};
    enum metric by = t->style.metric;
    char share[UNITS_MAX];
    int rc = count ? find_way(&w, count, by) : 0;
    if (!rc && count_rows(&w) >= ROWS_LEAST) {
        term_heading(t, "Hot path", "where %s of the %s went, from the outside in",
                     units_percent(share, w.totals[w.nodes[w.count - 1]], w.whole), metric_name(by));
        put_way(t, &w);
    }
    free(w.totals);
    free(w.nodes);
    return rc;
}
