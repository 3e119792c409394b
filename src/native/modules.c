/* modules: see modules.h. */
#include "native/modules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/proc.h"

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
    const struct modules *m = arg;
    (void)module;
    (void)name;
    (void)start;
    *data = (void *)(intptr_t)m->pid;
    return DWARF_CB_OK;
}

/* Debug files are looked for beside the library and by build-id, where distributions put them. */
static char *debuginfo_path;
static const Dwfl_Callbacks callbacks = {
    .find_elf = find_elf, .find_debuginfo = dwfl_standard_find_debuginfo, .debuginfo_path = &debuginfo_path};

static int report(struct modules *m)
{
    int err = dwfl_linux_proc_report(m->dwfl, m->pid);
    if (dwfl_report_end(m->dwfl, NULL, NULL) != 0 && !err)
        err = EINVAL;
    dwfl_getmodules(m->dwfl, set_pid, m, 0);
    return err < 0 ? -EINVAL : -err;
}

int modules_init(struct modules *m, pid_t pid)
{
    *m = (struct modules){.pid = pid, .dwfl = dwfl_begin(&callbacks)};
    if (!m->dwfl)
        return -ENOMEM;
    int err = report(m);
    if (err)
        modules_release(m);
    return err;
}

void modules_release(struct modules *m)
{
    if (m->dwfl)
        dwfl_end(m->dwfl);
    *m = (struct modules){0};
}

int modules_refresh(struct modules *m)
{
    dwfl_report_begin(m->dwfl);
    return report(m);
}

struct native_place modules_place(struct modules *m, uint64_t address)
{
    struct native_place place = {.function = "", .module = ""};
    Dwfl_Module *module = dwfl_addrmodule(m->dwfl, address);
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
