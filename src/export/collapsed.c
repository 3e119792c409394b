/* collapsed: one distinct stack a line, root first, frames separated by ';', then a space and the weight in
 * whole microseconds. What flamegraph.pl, inferno and speedscope read.
 *
 * A frame is "name (file:line)". The format has no escapes, so ';' in a name becomes ':', and control
 * characters become '?'; other bytes are passed on as they are.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "export/formats.h"
#include "export/label.h"

static void put_text(FILE *to, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        putc_unlocked(c == ';' ? ':' : c < 0x20 || c == 0x7f ? '?' : c, to);
    }
}

static void put_frame(FILE *to, const struct paths *p, uint32_t spot)
{
    struct label l;
    label_of_spot(p, spot, &l);
    put_text(to, l.name, l.name_len);
    if (!l.file_len)
        return;
    fputs(" (", to);
    put_text(to, l.file, l.file_len);
    if (l.line)
        fprintf(to, ":%" PRIu32, l.line);
    fputc(')', to);
}

static void put_line(FILE *to, const struct paths *p, const uint32_t *stack, uint32_t depth, uint64_t us)
{
    for (uint32_t i = 0; i < depth; i++) {
        if (i)
            fputc(';', to);
        put_frame(to, p, p->nodes[stack[i]].spot);
    }
    fprintf(to, " %" PRIu64 "\n", us);
}

/* Rounds the running sum, not each weight, so that the weights of the file add up to the time recorded. */
static uint64_t rounded(uint64_t *sum_ns, uint64_t *sum_us, uint64_t ns)
{
    *sum_ns += ns;
    uint64_t us = (*sum_ns + NS_PER_US / 2) / NS_PER_US - *sum_us;
    *sum_us += us;
    return us;
}

int export_collapsed(FILE *to, struct rec_reader *r, const struct export_options *o)
{
    struct paths p;
    uint32_t *stack = NULL;
    uint32_t cap = 0, depth;
    uint64_t sum_ns = 0, sum_us = 0;
    int rc = paths_read(&p, r, o, false);
    for (uint32_t i = 0; rc == 0 && i < p.count; i++) {
        uint64_t us = rounded(&sum_ns, &sum_us, p.nodes[i].weight);
        if (!us)
            continue;
        rc = paths_unwind(&p, i, &stack, &cap, &depth);
        if (rc == 0)
            put_line(to, &p, stack, depth, us);
    }
    free(stack);
    paths_release(&p);
    if (rc == 0 && (fflush(to) || ferror(to)))
        rc = -EIO;
    return rc;
}
