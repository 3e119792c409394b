/* hooks: the functions of the C library that give and take memory, as the program finds them: each calls the
 * one that stands behind it (of the C library, or of another allocator that is preloaded) and announces what
 * came of it. operator new comes here by malloc. The library's own calls among these functions do not.
 *
 * The order is what makes the record exact: what is given back is announced before the call, and what was got
 * after it, so that no other thread can announce the same address in between. A block that is about to be
 * moved is announced as such, and afterwards what became of it.
 *
 * Before the functions behind are known, dlsym may ask for memory itself: it gets it from a small arena.
 */
/* Of mmap and mmap64, each is defined by its own name. */
#undef _FILE_OFFSET_BITS

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"

#define EXPORT __attribute__((visibility("default")))

#define PAGE 4096

/* For dlsym alone, which asks for some hundred bytes. Beyond it is no memory. Never given back. */
#define ARENA_SIZE 16384
#define ARENA_ALIGN 16

/* The functions behind. */
static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    size_t (*usable)(void *);
} behind;
static _Atomic bool found;
static __thread bool finding __attribute__((tls_model("initial-exec")));

static _Alignas(ARENA_ALIGN) uint8_t arena[ARENA_SIZE];
static _Atomic size_t arena_used;

void hooks_find(void)
{
    static const struct {
        size_t offset;
        const char *name;
    } functions[] = {
        {offsetof(typeof(behind), malloc), "malloc"},
        {offsetof(typeof(behind), calloc), "calloc"},
        {offsetof(typeof(behind), realloc), "realloc"},
        {offsetof(typeof(behind), free), "free"},
        {offsetof(typeof(behind), posix_memalign), "posix_memalign"},
        {offsetof(typeof(behind), aligned_alloc), "aligned_alloc"},
        {offsetof(typeof(behind), memalign), "memalign"},
        {offsetof(typeof(behind), valloc), "valloc"},
        {offsetof(typeof(behind), pvalloc), "pvalloc"},
        {offsetof(typeof(behind), usable), "malloc_usable_size"},
    };
    if (atomic_load_explicit(&found, memory_order_acquire))
        return;
    finding = true;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        void *function = dlsym(RTLD_NEXT, functions[i].name);
        memcpy((char *)&behind + functions[i].offset, &function, sizeof(function));
    }
    finding = false;
    atomic_store_explicit(&found, true, memory_order_release);
}

/* Are the functions behind to be used? False: this is dlsym looking for them. */
static bool ready(void)
{
    if (AGENT_UNLIKELY(!atomic_load_explicit(&found, memory_order_acquire))) {
        if (finding)
            return false;
        hooks_find();
    }
    return true;
}

static void *arena_take(size_t size)
{
    size_t room = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    size_t at = room < size || room > ARENA_SIZE
                    ? ARENA_SIZE
                    : atomic_fetch_add_explicit(&arena_used, room, memory_order_relaxed);
    if (at > ARENA_SIZE - room) {
        errno = ENOMEM;
        return NULL;
    }
    return arena + at;
}

static bool in_arena(const void *block)
{
    return (uintptr_t)block - (uintptr_t)arena < ARENA_SIZE;
}

/* Events ------------------------------------------------------------------------------------------------ */

static __attribute__((noinline)) void announce(struct channel *c, enum channel_kind kind, const void *block,
                                               size_t size)
{
    agent_put(c, &(struct channel_event){
                     .kind = kind, .stack = walk_stack(c), .address = (uintptr_t)block, .size = size});
    agent_leave();
}

/* Every program allocates once Python has begun: so this is where the listening to collections begins. */
static inline void look_at_collections(void)
{
    if (AGENT_UNLIKELY(atomic_load_explicit(&collections_wait, memory_order_relaxed)))
        collections_listen();
}

/* A block was got; NULL: it was not. Returns it. */
static inline void *got(void *block, size_t size)
{
    struct channel *c = block ? agent_enter(true) : NULL;
    if (c)
        announce(c, CHANNEL_ALLOCATE, block, size);
    look_at_collections();
    return block;
}

static void gives_back(enum channel_kind kind, const void *block, size_t size)
{
    struct channel *c = agent_enter(true);
    if (!c)
        return;
    agent_put(c, &(struct channel_event){.kind = kind, .address = (uintptr_t)block, .size = size});
    agent_leave();
}

/* A block is about to be moved: true, and the token. */
static bool moves(const void *block, uint32_t *token)
{
    struct channel *c = agent_enter(true);
    if (!c)
        return false;
    *token = agent_put(c, &(struct channel_event){.kind = CHANNEL_MOVE, .address = (uintptr_t)block});
    agent_leave();
    return true;
}

/* What became of it. */
static void moved(uint32_t token, const void *block, size_t size)
{
    struct channel *c = agent_enter(true);
    bool stayed = !block && size;
    if (!c)
        return;
    agent_put(c, &(struct channel_event){.kind = stayed ? CHANNEL_STAYED : CHANNEL_MOVED,
                                         .stack = block ? walk_stack(c) : 0,
                                         .token = token,
                                         .address = (uintptr_t)block,
                                         .size = size});
    agent_leave();
}

/* The library's headers call the parameters otherwise. */
// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)

/* malloc and its kin ------------------------------------------------------------------------------------ */

EXPORT void *malloc(size_t size)
{
    return ready() ? got(behind.malloc(size), size) : arena_take(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    size_t whole;
    if (__builtin_mul_overflow(count, size, &whole))
        whole = SIZE_MAX;
    return ready() ? got(behind.calloc(count, size), whole) : arena_take(whole);
}

EXPORT void free(void *block)
{
    if (!block || in_arena(block) || !ready())
        return;
    gives_back(CHANNEL_FREE, block, 0);
    behind.free(block);
}

/* Of the arena; how large it was is not known, but where the arena ends. */
static void *copy_from_arena(const void *block, size_t size)
{
    void *copy = malloc(size);
    size_t most = (size_t)(arena + ARENA_SIZE - (const uint8_t *)block);
    if (copy)
        memcpy(copy, block, size < most ? size : most);
    return copy;
}

EXPORT void *realloc(void *block, size_t size)
{
    uint32_t token = 0;
    if (!block)
        return malloc(size);
    if (in_arena(block))
        return copy_from_arena(block, size);
    if (!ready())
        return arena_take(size);
    bool announced = moves(block, &token);
    void *now = behind.realloc(block, size);
    if (announced)
        moved(token, now, size);
    return now;
}

EXPORT void *reallocarray(void *block, size_t count, size_t size)
{
    size_t whole;
    if (__builtin_mul_overflow(count, size, &whole)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(block, whole);
}

EXPORT int posix_memalign(void **block, size_t alignment, size_t size)
{
    int rc = ready() ? behind.posix_memalign(block, alignment, size) : ENOMEM;
    if (rc == 0)
        got(*block, size);
    return rc;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return ready() ? got(behind.aligned_alloc(alignment, size), size) : NULL;
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    return ready() ? got(behind.memalign(alignment, size), size) : NULL;
}

EXPORT void *valloc(size_t size)
{
    return ready() ? got(behind.valloc(size), size) : NULL;
}

EXPORT void *pvalloc(size_t size)
{
    return ready() ? got(behind.pvalloc(size), size) : NULL;
}

EXPORT size_t malloc_usable_size(void *block)
{
    if (in_arena(block))
        return 0;
    return ready() ? behind.usable(block) : 0;
}

/* mmap and its kin -------------------------------------------------------------------------------------- */

/* Is this memory that the program can use at once? What it may not write to, and what is not to be backed by
 * swap space, is an address range that is reserved for later: mimalloc's in free-threaded builds is 1 GiB. */
static bool is_memory(int protection, int flags)
{
    return flags & MAP_ANONYMOUS && flags & MAP_PRIVATE && protection & PROT_WRITE &&
           !(flags & MAP_NORESERVE);
}

EXPORT void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (flags & MAP_FIXED)
        gives_back(CHANNEL_UNMAP, at, size);
    long now = syscall(SYS_mmap, at, size, protection, flags, fd, offset);
    struct channel *c = now != -1 && is_memory(protection, flags) ? agent_enter(true) : NULL;
    if (c)
        announce(c, CHANNEL_MAP, (void *)now, size); // NOLINT(performance-no-int-to-ptr)
    look_at_collections();
    return (void *)now; // NOLINT(performance-no-int-to-ptr)
}

EXPORT void *mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return mmap(at, size, protection, flags, fd, offset);
}

EXPORT int munmap(void *at, size_t size)
{
    if (size && (uintptr_t)at % PAGE == 0)
        gives_back(CHANNEL_UNMAP, at, size);
    return (int)syscall(SYS_munmap, at, size);
}

/* The kernel moves or resizes a mapping of whatever kind; zond knows whether it counts the old one, and is
 * told both as one. */
EXPORT void *mremap(void *old, size_t old_size, size_t size, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    void *to = flags & MREMAP_FIXED ? va_arg(ap, void *) : NULL;
    va_end(ap);
    if (to)
        gives_back(CHANNEL_UNMAP, to, size);
    struct channel *c = agent_enter(true);
    uint32_t token = 0;
    if (c) {
        token = agent_put(
            c, &(struct channel_event){.kind = CHANNEL_REMAP, .address = (uintptr_t)old, .size = old_size});
        agent_leave();
    }
    long now = syscall(SYS_mremap, old, old_size, size, flags, to);
    bool failed = now == -1;
    if (c && (c = agent_enter(true))) {
        agent_put(c, &(struct channel_event){.kind = failed ? CHANNEL_STAYED : CHANNEL_REMAPPED,
                                             .stack = failed ? 0 : walk_stack(c),
                                             .token = token,
                                             .address = (uintptr_t)now,
                                             .size = size});
        agent_leave();
    }
    return (void *)now; // NOLINT(performance-no-int-to-ptr)
}

// NOLINTEND(readability-inconsistent-declaration-parameter-name)
