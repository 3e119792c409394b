/* collapsed: one distinct stack a line, root first, frames separated by ';', then a space and the weight in
 * whole microseconds. What flamegraph.pl, inferno and speedscope read.
 *
 * A frame is "name (file:line)". The format has no escapes, so ';' in a name becomes ':', and control
 * characters become '?', bytes that are not UTF-8 U+FFFD.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "export/formats.h"
#include "export/label.h"

static void put_line(FILE *to, const struct paths *p, const struct label_frames *f, const uint32_t *stack,
                     uint32_t depth, uint64_t us)
{
    for (uint32_t i = 0; i < depth; i++) {
        size_t len;
        const char *s = label_frame(f, p->nodes[stack[i]].spot, &len);
        if (i)
            putc_unlocked(';', to);
        fwrite_unlocked(s, 1, len, to);
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
    struct label_frames f = {0};
    int rc = paths_read(&p, r, o, false);
    if (rc == 0)
        rc = label_frames_init(&f, &p);
    for (uint32_t i = 0; rc == 0 && i < p.count; i++) {
        uint64_t us = rounded(&sum_ns, &sum_us, p.nodes[i].weight);
        if (!us)
            continue;
        rc = paths_unwind(&p, i, &stack, &cap, &depth);
        if (rc == 0)
            put_line(to, &p, &f, stack, depth, us);
    }
    free(stack);
    label_frames_release(&f);
    paths_release(&p);
    if (rc == 0 && (fflush(to) || ferror(to)))
        rc = -EIO;
    return rc;
}
