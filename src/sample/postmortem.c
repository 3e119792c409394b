/* postmortem: see postmortem.h. */
#include "sample/postmortem.h"

#include <errno.h>
#include <string.h>

#include "sample/target_state.h"

/* Files that are told by name; the others are counted. */
#define LOST_MAX 8

struct lost {
    struct target *t;
    uint64_t now_ns;
    size_t count;
};

static void note_file(void *ctx, const char *path, int err)
{
    struct lost *l = ctx;
    if (++l->count > LOST_MAX)
        return;
    const char *why = err == -ESTALE   ? "is not the file that the process had mapped: it was replaced since"
                      : err == -ENOENT ? "is not here"
                                       : strerror(-err);
    target_note(l->t, REC_LOSS_UNREADABLE, l->now_ns,
                "%s: %s. What the core does not have of it could not be seen", path, why);
}

static void note_losses(struct target *t, const struct core *core, uint64_t now_ns)
{
    struct lost lost = {.t = t, .now_ns = now_ns};
    if (core_cut(core))
        target_note(t, REC_LOSS_UNREADABLE, now_ns,
                    "the core is cut: %llu bytes are missing, and what they held could not be seen",
                    (unsigned long long)core_cut(core));
    core_each_lost(core, note_file, &lost);
    if (lost.count > LOST_MAX)
        target_note(t, REC_LOSS_UNREADABLE, now_ns, "%zu more files are not here or were replaced",
                    lost.count - LOST_MAX);
}

static void look(struct target *t, struct core *core, struct postmortem *out)
{
    uint64_t now_ns = clock_ns(), reads = 0, bytes = 0;
    target_look(t, now_ns);
    out->found = target_found(t);
    memcpy(out->version, target_version(t), sizeof(out->version));
    note_losses(t, core, now_ns);
    target_flush(t);
    target_count_reads(t, &reads, &bytes);
    sampling_report(t->s, now_ns, 1, reads, bytes);
}

int postmortem_look(struct core *core, bool native, struct rec_locals *locals, struct rec_writer *writer,
                    struct postmortem *out)
{
    const struct source source = {.pid = core_pid(core), .core = core};
    struct sampling s;
    struct target *t = NULL;
    *out = (struct postmortem){.found = PY_NONE};
    int err = sampling_init(&s, writer);
    if (err)
        return err;
    s.native = s.native_now = native;
    s.native_once = true;
    s.locals = locals;
    err = target_new(&s, &source, core_ppid(core), clock_ns(), &t);
    if (!err)
        look(t, core, out);
    target_free(t);
    rec_flush(writer);
    sampling_release(&s);
    return err;
}
