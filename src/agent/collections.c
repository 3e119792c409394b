/* collections: the garbage collections of this process's Python, as it tells them itself: a function of ours
 * stands in gc.callbacks. How it gets there: the first probe after Python has begun asks for a pending call
 * (any thread may, without the GIL), which Python makes in its main thread, soon, between two instructions.
 *
 * All of Python's functions are found by dlsym, so no version of it is known here; where one is missing,
 * nothing is recorded. The function writes two events for each collection, and when the program takes it out
 * of the list, one more; it is not put back. Collections of one interpreter follow each other: so one place
 * is enough for the one that is under way. Other interpreters of a process have lists of their own, and are
 * not seen.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"

/* As Python's headers have it, of all versions. */
struct method {
    const char *name;
    void *(*function)(void *self, void *const *args, ssize_t count);
    int flags;
    const char *text;
};
#define METHOD_FASTCALL 0x80

_Atomic bool collections_wait;

/* All are found, or none is used. */
static struct {
    int (*is_initialized)(void);
    int (*add_pending)(int (*)(void *), void *);
    void *(*import)(const char *, void *, void *, void *, int);
    void *(*attribute)(void *, const char *);
    int (*append)(void *, void *);
    void *(*function)(struct method *, void *, void *);
    void *(*capsule)(void *, const char *, void (*)(void *));
    void *(*intern)(const char *);
    void *(*item)(void *, void *);
    ssize_t (*number)(void *);
    const char *(*text)(void *, ssize_t *);
    void (*fetch)(void **, void **, void **);
    void (*restore)(void *, void *, void *);
    void (*clear)(void);
    void (*retain)(void *);
    void (*release)(void *);
    void *none;
} python;
static bool found;

/* keys: of the dict that tells of a collection. listens: the function is in the list.
 * unwanted: the program took it out. under_way: 1 + the ticket of the collection that has begun, or 0. */
static struct {
    void *generation, *collected, *uncollectable;
    _Atomic bool listens, unwanted;
    _Atomic uint64_t under_way;
} state;

void collections_find(void)
{
    static const struct {
        size_t offset;
        const char *name;
    } symbols[] = {
        {offsetof(typeof(python), is_initialized), "Py_IsInitialized"},
        {offsetof(typeof(python), add_pending), "Py_AddPendingCall"},
        {offsetof(typeof(python), import), "PyImport_ImportModuleLevel"},
        {offsetof(typeof(python), attribute), "PyObject_GetAttrString"},
        {offsetof(typeof(python), append), "PyList_Append"},
        {offsetof(typeof(python), function), "PyCFunction_NewEx"},
        {offsetof(typeof(python), capsule), "PyCapsule_New"},
        {offsetof(typeof(python), intern), "PyUnicode_InternFromString"},
        {offsetof(typeof(python), item), "PyDict_GetItemWithError"},
        {offsetof(typeof(python), number), "PyLong_AsSsize_t"},
        {offsetof(typeof(python), text), "PyUnicode_AsUTF8AndSize"},
        {offsetof(typeof(python), fetch), "PyErr_Fetch"},
        {offsetof(typeof(python), restore), "PyErr_Restore"},
        {offsetof(typeof(python), clear), "PyErr_Clear"},
        {offsetof(typeof(python), retain), "Py_IncRef"},
        {offsetof(typeof(python), release), "Py_DecRef"},
        {offsetof(typeof(python), none), "_Py_NoneStruct"},
    };
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *symbol = dlsym(RTLD_DEFAULT, symbols[i].name);
        if (!symbol)
            return;
        memcpy((char *)&python + symbols[i].offset, &symbol, sizeof(symbol));
    }
    found = true;
}

/* Events ------------------------------------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
    struct timespec now = {0};
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void put_moment(struct channel *c, enum channel_kind kind)
{
    agent_put(c, &(struct channel_event){.kind = kind, .address = now_ns()});
}

void collections_attached(struct channel *c)
{
    atomic_store_explicit(&state.under_way, 0, memory_order_relaxed);
    if (!found)
        return;
    put_moment(c, CHANNEL_LISTENS);
    if (atomic_load_explicit(&state.unwanted, memory_order_acquire))
        put_moment(c, CHANNEL_LISTENED);
    else if (!atomic_load_explicit(&state.listens, memory_order_acquire))
        atomic_store_explicit(&collections_wait, true, memory_order_release);
}

/* Nobody listens any more. */
static void tell_end(void)
{
    atomic_store_explicit(&state.unwanted, true, memory_order_release);
    struct channel *c = agent_enter(false);
    if (!c)
        return;
    put_moment(c, CHANNEL_LISTENED);
    agent_leave();
}

/* What stands behind a key; 0 where there is no such number. */
static uint64_t number_of(void *info, void *key)
{
    void *value = python.item(info, key);
    ssize_t number = value ? python.number(value) : -1;
    if (number < 0)
        python.clear();
    return number < 0 ? 0 : (uint64_t)number;
}

/* The stack is taken before, so that the time is that of the collection. */
static void begin(struct channel *c, uint64_t generation)
{
    uint32_t stack = walk_stack(c);
    uint32_t ticket = agent_put(
        c, &(struct channel_event){
               .kind = CHANNEL_COLLECTS, .stack = stack, .token = (uint32_t)generation, .address = now_ns()});
    atomic_store_explicit(&state.under_way, (uint64_t)ticket + 1, memory_order_relaxed);
}

static void end(struct channel *c, uint64_t at_ns, uint64_t collected, uint64_t uncollectable)
{
    uint64_t began = atomic_exchange_explicit(&state.under_way, 0, memory_order_relaxed);
    if (!began)
        return;
    agent_put(c, &(struct channel_event){.kind = CHANNEL_COLLECTED,
                                         .token = (uint32_t)(began - 1),
                                         .stack = (uint32_t)uncollectable,
                                         .address = at_ns,
                                         .size = collected});
}

static bool says(const char *text, const char *word)
{
    for (; *text && *text == *word; text++)
        word++;
    return *text == *word;
}

/* callback(phase, info). The program may call it, too, with whatever it likes. */
static void *on_collection(void *self, void *const *args, ssize_t count)
{
    ssize_t len;
    const char *phase = count == 2 ? python.text(args[0], &len) : NULL;
    (void)self;
    if (!phase)
        python.clear();
    bool begins = phase && says(phase, "start"), ends = phase && says(phase, "stop");
    uint64_t at_ns = ends ? now_ns() : 0;
    uint64_t generation = begins ? number_of(args[1], state.generation) : 0;
    uint64_t collected = ends ? number_of(args[1], state.collected) : 0;
    uint64_t uncollectable = ends ? number_of(args[1], state.uncollectable) : 0;
    struct channel *c = begins || ends ? agent_enter(false) : NULL;
    if (c && begins)
        begin(c, generation);
    else if (c)
        end(c, at_ns, collected, uncollectable);
    if (c)
        agent_leave();
    python.retain(python.none);
    return python.none;
}

/* The list --------------------------------------------------------------------------------------------- */

/* Nobody holds the function any more: Python ends, and may begin again, or the program does not want it. */
static void on_removal(void *capsule)
{
    (void)capsule;
    atomic_store_explicit(&state.listens, false, memory_order_relaxed);
    if (python.is_initialized())
        tell_end();
    else
        atomic_store_explicit(&collections_wait, true, memory_order_release);
}

/* Our function, with what tells of its end; NULL with an exception. */
static void *new_function(void)
{
    static struct method method = {
        .name = "zond", .function = on_collection, .flags = METHOD_FASTCALL, .text = "zond gc listens."};
    void *capsule = python.capsule(&method, NULL, on_removal);
    void *function = capsule ? python.function(&method, capsule, NULL) : NULL;
    if (capsule)
        python.release(capsule);
    return function;
}

/* Each time that Python begins: from 3.12 on its end frees what is interned. */
static bool find_keys(void)
{
    state.generation = python.intern("generation");
    state.collected = python.intern("collected");
    state.uncollectable = python.intern("uncollectable");
    return state.generation && state.collected && state.uncollectable;
}

/* In Python's main thread, with the GIL. What goes wrong leaves all as it was, and is told. */
static int listen(void *ctx)
{
    void *type, *value, *traceback;
    (void)ctx;
    python.fetch(&type, &value, &traceback);
    void *module = find_keys() ? python.import("gc", NULL, NULL, NULL, 0) : NULL;
    void *list = module ? python.attribute(module, "callbacks") : NULL;
    void *function = list ? new_function() : NULL;
    if (function) {
        atomic_store_explicit(&state.listens, true, memory_order_release);
        python.append(list, function);
        python.release(function); /* if it is not in the list, that is its end */
    } else {
        tell_end();
    }
    if (list)
        python.release(list);
    if (module)
        python.release(module);
    python.clear();
    python.restore(type, value, traceback);
    return 0;
}

void collections_listen(void)
{
    int before = errno;
    if (python.is_initialized() && atomic_exchange_explicit(&collections_wait, false, memory_order_acq_rel) &&
        python.add_pending(listen, NULL) != 0)
        atomic_store_explicit(&collections_wait, true, memory_order_release);
    errno = before;
}
