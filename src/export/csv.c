/* csv: a table for spreadsheets and data frames (RFC 4180, UTF-8, one header). A row is a function, or a line
 * of one, in one thread, with its own and its total time. The sum of self_s is the time of all threads;
 * total_s counts a stack once, and overlaps between rows.
 *
 * Text that is not UTF-8 gets U+FFFD, and so does NUL, which readers take for the end of a field.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "export/calls.h"
#include "export/formats.h"
#include "export/label.h"

/* A field in quotes; a quote within is written twice. */
static void put_text(FILE *to, struct buf *scratch, const char *s, size_t len)
{
    buf_clear(scratch);
    label_clean(scratch, s, len);
    fputc('"', to);
    for (size_t i = 0; i < scratch->len; i++) {
        if (scratch->data[i] == 0) {
            fputs("\xef\xbf\xbd", to);
            continue;
        }
        if (scratch->data[i] == '"')
            fputc('"', to);
        fputc(scratch->data[i], to);
    }
    fputc('"', to);
}

static void put_seconds(FILE *to, uint64_t ns)
{
    fprintf(to, ",%llu.%09llu", ns / NS_PER_S, ns % NS_PER_S);
}

static void put_row(FILE *to, struct buf *scratch, const struct thread_label *t, const struct label *l,
                    const struct cost *c)
{
    fprintf(to, "%" PRIu32 ",%" PRIu32 ",", t->pid, t->tid);
    put_text(to, scratch, t->name, t->name_len);
    fputc(',', to);
    put_text(to, scratch, l->name, l->name_len);
    fputc(',', to);
    put_text(to, scratch, l->file, l->file_len);
    fputc(',', to);
    if (l->line)
        fprintf(to, "%" PRIu32, l->line);
    put_seconds(to, c->self.weight);
    put_seconds(to, c->total.weight);
    fprintf(to, ",%" PRIu64 "\r\n", c->total.looks);
}

static int put_thread(FILE *to, struct calls *c, const struct sums *s, uint32_t thread)
{
    struct thread_label t = label_of_thread(c->paths, thread);
    struct label l;
    struct buf scratch;
    buf_init(&scratch, 2 * STRTAB_MAX_LEN);
    calls_clear(c);
    for (uint32_t i = 0; i < s->count; i++)
        calls_add(c, s->touched[i], s->of_path[s->touched[i]]);
    for (uint32_t i = 0; i < c->row_count; i++) {
        if (!c->rows[i].total.weight)
            continue;
        label_of_spot(c->paths, i, &l);
        put_row(to, &scratch, &t, &l, &c->rows[i]);
    }
    int rc = scratch.error;
    buf_release(&scratch);
    return rc;
}

static int put_all(FILE *to, const struct paths *p)
{
    struct sums s;
    struct calls c = {0};
    int rc = sums_init(&s, p);
    if (rc == 0)
        rc = calls_init(&c, p, NULL, p->spot_count);
    fputs("pid,tid,thread,function,file,line,self_s,total_s,samples\r\n", to);
    for (uint32_t i = 0; rc == 0 && i < p->thread_count; i++) {
        sums_of_thread(&s, p, i);
        if (s.count)
            rc = put_thread(to, &c, &s, i);
    }
    calls_release(&c);
    sums_release(&s);
    return rc;
}

int export_csv(FILE *to, struct rec_reader *r, const struct export_options *o)
{
    struct paths p;
    int rc = paths_read(&p, r, o, true);
    if (rc == 0)
        rc = put_all(to, &p);
    paths_release(&p);
    if (rc == 0 && (fflush(to) || ferror(to)))
        rc = -EIO;
    return rc;
}
