/* feed: see feed.h.
 *
 * The thread looks at all rings every millisecond while there is something in them, else every four. A ring
 * has room for what a program can allocate in the meantime, so that it seldom waits. A lock keeps the heaps
 * together: held while rings are emptied, and while a second's figures are written.
 *
 * A process's end shows by its pidfd, an exec by another agent of the same process. What was in the ring is
 * taken then.
 */
#include "feed/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/list.h"
#include "base/map.h"
#include "feed/collections.h"
#include "feed/heap.h"
#include "feed/stacks.h"
#include "os/proc.h"

#define BUSY_MS 1
#define IDLE_MS 4

/* A point of each heap so often; those that wait to be written are at most so many, later ones are left out.
 */
#define POINT_NS (100 * NS_PER_MS)
#define POINTS_MAX 256

/* Resident memory is read so often, or soon after the heap's peak has grown by that: it cannot be read of a
 * process that has ended. */
#define RSS_NS (20 * NS_PER_MS)
#define RSS_SOON_NS (2 * NS_PER_MS)
#define RSS_GROWN (1u << 20)

/* Sums are written so often: what is lost of them at most when zond is killed. */
#define SITES_NS (5 * NS_PER_S)

#define BACKLOG 512
#define VARIABLE_MAX 64
#define EVENTS_MAX 64

/* Stacks that are one in the recording: the agent tells them apart by their instructions, not by their lines.
 * As they are, and as they were when they were looked at before. */
struct group {
    struct rec_heap_site sums, before;
};

/* Of one program image. index: in the recording, NOT_SENT
 * before. ended: nothing comes any more; it is forgotten when it is written. */
struct client {
    pid_t pid;
    int pidfd; /* -1: the kernel has none */
    struct channel *channel;
    uint32_t tail;
    struct heap *heap;
    struct feed_collections collections;
    struct feed_stacks stacks;
    struct group *groups;
    size_t group_count, group_cap;
    struct map group_of; /* by the recording's node */
    uint32_t *group;     /* of each of the first `grouped` sites */
    size_t grouped, grouped_cap;
    uint64_t started_ns;
    uint64_t point_ns, sites_ns;
    struct rec_heap_point points[POINTS_MAX];
    size_t point_count;
    uint64_t rss, rss_peak;
    uint64_t rss_ns, rss_of_peak; /* when that was read, and what the heap's peak was then */
    uint32_t index;
    uint64_t told;        /* losses that were written */
    uint64_t start_stack; /* as of struct proc_stat; 0: not known */
    bool replaced;        /* the process runs another program, whose agent has not come (yet) */
    uint64_t unfinished;  /* events that were not whole at the end */
    bool removal_told;    /* that nobody listens to collections any more */
    bool ended;
    uint64_t ended_ns;
};

#define NOT_SENT UINT32_MAX

/* What an epoll event is of: these, or a client. */
enum { ON_SOCKET = 1, ON_STOP = 2 };

struct feed {
    bool allocations;
    char variable[VARIABLE_MAX]; /* its value names the socket */
    int socket, epoll, stop;
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock; /* of what follows */
    struct client **clients;
    size_t count, cap;
    uint64_t served, refused; /* agents that got a channel, and that got none */
};

/* Channels ---------------------------------------------------------------------------------------------- */

/* The mutex is held by the feed's thread; the kernel tells the agent when that thread is no more. */
static int init_channel(struct channel *c, bool allocations)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    c->version = CHANNEL_VERSION;
    c->allocations = allocations;
    int err = pthread_mutex_init(&c->owner, &attr);
    pthread_mutexattr_destroy(&attr);
    return err ? -err : -pthread_mutex_lock(&c->owner);
}

/* A channel that the program cannot make smaller. *fd is the caller's. */
static int make_channel(bool allocations, struct channel **out, int *fd)
{
    *fd = memfd_create("zond", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return -errno;
    void *at = MAP_FAILED;
    if (ftruncate(*fd, sizeof(struct channel)) == 0 &&
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        at = mmap(NULL, sizeof(struct channel), PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    int err = at == MAP_FAILED ? -errno : init_channel(at, allocations);
    if (!err) {
        *out = at;
        return 0;
    }
    if (at != MAP_FAILED)
        munmap(at, sizeof(struct channel));
    close(*fd);
    return err;
}

/* In the feed's thread: the mutex is its own. */
static void close_channel(struct client *client)
{
    atomic_store_explicit(&client->channel->closed, 1, memory_order_relaxed);
    pthread_mutex_unlock(&client->channel->owner);
}

static int send_channel(int to, int fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    uint32_t version = CHANNEL_VERSION;
    struct iovec part = {.iov_base = &version, .iov_len = sizeof(version)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(head), &fd, sizeof(fd));
    return sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* Clients ----------------------------------------------------------------------------------------------- */

static void client_free(struct client *client)
{
    if (!client)
        return;
    if (client->channel)
        munmap(client->channel, sizeof(*client->channel));
    if (client->pidfd >= 0)
        close(client->pidfd);
    heap_free(client->heap);
    feed_collections_release(&client->collections);
    feed_stacks_release(&client->stacks);
    free(client->groups);
    free(client->group);
    map_release(&client->group_of);
    free(client);
}

static void read_rss(struct client *client, uint64_t now_ns)
{
    proc_memory(client->pid, &client->rss, &client->rss_peak);
    client->rss_ns = now_ns;
    client->rss_of_peak = heap_sum(client->heap).peak;
}

static bool rss_is_due(const struct client *client, uint64_t now_ns)
{
    uint64_t age_ns = now_ns - client->rss_ns;
    bool grew = heap_sum(client->heap).peak >= client->rss_of_peak + RSS_GROWN;
    return age_ns >= RSS_NS || (grew && age_ns >= RSS_SOON_NS);
}

/* An exec shows by another stack. */
static void look_for_exec(struct client *client)
{
    struct proc_stat st;
    if (proc_stat(client->pid, &st) != 0 || !st.start_stack)
        return;
    client->replaced = client->start_stack && st.start_stack != client->start_stack;
    client->start_stack = client->start_stack ? client->start_stack : st.start_stack;
}

static void take_point(struct client *client, uint64_t now_ns)
{
    read_rss(client, now_ns);
    look_for_exec(client);
    client->point_ns = now_ns;
    if (client->point_count == POINTS_MAX)
        client->point_count--;
    struct heap_sum sum = heap_sum(client->heap);
    client->points[client->point_count++] = (struct rec_heap_point){.time_ns = now_ns,
                                                                    .live = sum.live,
                                                                    .rss = client->rss,
                                                                    .rss_peak = client->rss_peak,
                                                                    .peak = sum.peak,
                                                                    .peak_ns = sum.peak_ns};
}

/* Takes the event whose turn it is; false: it is not whole. */
static bool take_next(struct client *client, uint64_t now_ns)
{
    const struct channel_event *slot = &client->channel->events[client->tail % CHANNEL_SLOTS];
    if (atomic_load_explicit(&slot->turn, memory_order_acquire) != client->tail + 1)
        return false;
    struct channel_event event = {.kind = slot->kind,
                                  .stack = slot->stack,
                                  .token = slot->token,
                                  .address = slot->address,
                                  .size = slot->size};
    if (!feed_collections_take(&client->collections, client->tail, &event))
        heap_take(client->heap, client->tail, &event, now_ns);
    return true;
}

/* Takes the events that are there. True: there were some. */
static bool drain(struct client *client, uint64_t now_ns)
{
    struct channel *c = client->channel;
    uint32_t first = client->tail;
    for (; take_next(client, now_ns); client->tail++) {
        /* Slots are given back soon, so that a program that waits goes on. */
        if (client->tail % (CHANNEL_SLOTS / 8) == 0)
            atomic_store_explicit(&c->tail, client->tail + 1, memory_order_release);
        if (client->tail - first >= 4 * CHANNEL_SLOTS)
            break;
    }
    atomic_store_explicit(&c->tail, client->tail, memory_order_release);
    return client->tail != first;
}

/* Takes what is in the ring when the agent is silent. An event that a thread was writing when it was killed
 * is a loss, those behind it are not; nor is there anything behind a full ring, where each thread waits with
 * one event. How many these are is the program's claim. */
static void drain_rest(struct client *client, uint64_t now_ns)
{
    uint32_t waiting = atomic_load_explicit(&client->channel->head, memory_order_acquire) - client->tail;
    uint32_t there = waiting < CHANNEL_SLOTS ? waiting : CHANNEL_SLOTS;
    for (uint32_t i = 0; i < there; i++, client->tail++)
        client->unfinished += !take_next(client, now_ns);
    client->unfinished += min_u64(waiting - there, CHANNEL_SLOTS);
}

static void end_client(struct feed *f, struct client *client, uint64_t now_ns)
{
    if (client->ended)
        return;
    if (client->pidfd >= 0)
        epoll_ctl(f->epoll, EPOLL_CTL_DEL, client->pidfd, NULL);
    close_channel(client);
    drain_rest(client, now_ns);
    if (f->allocations)
        take_point(client, now_ns);
    client->ended = true;
    client->ended_ns = now_ns;
}

/* The process became another program, which has an agent. */
static void end_earlier(struct feed *f, pid_t pid, uint64_t now_ns)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->clients[i]->pid != pid || f->clients[i]->ended)
            continue;
        end_client(f, f->clients[i], now_ns);
        f->clients[i]->replaced = false;
    }
}

static int watch_end(struct feed *f, struct client *client)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    client->pidfd = proc_open_end(client->pid);
    if (client->pidfd < 0)
        return client->pidfd == -ENOSYS ? 0 : client->pidfd;
    return epoll_ctl(f->epoll, EPOLL_CTL_ADD, client->pidfd, &event) < 0 ? -errno : 0;
}

static int new_client(struct feed *f, pid_t pid, struct client **out, int *fd)
{
    struct client **clients = list_room(f->clients, &f->cap, f->count, sizeof(struct client *));
    struct client *client = clients ? calloc(1, sizeof(*client)) : NULL;
    f->clients = clients ? clients : f->clients;
    *fd = -1;
    if (!client)
        return -ENOMEM;
    client->pid = pid;
    client->pidfd = -1;
    client->index = NOT_SENT;
    map_init(&client->group_of);
    client->started_ns = client->sites_ns = clock_ns();
    int err = heap_new(&client->heap);
    if (!err)
        err = make_channel(f->allocations, &client->channel, fd);
    if (!err)
        err = watch_end(f, client);
    if (err && client->channel)
        close_channel(client);
    if (err) {
        client_free(client);
        return err;
    }
    *out = client;
    return 0;
}

/* An agent asks. What it gets is kept before it has it. */
static int welcome(struct feed *f, int peer)
{
    struct ucred who;
    socklen_t len = sizeof(who);
    struct client *client;
    int fd;
    if (getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
        return -errno;
    bool ours = who.uid == geteuid() || geteuid() == 0;
    int err = who.pid <= 0 ? -ESRCH : ours ? new_client(f, who.pid, &client, &fd) : -EACCES;
    if (err)
        return err;
    end_earlier(f, who.pid, clock_ns());
    f->clients[f->count++] = client;
    if (f->allocations)
        take_point(client, client->started_ns);
    err = send_channel(peer, fd);
    close(fd);
    return err;
}

static void answer(struct feed *f)
{
    for (;;) {
        int peer = accept4(f->socket, NULL, NULL, SOCK_CLOEXEC);
        if (peer < 0)
            return;
        bool served = welcome(f, peer) == 0;
        f->served += served;
        f->refused += !served;
        close(peer);
    }
}

/* The thread -------------------------------------------------------------------------------------------- */

static bool drain_all(struct feed *f)
{
    uint64_t now_ns = clock_ns();
    bool busy = false;
    for (size_t i = 0; i < f->count; i++) {
        struct client *client = f->clients[i];
        if (client->ended)
            continue;
        busy |= drain(client, now_ns);
        if (!f->allocations)
            continue;
        if (now_ns - client->point_ns >= POINT_NS)
            take_point(client, now_ns);
        else if (rss_is_due(client, now_ns))
            read_rss(client, now_ns);
    }
    return busy;
}

/* False: it is time to stop. */
static bool take_wakes(struct feed *f, const struct epoll_event *events, int n)
{
    bool goes_on = true;
    for (int i = 0; i < n; i++) {
        if (events[i].data.u64 == ON_SOCKET) {
            answer(f);
        } else if (events[i].data.u64 == ON_STOP) {
            goes_on = false;
        } else {
            end_client(f, events[i].data.ptr, clock_ns());
        }
    }
    return goes_on;
}

static void *run(void *ctx)
{
    struct feed *f = ctx;
    struct epoll_event events[EVENTS_MAX];
    bool busy = false, goes_on = true;
    while (goes_on) {
        int n = epoll_wait(f->epoll, events, EVENTS_MAX, busy ? BUSY_MS : IDLE_MS);
        pthread_mutex_lock(&f->lock);
        goes_on = take_wakes(f, events, n);
        busy = drain_all(f);
        for (size_t i = 0; !goes_on && i < f->count; i++)
            end_client(f, f->clients[i], clock_ns());
        pthread_mutex_unlock(&f->lock);
    }
    return NULL;
}

/* Life -------------------------------------------------------------------------------------------------- */

static int listen_to(struct feed *f)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    uint64_t random[2];
    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return -EIO;
    snprintf(f->variable, sizeof(f->variable), CHANNEL_ENV "=zond-%016llx%016llx",
             (unsigned long long)random[0], (unsigned long long)random[1]);
    const char *name = f->variable + sizeof(CHANNEL_ENV);
    size_t len = strlen(name);
    memcpy(at.sun_path + 1, name, len);
    f->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (f->socket < 0 ||
        bind(f->socket, (struct sockaddr *)&at,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) < 0 ||
        listen(f->socket, BACKLOG) < 0)
        return -errno;
    return 0;
}

static int watch_own(struct feed *f)
{
    struct epoll_event asked = {.events = EPOLLIN, .data.u64 = ON_SOCKET};
    struct epoll_event stopped = {.events = EPOLLIN, .data.u64 = ON_STOP};
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    f->stop = eventfd(0, EFD_CLOEXEC);
    if (f->epoll < 0 || f->stop < 0 || epoll_ctl(f->epoll, EPOLL_CTL_ADD, f->socket, &asked) < 0 ||
        epoll_ctl(f->epoll, EPOLL_CTL_ADD, f->stop, &stopped) < 0)
        return -errno;
    return 0;
}

int feed_new(bool allocations, struct feed **out)
{
    struct feed *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->allocations = allocations;
    f->socket = f->epoll = f->stop = -1;
    pthread_mutex_init(&f->lock, NULL);
    int err = listen_to(f);
    if (!err)
        err = watch_own(f);
    if (err) {
        feed_free(f);
        return err;
    }
    *out = f;
    return 0;
}

const char *feed_variable(const struct feed *f)
{
    return f->variable;
}

int feed_start(struct feed *f)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&f->thread, NULL, run, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    f->runs = err == 0;
    return -err;
}

void feed_stop(struct feed *f)
{
    if (!f->runs)
        return;
    eventfd_write(f->stop, 1);
    pthread_join(f->thread, NULL);
    f->runs = false;
}

void feed_free(struct feed *f)
{
    if (!f)
        return;
    feed_stop(f);
    for (size_t i = 0; i < f->count; i++)
        client_free(f->clients[i]);
    free(f->clients);
    const int fds[] = {f->socket, f->epoll, f->stop};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* Writing ----------------------------------------------------------------------------------------------- */

static bool same_sums(const struct rec_heap_site *a, const struct rec_heap_site *b)
{
    return a->allocated == b->allocated && a->allocations == b->allocations && a->freed == b->freed &&
           a->frees == b->frees && a->peak == b->peak;
}

/* The group of a site that has none yet; false: no memory. */
static bool find_group(struct client *client, struct rec_writer *w, uint32_t stack, uint32_t *group)
{
    uint32_t node = feed_stacks_node(&client->stacks, client->channel, w, stack);
    *group = map_get(&client->group_of, node);
    if (*group != MAP_NONE)
        return true;
    struct group *groups =
        list_room(client->groups, &client->group_cap, client->group_count, sizeof(*groups));
    if (!groups)
        return false;
    client->groups = groups;
    *group = (uint32_t)client->group_count;
    groups[client->group_count++] = (struct group){.sums.heap = client->index, .sums.stack = node};
    return map_put(&client->group_of, node, *group) == 0;
}

/* Finds the groups of new sites; false: no memory. */
static bool group_sites(struct client *client, struct rec_writer *w, const struct heap_site *sites,
                        size_t count)
{
    while (client->grouped < count) {
        uint32_t *list = list_room(client->group, &client->grouped_cap, client->grouped, sizeof(*list));
        client->group = list ? list : client->group;
        if (!list || !find_group(client, w, sites[client->grouped].stack, &list[client->grouped]))
            return false;
        client->grouped++;
    }
    return true;
}

/* The sums that changed since they were written. */
static void write_sites(struct client *client, struct rec_writer *w)
{
    size_t count;
    const struct heap_site *sites = heap_sites(client->heap, &count);
    if (!group_sites(client, w, sites, count))
        return;
    for (size_t i = 0; i < client->group_count; i++) {
        struct rec_heap_site *sums = &client->groups[i].sums;
        client->groups[i].before = *sums;
        *sums = (struct rec_heap_site){.heap = sums->heap, .stack = sums->stack};
    }
    for (size_t i = 0; i < count; i++) {
        struct rec_heap_site *sums = &client->groups[client->group[i]].sums;
        sums->allocated += sites[i].allocated;
        sums->allocations += sites[i].allocations;
        sums->freed += sites[i].freed;
        sums->frees += sites[i].frees;
        sums->peak += heap_at_peak(client->heap, &sites[i]);
    }
    for (size_t i = 0; i < client->group_count; i++) {
        if (!same_sums(&client->groups[i].sums, &client->groups[i].before))
            rec_heap_site(w, &client->groups[i].sums);
    }
}

static void write_loss(struct rec_writer *w, enum rec_loss_kind kind, uint64_t count, const char *detail)
{
    rec_loss(w, &(struct rec_loss){.kind = (uint8_t)kind,
                                   .time_ns = clock_ns(),
                                   .count = count,
                                   .detail = detail ? rec_string(w, detail, strlen(detail)) : 0});
}

/* The kind of a loss that concerns all that is recorded. */
static enum rec_loss_kind loss_kind(const struct feed *f)
{
    return f->allocations ? REC_LOSS_MEMORY : REC_LOSS_GC;
}

static void write_losses(const struct feed *f, struct client *client, struct rec_writer *w)
{
    const struct channel *c = client->channel;
    char text[160];
    if (client->ended && client->replaced) {
        snprintf(
            text, sizeof(text),
            "process %d became a program into which zond's library was not loaded: memory was not recorded "
            "from then on",
            client->pid);
        write_loss(w, REC_LOSS_MEMORY, 1, text);
        client->replaced = false;
    }
    bool gave_up = atomic_load_explicit(&c->gave_up, memory_order_relaxed);
    uint64_t lost = heap_sum(client->heap).lost + client->unfinished +
                    atomic_load_explicit(&c->full, memory_order_relaxed) +
                    atomic_load_explicit(&c->truncated, memory_order_relaxed) + gave_up;
    if (lost == client->told)
        return;
    snprintf(text, sizeof(text),
             client->unfinished ? "process %d ended while it was writing down what it %s"
             : gave_up          ? "process %d waited for zond in vain: what it %s later was not recorded"
                                : "process %d: stacks of what it %s were too deep or too many, some are cut",
             client->pid, f->allocations ? "allocated" : "collected");
    write_loss(w, loss_kind(f), lost - client->told, text);
    client->told = lost;
}

/* Collections ------------------------------------------------------------------------------------------- */

static void write_unrecorded(struct client *client, struct rec_writer *w)
{
    struct feed_collections *f = &client->collections;
    char text[160];
    if (f->lost) {
        snprintf(text, sizeof(text),
                 "process %d: more collections at once than zond keeps: some were not recorded", client->pid);
        write_loss(w, REC_LOSS_GC, f->lost, text);
        f->lost = 0;
    }
    if (f->until_ns && !client->removal_told) {
        snprintf(text, sizeof(text),
                 "process %d: zond is not in gc.callbacks any more: later collections were not recorded",
                 client->pid);
        write_loss(w, REC_LOSS_GC, 1, text);
        client->removal_told = true;
    }
}

static void write_collections(struct client *client, struct rec_writer *w, uint64_t now_ns)
{
    struct feed_collections *f = &client->collections;
    if (!f->since_ns)
        return;
    for (size_t i = 0; i < f->count; i++) {
        f->list[i].heap = client->index;
        f->list[i].stack = feed_stacks_node(&client->stacks, client->channel, w, f->list[i].stack);
        rec_collection(w, &f->list[i]);
    }
    f->count = 0;
    uint64_t until = client->ended ? client->ended_ns : now_ns;
    rec_collector(w, &(struct rec_collector){.heap = client->index,
                                             .since_ns = f->since_ns,
                                             .until_ns = f->until_ns ? f->until_ns : until});
    write_unrecorded(client, w);
}

static void write_client(const struct feed *f, struct client *client, struct rec_writer *w, bool sites)
{
    if (client->index == NOT_SENT)
        client->index =
            rec_heap(w, &(struct rec_heap){.pid = (uint32_t)client->pid, .start_ns = client->started_ns});
    for (size_t i = 0; i < client->point_count; i++) {
        client->points[i].heap = client->index;
        rec_heap_point(w, &client->points[i]);
    }
    client->point_count = 0;
    if (sites && f->allocations)
        write_sites(client, w);
    write_collections(client, w, clock_ns());
    write_losses(f, client, w);
}

/* Programs that got no channel. */
static void write_unserved(const struct feed *f, struct rec_writer *w)
{
    char text[256];
    const char *what = f->allocations ? "memory was" : "collections were";
    if (!f->served && !f->refused) {
        snprintf(text, sizeof(text),
                 "zond's library was not loaded, as into programs that are static, set-user-ID or built with "
                 "AddressSanitizer: %s not recorded",
                 what);
        write_loss(w, loss_kind(f), 1, text);
    }
    if (f->refused) {
        snprintf(text, sizeof(text), "zond had no room for all processes: of some, %s not recorded", what);
        write_loss(w, loss_kind(f), f->refused, text);
    }
}

void feed_write(struct feed *f, struct rec_writer *w, bool last)
{
    pthread_mutex_lock(&f->lock);
    uint64_t now_ns = clock_ns();
    size_t kept = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct client *client = f->clients[i];
        bool due = now_ns - client->sites_ns >= SITES_NS;
        write_client(f, client, w, last || due || client->ended);
        client->sites_ns = due ? now_ns : client->sites_ns;
        if (client->ended)
            client_free(client);
        else
            f->clients[kept++] = client;
    }
    f->count = kept;
    if (last)
        write_unserved(f, w);
    pthread_mutex_unlock(&f->lock);
}
