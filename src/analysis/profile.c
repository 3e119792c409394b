/* profile: see profile.h. Here: the sums by thread and process, and what else a recording says; fold.c makes
 * the tables of stacks.
 */
#include "analysis/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/views.h"
#include "base/map.h"

#define MAX_DETAILS 64 /* sentences kept: more than a person reads */

static struct profile_thread *threads_of(const struct profile *p)
{
    return (struct profile_thread *)p->threads.data;
}

static struct profile_process *processes_of(const struct profile *p)
{
    return (struct profile_process *)p->processes.data;
}

/* Events ---------------------------------------------------------------------------------------------- */

static void saw(struct profile *p, uint64_t time_ns)
{
    p->last_ns = max_u64(p->last_ns, time_ns);
}

static int on_process(void *ctx, uint32_t index, const struct rec_process *process)
{
    struct profile *p = ctx;
    saw(p, process->start_ns);
    struct profile_process entry = {.process = index, .code = REC_NO_CODE};
    buf_put(&p->processes, &entry, sizeof(entry));
    return p->processes.error;
}

static int on_thread(void *ctx, uint32_t index, const struct rec_thread *thread)
{
    struct profile *p = ctx;
    saw(p, thread->start_ns);
    struct profile_thread entry = {.thread = index,
                                   .first_ns = thread->start_ns,
                                   .last_ns = thread->start_ns,
                                   .taken = profile_takes(&p->filter, p->reader, index)};
    buf_put(&p->threads, &entry, sizeof(entry));
    return p->threads.error;
}

static int on_exit_of_process(void *ctx, const struct rec_exit *e)
{
    struct profile *p = ctx;
    saw(p, e->end_ns);
    struct profile_process *process = &processes_of(p)[e->process];
    process->end_ns = e->end_ns;
    process->code = e->code;
    process->signal = e->signal;
    process->cpu_ns = e->cpu_ns;
    return 0;
}

static bool takes(const struct profile_filter *f, const struct rec_reader *r, uint32_t pid, uint32_t part)
{
    if ((f->pid && pid != f->pid) || (f->part && part != f->part - 1))
        return false;
    if (!f->host && !f->rank)
        return true;
    struct rec_header h = rec_reader_part(r, part).header;
    return (!f->host || strcmp(f->host, h.host) == 0) && (!f->rank || f->rank - 1 == h.rank);
}

bool profile_takes_process(const struct profile_filter *f, const struct rec_reader *r, uint32_t process)
{
    return takes(f, r, rec_reader_process(r, process).pid, rec_reader_part_of(r, process));
}

bool profile_takes_heap(const struct profile_filter *f, const struct rec_reader *r, uint32_t heap)
{
    return !f->tid && takes(f, r, rec_reader_heap(r, heap).pid, rec_reader_part_of_heap(r, heap));
}

bool profile_takes(const struct profile_filter *f, const struct rec_reader *r, uint32_t thread)
{
    struct rec_thread t = rec_reader_thread(r, thread);
    return (!f->tid || t.tid == f->tid) && profile_takes_process(f, r, t.process);
}

/* A sample can be one stretch with the one before: they were told apart by where in their functions they
 * stood. */
static bool goes_on(const struct profile *p, struct profile_seen *seen, const struct rec_sample *s)
{
    bool same = seen->epoch == p->epoch && seen->stack == s->stack && seen->state == s->state &&
                seen->end_ns == s->end_ns - s->wall_ns;
    *seen = (struct profile_seen){s->end_ns, s->stack, p->epoch, s->state};
    return same;
}

static int on_sample(void *ctx, const struct rec_sample *s)
{
    struct profile *p = ctx;
    saw(p, s->end_ns);
    bool task = s->state & REC_TASK;
    struct profile_thread *thread = &threads_of(p)[s->thread];
    if (task != p->filter.tasks || !thread->taken)
        return 0;
    struct node_weights w = fold_weigh(s, rec_reader_header(profile_reader(p))->period_ns);
    if (!task && goes_on(p, &thread->seen, s))
        w.squared_gaps = FOLD_GOES_ON;
    thread->last_ns = max_u64(thread->last_ns, s->end_ns);
    if (!task)
        weights_add_node(&thread->sum, &w);
    return fold_add(&p->fold, s->stack, &w);
}

static int on_loss(void *ctx, const struct rec_loss *l)
{
    struct profile *p = ctx;
    p->losses[l->kind] += l->count;
    const uint32_t *details = (const uint32_t *)p->details.data;
    size_t n = p->details.len / sizeof(*details);
    for (size_t i = 0; i < n; i++) {
        if (details[i] == l->detail)
            return 0;
    }
    if (l->detail && n < MAX_DETAILS)
        buf_put(&p->details, &l->detail, sizeof(l->detail));
    return p->details.error;
}

static int on_stats(void *ctx, const struct rec_stats *s)
{
    struct profile *p = ctx;
    saw(p, s->time_ns);
    p->stats = *s;
    return 0;
}

static int on_pause(void *ctx, const struct rec_pause *pause)
{
    struct profile *p = ctx;
    histogram_add(&p->pauses, pause->ns, pause->count);
    return 0;
}

static int on_heap(void *ctx, uint32_t index, const struct rec_heap *h)
{
    struct profile *p = ctx;
    saw(p, h->start_ns);
    bool taken = profile_takes_heap(&p->filter, p->reader, index);
    int err = memory_add_heap(&p->memory, index, taken);
    return err ? err : collections_add_heap(&p->collections, h, taken);
}

static int on_heap_site(void *ctx, const struct rec_heap_site *s)
{
    struct profile *p = ctx;
    return memory_add_site(&p->memory, s);
}

static int on_heap_point(void *ctx, const struct rec_heap_point *point)
{
    struct profile *p = ctx;
    saw(p, point->time_ns);
    memory_add_point(&p->memory, point);
    return 0;
}

static int on_collector(void *ctx, const struct rec_collector *collector)
{
    struct profile *p = ctx;
    collections_add_collector(&p->collections, collector);
    return 0;
}

static int on_collection(void *ctx, const struct rec_collection *collection)
{
    struct profile *p = ctx;
    return collections_add(&p->collections, collection);
}

static int on_epoch(void *ctx)
{
    struct profile *p = ctx;
    p->epoch++;
    return fold_epoch(&p->fold);
}

/* Life ------------------------------------------------------------------------------------------------ */

static void sum_processes(struct profile *p)
{
    size_t n = p->threads.len / sizeof(struct profile_thread);
    for (size_t i = 0; i < n; i++) {
        const struct profile_thread *t = &threads_of(p)[i];
        weights_add(&processes_of(p)[rec_reader_thread(p->reader, t->thread).process].sum, &t->sum);
    }
}

/* Drops what the filter does not take. */
static void keep_taken(struct profile *p)
{
    size_t n = p->threads.len / sizeof(struct profile_thread);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (threads_of(p)[i].taken)
            threads_of(p)[kept++] = threads_of(p)[i];
    }
    p->threads.len = kept * sizeof(struct profile_thread);
    n = p->processes.len / sizeof(struct profile_process);
    kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (profile_takes_process(&p->filter, p->reader, processes_of(p)[i].process))
            processes_of(p)[kept++] = processes_of(p)[i];
    }
    p->processes.len = kept * sizeof(struct profile_process);
}

int profile_new(struct rec_reader *r, const struct profile_filter *filter, struct profile **out)
{
    static const struct rec_events events = {.process = on_process,
                                             .thread = on_thread,
                                             .exit = on_exit_of_process,
                                             .sample = on_sample,
                                             .loss = on_loss,
                                             .stats = on_stats,
                                             .pause = on_pause,
                                             .heap = on_heap,
                                             .heap_site = on_heap_site,
                                             .heap_point = on_heap_point,
                                             .collector = on_collector,
                                             .collection = on_collection,
                                             .epoch = on_epoch};
    struct profile *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->reader = r;
    p->epoch = 1;
    p->filter = filter ? *filter : (struct profile_filter){0};
    buf_init(&p->details, SIZE_MAX);
    buf_init(&p->threads, SIZE_MAX);
    buf_init(&p->processes, SIZE_MAX);
    memory_init(&p->memory, r);
    collections_init(&p->collections, r);
    int err = fold_init(&p->fold, r, p->filter.without);
    if (!err)
        err = rec_reader_run(r, &events, p);
    if (!err)
        err = memory_fold(&p->memory);
    if (!err)
        err = collections_fold(&p->collections);
    if (err) {
        profile_free(p);
        return err;
    }
    sum_processes(p);
    keep_taken(p);
    *out = p;
    return 0;
}

void profile_free(struct profile *p)
{
    if (!p)
        return;
    fold_release(&p->fold);
    memory_release(&p->memory);
    collections_release(&p->collections);
    buf_release(&p->details);
    buf_release(&p->threads);
    buf_release(&p->processes);
    free(p->functions);
    free(p->lines);
    free(p);
}

/* Answers --------------------------------------------------------------------------------------------- */

const struct rec_reader *profile_reader(const struct profile *p)
{
    return p->reader;
}

const struct weights *profile_sum(const struct profile *p)
{
    return &p->fold.sum;
}

uint64_t profile_elapsed_ns(const struct profile *p)
{
    const struct rec_end *end = rec_reader_end(p->reader);
    uint64_t started = rec_reader_header(p->reader)->started_ns;
    uint64_t ended = end ? end->ended_ns : p->last_ns;
    return ended > started ? ended - started : 0;
}

uint64_t profile_recorded_ns(const struct profile *p)
{
    uint32_t parts = rec_reader_part_count(p->reader);
    uint64_t last = rec_reader_header(p->reader)->started_ns + profile_elapsed_ns(p);
    uint64_t sum = 0;
    for (uint32_t i = 0; parts > 1 && i < parts; i++) {
        struct rec_part part = rec_reader_part(p->reader, i);
        uint64_t ended = part.end.ended_ns ? part.end.ended_ns : last;
        sum += ended > part.header.started_ns ? ended - part.header.started_ns : 0;
    }
    return sum ? sum : profile_elapsed_ns(p);
}

/* The kernel's figure for a PID covers what it ran before an exec, which is an entry of its own: such an
 * entry counts only if no later one of the same PID has a figure. It also covers the time before an attach,
 * so a recording of an attached process goes by the samples. */
uint64_t profile_cpu_ns(const struct profile *p)
{
    if (p->filter.tid)
        return p->fold.sum.cpu;
    struct map known;
    map_init(&known);
    uint64_t cpu = 0;
    for (size_t i = p->processes.len / sizeof(struct profile_process); i-- > 0;) {
        const struct profile_process *process = &processes_of(p)[i];
        struct rec_process entry = rec_reader_process(p->reader, process->process);
        uint32_t part = rec_reader_part_of(p->reader, process->process);
        uint64_t pid = (uint64_t)part << 32 | entry.pid;
        bool attached = rec_reader_part(p->reader, part).header.attached;
        if (process->cpu_ns && !attached) {
            cpu += process->cpu_ns;
            map_put(&known, pid, 1);
        } else if (map_get(&known, pid) == MAP_NONE) {
            cpu += process->sum.cpu;
        }
    }
    map_release(&known);
    return cpu;
}

uint64_t profile_loss(const struct profile *p, enum rec_loss_kind kind)
{
    return p->losses[kind];
}

const uint32_t *profile_loss_details(const struct profile *p, size_t *count)
{
    *count = p->details.len / sizeof(uint32_t);
    return (const uint32_t *)p->details.data;
}

const struct rec_stats *profile_stats(const struct profile *p)
{
    return &p->stats;
}

const struct histogram *profile_pauses(const struct profile *p)
{
    return &p->pauses;
}

const struct memory_use *profile_memory(const struct profile *p)
{
    return p->memory.whole.heaps ? &p->memory : NULL;
}

bool profile_has_memory(const struct profile *p)
{
    return p->memory.recorded;
}

const struct collections_use *profile_collections(const struct profile *p)
{
    return p->collections.recorded ? &p->collections : NULL;
}

const struct profile_thread *profile_threads(const struct profile *p, size_t *count)
{
    *count = p->threads.len / sizeof(struct profile_thread);
    return threads_of(p);
}

const struct profile_process *profile_processes(const struct profile *p, size_t *count)
{
    *count = p->processes.len / sizeof(struct profile_process);
    return processes_of(p);
}

const struct profile_node *profile_nodes(const struct profile *p, size_t *count)
{
    *count = p->fold.trie.count;
    return trie_at(&p->fold.trie, 0);
}
