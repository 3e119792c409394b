/* unwind: see unwind.h. */
#include "native/unwind.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/proc.h"

/* Below the stack pointer: what a leaf function may use without moving it. */
#define RED_ZONE 128
/* Bytes of the longest call instruction without prefixes, and of a direct one. */
#define CALL_MAX 7
#define CALL_DIRECT 5
/* How far into a function its caller's target is believed to be its beginning. */
#define FUNCTION_MAX (64u << 10)
/* How far up the stack a frame pointer is looked for: the size of a function's frame. */
#define GUESS_BYTES 4096

/* now: the moment that is unwound, and where to; during native_unwind only. */
struct native {
    pid_t pid;
    Dwfl *dwfl;
    struct memory memory;
    const struct moment *now;
    struct native_stack *to;
};

/* Modules --------------------------------------------------------------------------------------------- */

/* A file as the process has it mapped, also one of a container or one that was replaced since. */
struct wanted {
    pid_t pid;
    const char *path;
    int fd;
};

static int open_if_wanted(void *ctx, const struct proc_map *map)
{
    struct wanted *w = ctx;
    if (strcmp(map->path, w->path) != 0)
        return 0;
    w->fd = proc_open_mapped(w->pid, map);
    return 1;
}

static int find_elf(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file,
                    Elf **elf)
{
    struct wanted w = {.path = name, .fd = -1};
    w.pid = (pid_t)(intptr_t)*data;
    if (name[0] != '/')
        return dwfl_linux_proc_find_elf(module, data, name, base, file, elf); /* the vDSO: read from memory */
    proc_maps(w.pid, open_if_wanted, &w);
    *file = w.fd >= 0 ? strdup(name) : NULL;
    return w.fd;
}

static int set_pid(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr start, void *arg)
{
    const struct native *n = arg;
    (void)module;
    (void)name;
    (void)start;
    *data = (void *)(intptr_t)n->pid;
    return DWARF_CB_OK;
}

/* Threads: the one moment ---------------------------------------------------------------------------------
 */

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
    (void)dwfl;
    (void)arg;
    (void)thread_arg;
    return 0;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
    struct native *n = arg;
    (void)dwfl;
    *thread_arg = n;
    return n->now && n->now->tid == tid;
}

static bool read_memory(Dwfl *dwfl, Dwarf_Addr at, Dwarf_Word *result, void *arg)
{
    struct native *n = arg;
    const struct moment *m = n->now;
    (void)dwfl;
    if (at >= m->copied_from && at - m->copied_from + sizeof(*result) <= m->copied) {
        memcpy(result, m->copy + (at - m->copied_from), sizeof(*result));
        return true;
    }
    return memory_read(&n->memory, at, result, sizeof(*result)) == 0;
}

static bool set_registers(Dwfl_Thread *thread, void *arg)
{
    const struct native *n = arg;
    const struct registers *r = &n->now->registers;
    for (int i = 0; i < REGISTER_COUNT; i++) {
        Dwarf_Word value = r->value[i];
        if (r->known & 1u << i && !dwfl_thread_state_registers(thread, i, 1, &value))
            return false;
    }
    dwfl_thread_state_register_pc(thread, r->value[REGISTER_PC]);
    return true;
}

static const Dwfl_Thread_Callbacks thread_callbacks = {.next_thread = next_thread,
                                                       .get_thread = get_thread,
                                                       .memory_read = read_memory,
                                                       .set_initial_registers = set_registers};

/* Debug files are looked for beside the library and by build-id, where distributions put them. */
static char *debuginfo_path;
static const Dwfl_Callbacks callbacks = {
    .find_elf = find_elf, .find_debuginfo = dwfl_standard_find_debuginfo, .debuginfo_path = &debuginfo_path};

int native_new(pid_t pid, struct native **out)
{
    struct native *n = calloc(1, sizeof(*n));
    if (!n)
        return -ENOMEM;
    n->pid = n->memory.pid = pid;
    n->dwfl = dwfl_begin(&callbacks);
    int err = n->dwfl ? dwfl_linux_proc_report(n->dwfl, pid) : -ENOMEM;
    if (!err && dwfl_report_end(n->dwfl, NULL, NULL) != 0)
        err = -EINVAL;
    if (!err)
        dwfl_getmodules(n->dwfl, set_pid, n, 0);
    if (!err && !dwfl_attach_state(n->dwfl, NULL, pid, &thread_callbacks, n))
        err = -ENOEXEC;
    if (err) {
        native_free(n);
        return err > 0 ? -err : err;
    }
    *out = n;
    return 0;
}

void native_free(struct native *n)
{
    if (!n)
        return;
    if (n->dwfl)
        dwfl_end(n->dwfl);
    free(n);
}

int native_copy_stack(struct native *n, struct moment *m)
{
    uint64_t from = m->registers.value[REGISTER_SP] - RED_ZONE;
    m->copied_from = from;
    m->copied = 0;
    /* The stack ends within these pages somewhere: what is not mapped ends the copy. */
    for (size_t want = NATIVE_COPY_MAX; want >= 4096; want /= 2) {
        size_t end = (from + want) & ~(uint64_t)4095, len = end - from;
        if (memory_read(&n->memory, from, m->copy, len) == 0) {
            m->copied = len;
            return 0;
        }
    }
    return -EFAULT;
}

static int take_frame(Dwfl_Frame *frame, void *arg)
{
    struct native *n = arg;
    struct native_stack *to = n->to;
    Dwarf_Addr pc;
    Dwarf_Word sp = 0;
    bool executes;
    if (to->depth == NATIVE_DEPTH_MAX) {
        to->truncated = true;
        return DWARF_CB_ABORT;
    }
    if (!dwfl_frame_pc(frame, &pc, &executes))
        return DWARF_CB_ABORT;
#ifdef HAVE_DWFL_FRAME_REG
    if (dwfl_frame_reg(frame, REGISTER_SP, &sp) != 0)
        sp = 0;
#endif
    to->frames[to->depth++] = (struct native_frame){.pc = executes ? pc : pc - 1, .sp = sp};
    return DWARF_CB_OK;
}

/* A thread starts in a function whose frame information says that it returns to nowhere. */
static bool is_start(struct native *n, uint64_t pc)
{
    Dwarf_Addr bias;
    Dwarf_Frame *frame = NULL;
    Dwarf_Op memory[3], *ops = NULL;
    size_t count = 1;
    Dwfl_Module *module = dwfl_addrmodule(n->dwfl, pc);
    Dwarf_CFI *cfi = module ? dwfl_module_eh_cfi(module, &bias) : NULL;
    if (!cfi || dwarf_cfi_addrframe(cfi, pc - bias, &frame) != 0)
        return false;
    bool nowhere =
        dwarf_frame_register(frame, REGISTER_PC, memory, &ops, &count) == 0 && !count && ops == memory;
    free(frame);
    return nowhere;
}

static void unwind(struct native *n, const struct moment *m, struct native_stack *out)
{
    out->depth = 0;
    out->truncated = false;
    n->now = m;
    n->to = out;
    dwfl_getthread_frames(n->dwfl, m->tid, take_frame, n);
    out->whole = out->depth && is_start(n, out->frames[out->depth - 1].pc);
    n->now = NULL;
    n->to = NULL;
}

/* Did a call return to this address? By a direct one, to a function that begins not far before `callee`. */
static bool follows_call(struct native *n, uint64_t address, uint64_t callee)
{
    uint8_t code[CALL_MAX];
    int32_t distance;
    if (!dwfl_addrmodule(n->dwfl, address) ||
        memory_read(&n->memory, address - CALL_MAX, code, CALL_MAX) != 0)
        return false;
    if (code[CALL_MAX - CALL_DIRECT] == 0xe8) {
        memcpy(&distance, code + CALL_MAX - 4, sizeof(distance));
        uint64_t target = address + (uint64_t)(int64_t)distance;
        return target <= callee && callee - target < FUNCTION_MAX;
    }
    /* call r/m64: FF /2, of two to seven bytes. */
    for (int len = 2; len <= CALL_MAX; len++) {
        if (code[CALL_MAX - len] == 0xff && (code[CALL_MAX - len + 1] >> 3 & 7) == 2)
            return true;
    }
    return false;
}

/* Of a thread that waits the frame pointer is not known. The function that could not be left has saved its
 * caller's, with the address that it returns to behind it: the innermost such pair that leads to the thread's
 * start is it. */
static void guess_frame_pointer(struct native *n, const struct moment *m, struct native_stack *out)
{
    struct moment guess = *m;
    const struct native_frame last = out->frames[out->depth - 1];
    uint64_t sp = max_u64(last.sp, m->registers.value[REGISTER_SP]), end = m->copied_from + m->copied;
    guess.registers.known |= 1u << REGISTER_FP;
    for (uint64_t at = sp; at + 16 <= end && at < sp + GUESS_BYTES; at += 8) {
        uint64_t pair[2];
        memcpy(pair, m->copy + (at - m->copied_from), sizeof(pair));
        if (pair[0] <= at || pair[0] >= end || !follows_call(n, pair[1], last.pc))
            continue;
        guess.registers.value[REGISTER_FP] = at;
        unwind(n, &guess, out);
        if (out->whole)
            return;
    }
    unwind(n, m, out);
}

int native_unwind(struct native *n, const struct moment *m, struct native_stack *out)
{
    unwind(n, m, out);
    if (out->depth && !out->whole && !out->truncated && !(m->registers.known & 1u << REGISTER_FP))
        guess_frame_pointer(n, m, out);
    return out->depth ? 0 : -ENODATA;
}

struct native_place native_place(struct native *n, uint64_t address)
{
    struct native_place place = {.function = "", .module = ""};
    Dwfl_Module *module = dwfl_addrmodule(n->dwfl, address);
    if (!module)
        return place;
    GElf_Off offset;
    GElf_Sym symbol;
    Dwarf_Addr start = 0;
    place.module = dwfl_module_info(module, NULL, &start, NULL, NULL, NULL, NULL, NULL);
    place.offset = address - start;
    const char *function = dwfl_module_addrinfo(module, address, &offset, &symbol, NULL, NULL, NULL);
    /* Beyond the end of the nearest symbol is a function that has none. */
    if (function && (!symbol.st_size || offset < symbol.st_size))
        place.function = function;
    Dwfl_Line *line = dwfl_module_getsrc(module, address);
    if (line)
        place.source = dwfl_lineinfo(line, NULL, &place.line, NULL, NULL, NULL);
    return place;
}
