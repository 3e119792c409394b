/* libFuzzer on what zond reads of a target besides Python: what JIT compilers tell, symbols, machine code,
 * stacks.
 *
 * The target is this process itself. An input is what its first byte says: 'P' a perf map, 'D' a jitdump, 'O'
 * an object registered for GDB, 'U' registers and a stack to unwind from a place in our own code, 'N' a
 * symbol, 'R' the first instructions of a function.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "native/demangle.h"
#include "native/prologue.h"
#include "native/unwind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DUMP_MAX 65536

/* As in the GDB manual, "JIT Compilation Interface": it is found by its name, in our own executable. */
struct entry {
    struct entry *next, *previous;
    const void *address;
    uint64_t size;
};

extern struct descriptor {
    uint32_t version, action;
    struct entry *relevant, *first;
} __jit_debug_descriptor;
struct descriptor __jit_debug_descriptor = {.version = 1};

static struct native native;
static char map_path[64], dump_path[64];
static int dump_fd;

static void remove_files(void)
{
    unlink(map_path);
    unlink(dump_path);
}

static void begin(void)
{
    const struct source source = {.pid = getpid()};
    snprintf(map_path, sizeof(map_path), "/tmp/perf-%d.map", getpid());
    snprintf(dump_path, sizeof(dump_path), "/tmp/jit-%d.dump", getpid());
    atexit(remove_files);
    dump_fd = open(dump_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (dump_fd < 0 || ftruncate(dump_fd, DUMP_MAX) != 0 ||
        mmap(NULL, DUMP_MAX, PROT_READ | PROT_EXEC, MAP_PRIVATE, dump_fd, 0) == MAP_FAILED ||
        native_init(&native, &source) != 0)
        abort();
}

static void write_map(const uint8_t *data, size_t size)
{
    int fd = open(map_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) < 0)
        abort();
    close(fd);
}

static void write_dump(const uint8_t *data, size_t size)
{
    if (size > DUMP_MAX || ftruncate(dump_fd, 0) != 0 || pwrite(dump_fd, data, size, 0) < 0 ||
        ftruncate(dump_fd, DUMP_MAX) != 0)
        return;
}

/* All that can be asked of what was read. */
static void ask(void)
{
    struct jit *j = &native.jit;
    for (size_t i = 0; i < j->count; i++) {
        uint64_t at = j->codes[i].start + (j->codes[i].end - j->codes[i].start) / 2;
        const struct jit_code *c = jit_find(j, at);
        if (c && (strlen(jit_text(j, c->name)) > DEMANGLE_MAX * 16 || at < c->start || at >= c->end))
            abort();
        cfi_find(&native.cfi, at);
    }
}

static void read_told(uint8_t kind, const uint8_t *data, size_t size)
{
    struct entry entry = {.address = data, .size = size};
    write_map(data, kind == 'P' ? size : 0);
    write_dump(data, kind == 'D' ? size : 0);
    __jit_debug_descriptor.first = kind == 'O' ? &entry : NULL;
    jit_release(&native.jit);
    jit_init(&native.jit, &native.memory.source);
    cfi_forget(&native.cfi);
    jit_refresh(&native.jit, &native.modules);
    ask();
    __jit_debug_descriptor.first = NULL;
}

static void unwind_from(const uint8_t *data, size_t size)
{
    static uint8_t copy[NATIVE_COPY_MAX];
    static struct native_frame frames[NATIVE_DEPTH_MAX];
    struct moment m = {.tid = getpid(), .registers.known = (1u << REGISTER_COUNT) - 1, .copy = copy};
    struct native_stack out = {.frames = frames};
    uint16_t offset = 0;
    size_t registers = sizeof(m.registers.value);
    if (size < registers + sizeof(offset))
        return;
    memcpy(m.registers.value, data, registers);
    memcpy(&offset, data + registers, sizeof(offset));
    m.registers.value[REGISTER_PC] = (uint64_t)(uintptr_t)&unwind_from + offset;
    m.copied = min_u64(size - registers - sizeof(offset), sizeof(copy));
    memcpy(copy, data + registers + sizeof(offset), m.copied);
    m.copied_from = m.registers.value[REGISTER_SP];
    /* Of a thread that waits no more is known. */
    if (offset & 1)
        m.registers.known = 1u << REGISTER_SP | 1u << REGISTER_PC;
    native_unwind(&native, &m, &out);
    if (!out.depth || out.depth > NATIVE_DEPTH_MAX)
        abort();
}

static void read_symbol(const uint8_t *data, size_t size)
{
    struct buf name, module;
    bool wrapper;
    char *symbol = strndup((const char *)data, size);
    buf_init(&name, 1 << 20);
    buf_init(&module, 1 << 20);
    demangle(&name, symbol);
    buf_clear(&name);
    demangle_numba(&name, &module, &wrapper, symbol);
    buf_release(&name);
    buf_release(&module);
    free(symbol);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool begun;
    struct cfi rules;
    if (!begun)
        begin();
    begun = true;
    if (!size)
        return 0;
    if (data[0] == 'U')
        unwind_from(data + 1, size - 1);
    else if (data[0] == 'N')
        read_symbol(data + 1, size - 1);
    else if (data[0] == 'R')
        prologue_rules(data + 1, min_u64(size - 1, PROLOGUE_MAX), &rules);
    else
        read_told(data[0], data + 1, size - 1);
    return 0;
}
