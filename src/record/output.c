/* output: see output.h.
 *
 * Each block goes out by one loop of write(), so that after a kill everything handed over before is whole in
 * the file. When a write fails in the middle of a block, a seekable file is cut back to the last whole one.
 * A switch to another file is queued like a block, so that it never waits either.
 * All signals are blocked in the thread: none of the caller's handlers runs here, and a closed pipe gives
 * EPIPE, not SIGPIPE. Knows blocks, not what is in them.
 */
#include "record/output.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "record/block.h"
#include "record/format.h"
#include "record/io.h"

/* Enough for zstd, whose tables are on the heap, and for a sanitizer's frames. */
#define STACK_SIZE (256u << 10)

/* A block; or, with fd >= 0, a switch to that file. */
struct item {
    struct item *next;
    uint32_t type;
    struct payload payload;
    int fd;
};

/* first/last/closing are guarded by lock; queued, error, switches and whole are also read without it. The
 * rest belongs to the thread. switches: how many are queued. start: where in the file the recording begins,
 * or -1 when it cannot seek; whole: bytes of whole blocks written since. */
struct output {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct item *first;
    struct item **last;
    bool closing;
    atomic_size_t queued;
    atomic_int error;
    atomic_uint switches;
    int fd;
    off_t start;
    atomic_size_t whole;
    struct block_packer *packer;
    struct buf block;
};

void output_fail(struct output *o, int error)
{
    int none = 0;
    atomic_compare_exchange_strong(&o->error, &none, error);
}

int output_error(const struct output *o)
{
    return atomic_load_explicit(&o->error, memory_order_relaxed);
}

size_t output_queued(const struct output *o)
{
    return atomic_load_explicit(&o->queued, memory_order_relaxed);
}

size_t output_written(const struct output *o)
{
    return atomic_load(&o->switches) ? 0 : atomic_load(&o->whole);
}

/* All of it, or none of it where the file can be cut. */
static void write_whole(struct output *o, const uint8_t *bytes, size_t len)
{
    int err = io_write(o->fd, bytes, len);
    if (!err) {
        o->whole += len;
        return;
    }
    /* A partial block at the end is legal too, so a failed cut changes nothing. */
    off_t end = o->start + (off_t)o->whole;
    if (o->start >= 0 && ftruncate(o->fd, end) == 0)
        lseek(o->fd, end, SEEK_SET);
    output_fail(o, err);
}

static void write_item(struct output *o, const struct item *item)
{
    if (output_error(o))
        return;
    int err = block_pack(o->packer, item->type, &item->payload, &o->block);
    if (err)
        output_fail(o, err);
    else
        write_whole(o, o->block.data, o->block.len);
}

/* The next item to write, or NULL at the end. */
static struct item *take(struct output *o)
{
    pthread_mutex_lock(&o->lock);
    while (!o->first && !o->closing)
        pthread_cond_wait(&o->changed, &o->lock);
    struct item *item = o->first;
    if (item) {
        o->first = item->next;
        if (!o->first)
            o->last = &o->first;
    }
    pthread_mutex_unlock(&o->lock);
    return item;
}

/* A file opened for appending writes elsewhere than its offset says: it must never be cut. */
static off_t start_of(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || (flags & O_APPEND) ? -1 : lseek(fd, 0, SEEK_CUR);
}

static void begin_file(struct output *o)
{
    uint8_t preamble[REC_PREAMBLE_SIZE];
    o->start = start_of(o->fd);
    o->whole = 0;
    preamble_put(preamble, REC_FORMAT_VERSION);
    if (!output_error(o))
        write_whole(o, preamble, sizeof(preamble));
}

static void end_file(struct output *o)
{
    if (close(o->fd) != 0)
        output_fail(o, -errno);
}

static void switch_file(struct output *o, int fd)
{
    end_file(o);
    o->fd = fd;
    begin_file(o);
    atomic_fetch_sub(&o->switches, 1);
}

static void *run(void *arg)
{
    struct output *o = arg;
    begin_file(o);
    for (struct item *item; (item = take(o));) {
        if (item->fd >= 0)
            switch_file(o, item->fd);
        else
            write_item(o, item);
        atomic_fetch_sub(&o->queued, item->payload.raw.len);
        pthread_mutex_lock(&o->lock);
        pthread_cond_broadcast(&o->changed);
        pthread_mutex_unlock(&o->lock);
        buf_release(&item->payload.raw);
        free(item);
    }
    end_file(o);
    return NULL;
}

static int start_thread(struct output *o)
{
    sigset_t all, before;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&o->thread, &attr, run, o);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -err;
}

static void destroy(struct output *o)
{
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->changed);
    block_packer_free(o->packer);
    buf_release(&o->block);
    free(o);
}

int output_new(int fd, struct output **out)
{
    struct output *o = calloc(1, sizeof(*o));
    if (!o) {
        close(fd);
        return -ENOMEM;
    }
    o->fd = fd;
    o->last = &o->first;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->changed, NULL);
    buf_init(&o->block, BLOCK_HEAD_SIZE + REC_MAX_STORED);
    o->packer = block_packer_new();
    int err = o->packer ? start_thread(o) : -ENOMEM;
    if (err) {
        close(fd);
        destroy(o);
        return err;
    }
    *out = o;
    return 0;
}

void output_finish(struct output *o)
{
    pthread_mutex_lock(&o->lock);
    o->closing = true;
    pthread_cond_signal(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

int output_free(struct output *o)
{
    output_finish(o);
    pthread_join(o->thread, NULL);
    int err = output_error(o);
    destroy(o);
    return err;
}

static void enqueue(struct output *o, struct item *item)
{
    pthread_mutex_lock(&o->lock);
    *o->last = item;
    o->last = &item->next;
    pthread_cond_signal(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

int output_push(struct output *o, uint32_t type, const struct payload *payload)
{
    struct item *item = malloc(sizeof(*item));
    if (!item) {
        free(payload->raw.data);
        return -ENOMEM;
    }
    *item = (struct item){.type = type, .payload = *payload, .fd = -1};
    atomic_fetch_add(&o->queued, payload->raw.len);
    enqueue(o, item);
    return 0;
}

int output_switch(struct output *o, int fd)
{
    struct item *item = malloc(sizeof(*item));
    if (!item) {
        close(fd);
        return -ENOMEM;
    }
    *item = (struct item){.fd = fd};
    atomic_fetch_add(&o->switches, 1);
    enqueue(o, item);
    return 0;
}

void output_wait(struct output *o, size_t most)
{
    if (output_queued(o) <= most)
        return;
    pthread_mutex_lock(&o->lock);
    while (output_queued(o) > most)
        pthread_cond_wait(&o->changed, &o->lock);
    pthread_mutex_unlock(&o->lock);
}
