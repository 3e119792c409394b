/* agent: its life in a program: gets the channel from zond before main, writes events, and falls silent for
 * ever when zond wants no more or is gone.
 *
 * A fork is noticed by a page that the kernel wipes in the child (MADV_WIPEONFORK): whatever way it was
 * forked, and without a handler that would have to run first. The child's first probe gets it a channel of
 * its own; its parent's is not even mapped there (MADV_DONTFORK). A vfork shares all memory, and so the
 * channel. An exec begins anew: the environment names the socket.
 *
 * System calls are made directly: the library's own wrappers may be what is hooked.
 */
#include "agent/agent.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* While the ring is full: how often to look again, and when to give up because nothing is taken at all. */
#define WAIT_NS 50000
#define WAITS_MAX 200000 /* 10 s */

/* Slots come from the CPU that zond runs on: asked for so many events before they are written. */
#define AHEAD 16

/* For so long zond is waited for at the start. */
#define ANSWER_S 10

#define NAME_MAX_LEN 100
#define PAGE 4096

/* In a page that is zero in a child. alive: 1 in the process that the channel is of; starting: a thread gets
 * one. */
struct own {
    _Atomic uint32_t alive, starting;
};

/* channel: NULL, or where to record. own: NULL before the start. */
static struct {
    struct channel *_Atomic channel;
    struct own *own;
    char name[NAME_MAX_LEN]; /* of the socket; "" when there is none */
} agent;

static __thread bool inside __attribute__((tls_model("initial-exec")));

static void fall_silent(void)
{
    atomic_store_explicit(&agent.channel, NULL, memory_order_release);
}

/* The ring -------------------------------------------------------------------------------------------- */

static bool is_gone(const struct channel *c)
{
    const _Atomic uint32_t *word = (const _Atomic uint32_t *)&c->owner;
    return atomic_load_explicit(word, memory_order_relaxed) & CHANNEL_OWNER_DIED ||
           atomic_load_explicit(&c->closed, memory_order_relaxed);
}

static bool is_free(const struct channel *c, uint32_t ticket)
{
    return ticket - atomic_load_explicit(&c->tail, memory_order_acquire) < CHANNEL_SLOTS;
}

/* Waits until the slot of a ticket is free; false: it will not be, and the agent is silent. */
static bool wait_for_slot(struct channel *c, uint32_t ticket)
{
    const struct timespec nap = {.tv_nsec = WAIT_NS};
    int before = errno;
    bool free = false;
    uint32_t tail = 0, seen;
    for (unsigned waits = 0; !free && waits < WAITS_MAX && !is_gone(c); waits++) {
        syscall(SYS_nanosleep, &nap, NULL);
        free = is_free(c, ticket);
        seen = atomic_load_explicit(&c->tail, memory_order_relaxed);
        waits = seen == tail ? waits : 0;
        tail = seen;
    }
    if (!free) {
        if (!atomic_load_explicit(&c->closed, memory_order_relaxed))
            atomic_store_explicit(&c->gave_up, 1, memory_order_relaxed);
        fall_silent();
    }
    errno = before;
    return free;
}

uint32_t agent_put(struct channel *c, const struct channel_event *event)
{
    uint32_t ticket = atomic_fetch_add_explicit(&c->head, 1, memory_order_acq_rel);
    struct channel_event *slot = &c->events[ticket % CHANNEL_SLOTS];
    if (AGENT_UNLIKELY(!is_free(c, ticket)) && !wait_for_slot(c, ticket))
        return ticket;
    __builtin_prefetch(&c->events[(ticket + AHEAD) % CHANNEL_SLOTS], 1);
    slot->kind = event->kind;
    slot->stack = event->stack;
    slot->token = event->token;
    slot->address = event->address;
    slot->size = event->size;
    atomic_store_explicit(&slot->turn, ticket + 1, memory_order_release);
    return ticket;
}

/* Life ------------------------------------------------------------------------------------------------ */

/* Receives the descriptor of a channel and its version; -1: none. */
static int receive(int fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    uint32_t version = 0;
    struct iovec part = {.iov_base = &version, .iov_len = sizeof(version)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    long got;
    do
        got = syscall(SYS_recvmsg, fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    const struct cmsghdr *head = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    int channel = -1;
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
        memcpy(&channel, CMSG_DATA(head), sizeof(channel));
    if (channel >= 0 && version != CHANNEL_VERSION) {
        syscall(SYS_close, channel);
        channel = -1;
    }
    return channel;
}

static int ask_for_channel(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(agent.name);
    struct timeval patience = {.tv_sec = ANSWER_S};
    memcpy(to.sun_path + 1, agent.name, len);
    int fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    long rc;
    do
        rc = syscall(SYS_connect, fd, &to, offsetof(struct sockaddr_un, sun_path) + 1 + len);
    while (rc < 0 && errno == EINTR);
    int channel = rc < 0 ? -1 : receive(fd);
    syscall(SYS_close, fd);
    return channel;
}

static void *map(size_t size, int flags, int fd)
{
    long at = syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    return at == -1 ? NULL : (void *)at;
}

/* The page that tells a child from its parent. Without it nothing is recorded. */
static bool has_own_page(void)
{
    if (agent.own)
        return true;
    void *page = map(PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (!page)
        return false;
    if (syscall(SYS_madvise, page, PAGE, MADV_WIPEONFORK) != 0) {
        syscall(SYS_munmap, page, PAGE);
        return false;
    }
    agent.own = page;
    return true;
}

/* Gets this process a channel, or silence. errno is as before. */
static void attach(void)
{
    int before = errno;
    struct channel *c = NULL;
    int fd = has_own_page() ? ask_for_channel() : -1;
    if (fd >= 0) {
        c = map(sizeof(*c), MAP_SHARED, fd);
        syscall(SYS_close, fd);
    }
    if (c && syscall(SYS_madvise, c, sizeof(*c), MADV_DONTFORK) != 0) {
        syscall(SYS_munmap, c, sizeof(*c));
        c = NULL;
    }
    if (agent.own)
        atomic_store_explicit(&agent.own->alive, 1, memory_order_relaxed);
    if (c)
        collections_attached(c);
    atomic_store_explicit(&agent.channel, c, memory_order_release);
    errno = before;
}

/* The first probe in a child. Another of its threads may have been faster. */
static __attribute__((noinline)) struct channel *attach_child(void)
{
    if (atomic_exchange_explicit(&agent.own->starting, 1, memory_order_acquire))
        return NULL;
    if (!atomic_load_explicit(&agent.own->alive, memory_order_relaxed)) {
        walk_reset();
        attach();
    }
    atomic_store_explicit(&agent.own->starting, 0, memory_order_release);
    return atomic_load_explicit(&agent.channel, memory_order_acquire);
}

struct channel *agent_enter(bool allocation)
{
    struct channel *c = atomic_load_explicit(&agent.channel, memory_order_acquire);
    if (!c || inside)
        return NULL;
    inside = true;
    if (AGENT_UNLIKELY(!atomic_load_explicit(&agent.own->alive, memory_order_relaxed)))
        c = attach_child();
    if (c && AGENT_UNLIKELY(atomic_load_explicit(&c->closed, memory_order_relaxed))) {
        fall_silent();
        c = NULL;
    }
    if (c && allocation && !c->allocations)
        c = NULL;
    inside = c != NULL;
    return c;
}

void agent_leave(void)
{
    inside = false;
}

__attribute__((constructor)) static void agent_start(void)
{
    hooks_find();
    const char *name = getenv(CHANNEL_ENV);
    size_t len = name ? strlen(name) : 0;
    if (!len || len >= NAME_MAX_LEN)
        return;
    inside = true;
    memcpy(agent.name, name, len + 1);
    walk_find();
    collections_find();
    attach();
    inside = false;
}
