/* modules: see modules.h. */
#include "native/modules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/proc.h"

/* A function, what an assembler left without a type, or, without a name, where call frame information says
 * that a function begins. Sorted by address; of one address, the best first. It covers [start, end), as far
 * as none begins in between. */
struct symbol {
    uint64_t start, end;
    const char *name; /* of the module; NULL: none */
    uint8_t rank;     /* lower is better */
};

/* The header of .eh_frame_hdr as all linkers write it (LSB 5.0, 10.6.2): version 1; a pointer of 4 bytes; a
 * count of 4 bytes; pairs of 4 bytes, relative to the section. The pairs follow. */
static const uint8_t frame_header[] = {1, 0x1b, 0x03, 0x3b};
#define FRAME_HEADER_SIZE 12
#define FRAME_PAIR_SIZE 8
/* Functions of one module beyond which no more are known. */
#define SYMBOLS_MAX (4u << 20)

/* What is known of a module besides libdwfl's own: its user data. symbols: once `indexed`. */
struct module {
    struct module *next;
    pid_t pid;
    bool reported; /* at the last reading of the maps */
    bool indexed;
    struct symbol *symbols;
    size_t count;
};

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
    const struct module *own = *data;
    struct wanted w = {.pid = own->pid, .path = name, .fd = -1};
    if (name[0] != '/')
        return dwfl_linux_proc_find_elf(module, data, name, base, file, elf); /* the vDSO: read from memory */
    proc_maps(w.pid, open_if_wanted, &w);
    *file = w.fd >= 0 ? strdup(name) : NULL;
    return w.fd;
}

static int keep_module(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr start, void *arg)
{
    struct modules *m = arg;
    struct module *own = *data ? *data : calloc(1, sizeof(*own));
    (void)module;
    (void)name;
    (void)start;
    if (!own)
        return DWARF_CB_ABORT;
    if (!*data) {
        own->pid = m->pid;
        own->next = m->list;
        m->list = own;
    }
    own->reported = true;
    *data = own;
    return DWARF_CB_OK;
}

static void free_module(struct module *own)
{
    free(own->symbols);
    free(own);
}

/* Debug files are looked for beside the library and by build-id, where distributions put them. */
static char *debuginfo_path;
static const Dwfl_Callbacks callbacks = {
    .find_elf = find_elf, .find_debuginfo = dwfl_standard_find_debuginfo, .debuginfo_path = &debuginfo_path};

static int report(struct modules *m)
{
    for (struct module *own = m->list; own; own = own->next)
        own->reported = false;
    int err = dwfl_linux_proc_report(m->dwfl, m->pid);
    if (dwfl_report_end(m->dwfl, NULL, NULL) != 0 && !err)
        err = EINVAL;
    if (dwfl_getmodules(m->dwfl, keep_module, m, 0) < 0 && !err)
        err = ENOMEM;
    for (struct module **at = &m->list; *at;) {
        struct module *own = *at;
        if (own->reported) {
            at = &own->next;
        } else {
            *at = own->next;
            free_module(own);
        }
    }
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
    while (m->list) {
        struct module *own = m->list;
        m->list = own->next;
        free_module(own);
    }
    *m = (struct modules){0};
}

int modules_refresh(struct modules *m)
{
    dwfl_report_begin(m->dwfl);
    return report(m);
}

/* Symbols ---------------------------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

/* Is it code, and how good a name for it? Exported names are known best; one without a size may be a label.
 */
static bool is_code(const GElf_Sym *symbol, GElf_Word section, uint8_t *rank)
{
    int type = GELF_ST_TYPE(symbol->st_info), bind = GELF_ST_BIND(symbol->st_info);
    if (section == SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE))
        return false;
    *rank = (uint8_t)((symbol->st_size ? 0 : 4) + (type == STT_NOTYPE ? 2 : 0) + (bind == STB_LOCAL));
    return true;
}

/* Where the section ends that a symbol without a size lies in. */
static uint64_t section_end(Elf *elf, GElf_Word section, const GElf_Sym *symbol, uint64_t start)
{
    GElf_Shdr header;
    if (!gelf_getshdr(elf_getscn(elf, section), &header) || symbol->st_value < header.sh_addr ||
        symbol->st_value - header.sh_addr > header.sh_size)
        return start;
    return start + (header.sh_size - (symbol->st_value - header.sh_addr));
}

static void add_symbols(struct module *own, Dwfl_Module *module, int count)
{
    for (int i = 0; i < count; i++) {
        GElf_Sym symbol;
        GElf_Addr start;
        GElf_Word section;
        Elf *elf;
        uint8_t rank;
        const char *name = dwfl_module_getsym_info(module, i, &symbol, &start, &section, &elf, NULL);
        if (!name || !name[0] || !is_code(&symbol, section, &rank))
            continue;
        uint64_t end = symbol.st_size ? start + symbol.st_size : section_end(elf, section, &symbol, start);
        own->symbols[own->count++] = (struct symbol){start, end, name, rank};
    }
}

/* The section of that name of a module's file; NULL: none. *address: where it is mapped. */
static Elf_Data *section_named(Dwfl_Module *module, const char *wanted, uint64_t *address)
{
    GElf_Addr bias;
    GElf_Shdr header;
    size_t names;
    Elf *elf = dwfl_module_getelf(module, &bias);
    if (!elf || elf_getshdrstrndx(elf, &names) != 0)
        return NULL;
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
        const char *name = gelf_getshdr(section, &header) ? elf_strptr(elf, names, header.sh_name) : NULL;
        if (!name || strcmp(name, wanted) != 0)
            continue;
        *address = header.sh_addr + bias;
        return elf_rawdata(section, NULL);
    }
    return NULL;
}

/* How many functions the table of call frame information has; 0: there is no such table. */
static size_t count_functions(const Elf_Data *table)
{
    uint32_t count;
    if (!table || !table->d_buf || table->d_size < FRAME_HEADER_SIZE ||
        memcmp(table->d_buf, frame_header, sizeof(frame_header)) != 0)
        return 0;
    memcpy(&count, (const char *)table->d_buf + 8, sizeof(count));
    return min_u64(count, (table->d_size - FRAME_HEADER_SIZE) / FRAME_PAIR_SIZE);
}

static void add_functions(struct module *own, const Elf_Data *table, uint64_t address, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int32_t distance;
        memcpy(&distance, (const char *)table->d_buf + FRAME_HEADER_SIZE + i * FRAME_PAIR_SIZE,
               sizeof(distance));
        uint64_t start = address + (uint64_t)(int64_t)distance;
        own->symbols[own->count++] = (struct symbol){start, UINT64_MAX, NULL, UINT8_MAX};
    }
}

static void index_symbols(struct module *own, Dwfl_Module *module)
{
    uint64_t address = 0;
    const Elf_Data *table = section_named(module, ".eh_frame_hdr", &address);
    int symbols = dwfl_module_getsymtab(module);
    size_t functions = count_functions(table), count = (size_t)(symbols > 0 ? symbols : 0);
    own->indexed = true;
    if (!(count + functions) || count + functions > SYMBOLS_MAX)
        return;
    own->symbols = malloc((count + functions) * sizeof(*own->symbols));
    if (!own->symbols)
        return;
    add_symbols(own, module, symbols);
    add_functions(own, table, address, functions);
    qsort(own->symbols, own->count, sizeof(*own->symbols), by_address);
}

/* The symbol that covers the address; NULL when none does. */
static const struct symbol *symbol_at(const struct module *own, uint64_t address)
{
    size_t low = 0, high = own->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (own->symbols[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return NULL;
    uint64_t start = own->symbols[low - 1].start;
    while (low > 1 && own->symbols[low - 2].start == start)
        low--;
    const struct symbol *found = &own->symbols[low - 1];
    return address < found->end ? found : NULL;
}

static bool is_linkage(Dwfl_Module *module, uint64_t address)
{
    Dwarf_Addr bias;
    GElf_Shdr header;
    size_t names;
    Elf *elf = dwfl_module_getelf(module, &bias);
    Elf_Scn *section = dwfl_module_address_section(module, &address, &bias);
    if (!elf || !section || !gelf_getshdr(section, &header) || elf_getshdrstrndx(elf, &names) != 0)
        return false;
    const char *name = elf_strptr(elf, names, header.sh_name);
    return name && strncmp(name, ".plt", 4) == 0;
}

struct native_place modules_place(struct modules *m, uint64_t address, bool lines)
{
    struct native_place place = {.function = "", .module = ""};
    Dwfl_Module *module = dwfl_addrmodule(m->dwfl, address);
    void **data = NULL;
    Dwarf_Addr start = 0;
    if (!module)
        return place;
    place.module = dwfl_module_info(module, &data, &start, NULL, NULL, NULL, NULL, NULL);
    struct module *own = *data;
    if (!own->indexed)
        index_symbols(own, module);
    const struct symbol *symbol = symbol_at(own, address);
    if (strncmp(place.module, "[vdso", 5) == 0)
        place.module = "[vdso]"; /* without the PID that libdwfl puts there */
    place.offset = (symbol ? symbol->start : address) - start;
    if (symbol && symbol->name)
        place.function = symbol->name;
    else if (is_linkage(module, address))
        place.function = MODULES_LINKAGE;
    Dwfl_Line *line = lines ? dwfl_module_getsrc(module, address) : NULL;
    if (line)
        place.source = dwfl_lineinfo(line, NULL, &place.line, NULL, NULL, NULL);
    return place;
}
