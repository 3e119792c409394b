/* modules: see modules.h. */
#include "native/modules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

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
/* Symbols without a size rank behind those with one. */
#define RANK_UNSIZED 4
/* Of the parts that call frame information divides a function into, so many are looked through. */
#define PARTS_MAX 8
/* The vDSO has two pages. */
#define VDSO_MAX (1u << 20)
/* Functions of one module beyond which no more are known. */
#define SYMBOLS_MAX (4u << 20)

/* What is known of a module besides libdwfl's own: its user data. unreadable: its file cannot be opened, or
 * is none, but memory that a compiler shares with itself. symbols: once `indexed`. */
struct module {
    struct module *next;
    struct modules *of;
    bool reported; /* at the last reading of the maps */
    bool unreadable;
    bool indexed;
    bool searched; /* for the descriptor of the GDB JIT interface */
    uint64_t descriptor;
    struct symbol *symbols;
    size_t count;
    void *image; /* of what lies in no file */
};

/* A file's mapping but for its path, which its module has. The kernel makes the text of all anew at each
 * reading, in a millisecond for a process of many libraries: too long to read it for each of them. */
struct mapping {
    uint64_t start, end, offset, inode;
};

static int keep_mapping(void *ctx, const struct proc_map *map)
{
    struct modules *m = ctx;
    struct mapping *list = list_room(m->mappings, &m->mapping_cap, m->mapping_count, sizeof(*list));
    if (!list)
        return -ENOMEM;
    m->mappings = list;
    m->mappings[m->mapping_count++] = (struct mapping){map->start, map->end, map->offset, map->inode};
    return 0;
}

static void read_mappings(struct modules *m)
{
    m->mapping_count = 0;
    source_maps(&m->source, keep_mapping, m);
}

static const struct mapping *mapping_at(const struct modules *m, uint64_t start)
{
    size_t i = list_up_to(m->mappings, m->mapping_count, sizeof(*m->mappings), start);
    return i && m->mappings[i - 1].start == start ? &m->mappings[i - 1] : NULL;
}

/* The file at an address as the process has it mapped, also one of a container or one that was replaced
 * since. libdwfl read the maps by itself, later: one that it knows may be new to us. */
static int open_mapped(struct modules *m, const char *path, uint64_t start)
{
    const struct mapping *found = mapping_at(m, start);
    if (!found) {
        read_mappings(m);
        found = mapping_at(m, start);
    }
    if (!found)
        return -ENOENT;
    struct proc_map map = {.start = found->start,
                           .end = found->end,
                           .offset = found->offset,
                           .inode = found->inode,
                           .path = path};
    return source_open_mapped(&m->source, &map);
}

/* The vDSO lies in memory alone. */
static int find_vdso(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file,
                     Elf **elf)
{
    struct module *own = *data;
    struct core *core = own->of->source.core;
    uint64_t size, at = core ? core_vdso(core, &size) : 0;
    if (!core)
        return dwfl_linux_proc_find_elf(module, data, name, base, file, elf);
    if (at && !own->image && size <= VDSO_MAX && (own->image = malloc(size)) &&
        core_read(core, at, own->image, size) == 0)
        *elf = elf_memory(own->image, size);
    return -1;
}

static int find_elf(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file,
                    Elf **elf)
{
    const struct module *own = *data;
    if (name[0] != '/')
        return find_vdso(module, data, name, base, file, elf);
    int fd = open_mapped(own->of, name, base);
    *file = fd >= 0 ? strdup(name) : NULL;
    return fd < 0 ? -1 : fd;
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
        own->of = m;
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
    free(own->image);
    free(own);
}

/* Debug files are looked for beside the library and by build-id, where distributions put them; not on
 * servers, as libdwfl would: someone waits for what is being looked at. */
/* NOLINTNEXTLINE(readability-function-size): libdwfl says how many parameters it has */
static int find_debuginfo(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base,
                          const char *file, const char *link, GElf_Word crc, char **found)
{
    static const char servers[] = "DEBUGINFOD_URLS";
    const char *set = getenv(servers);
    char *kept = set ? strdup(set) : NULL;
    if (kept)
        setenv(servers, "", 1);
    int fd = dwfl_standard_find_debuginfo(module, data, name, base, file, link, crc, found);
    if (kept)
        setenv(servers, kept, 1);
    free(kept);
    return fd;
}

static char *debuginfo_path;
static const Dwfl_Callbacks callbacks = {
    .find_elf = find_elf, .find_debuginfo = find_debuginfo, .debuginfo_path = &debuginfo_path};

/* Of a core, as libdwfl does it for a process: a file covers all between its first mapping and its last. */
struct span {
    Dwfl *dwfl;
    char path[PROC_PATH_MAX];
    uint64_t start, end;
};

static int end_span(struct span *s)
{
    return s->path[0] && !dwfl_report_module(s->dwfl, s->path, s->start, s->end) ? -ENOMEM : 0;
}

static int extend_span(void *ctx, const struct proc_map *map)
{
    struct span *s = ctx;
    int err = 0;
    if (strcmp(s->path, map->path) != 0 || map->start < s->end) {
        err = end_span(s);
        snprintf(s->path, sizeof(s->path), "%s", map->path);
        s->start = map->start;
    }
    s->end = map->end;
    return err;
}

static int report_core(struct modules *m)
{
    struct span span = {.dwfl = m->dwfl};
    uint64_t size, vdso = core_vdso(m->source.core, &size);
    int err = source_maps(&m->source, extend_span, &span);
    if (!err)
        err = end_span(&span);
    if (!err && vdso && !dwfl_report_module(m->dwfl, "[vdso]", vdso, vdso + size))
        err = -ENOMEM;
    return err;
}

static int report(struct modules *m)
{
    for (struct module *own = m->list; own; own = own->next)
        own->reported = false;
    read_mappings(m);
    int err = m->source.core ? report_core(m) : dwfl_linux_proc_report(m->dwfl, m->source.pid);
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

int modules_init(struct modules *m, const struct source *source)
{
    *m = (struct modules){.source = *source, .dwfl = dwfl_begin(&callbacks)};
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
    free(m->mappings);
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
    *rank =
        (uint8_t)((symbol->st_size ? 0 : RANK_UNSIZED) + (type == STT_NOTYPE ? 2 : 0) + (bind == STB_LOCAL));
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

/* The section of that name of a module's own file; NULL: none. */
static Elf_Scn *section_named(Dwfl_Module *module, const char *wanted, GElf_Shdr *header, GElf_Addr *bias)
{
    size_t names;
    Elf *elf = dwfl_module_getelf(module, bias);
    if (!elf || elf_getshdrstrndx(elf, &names) != 0)
        return NULL;
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
        const char *name = gelf_getshdr(section, header) ? elf_strptr(elf, names, header->sh_name) : NULL;
        if (name && strcmp(name, wanted) == 0)
            return section;
    }
    return NULL;
}

bool modules_have_debug_frame(Dwfl_Module *module)
{
    GElf_Shdr header;
    GElf_Addr bias;
    return section_named(module, ".debug_frame", &header, &bias);
}

/* Packed debug information, most often in a file of its own, would be unpacked whole: a tenth of a second for
 * libc. */
static bool has_plain_lines(Dwfl_Module *module)
{
    GElf_Shdr header;
    GElf_Addr bias;
    return section_named(module, ".debug_line", &header, &bias) && !(header.sh_flags & SHF_COMPRESSED);
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
    GElf_Shdr header;
    GElf_Addr bias;
    Elf_Scn *section = section_named(module, ".eh_frame_hdr", &header, &bias);
    const Elf_Data *table = section ? elf_rawdata(section, NULL) : NULL;
    int symbols = dwfl_module_getsymtab(module);
    size_t functions = count_functions(table), count = (size_t)(symbols > 0 ? symbols : 0);
    own->indexed = true;
    if (!(count + functions) || count + functions > SYMBOLS_MAX)
        return;
    own->symbols = malloc((count + functions) * sizeof(*own->symbols));
    if (!own->symbols)
        return;
    add_symbols(own, module, symbols);
    add_functions(own, table, section ? header.sh_addr + bias : 0, functions);
    qsort(own->symbols, own->count, sizeof(*own->symbols), by_address);
}

/* The symbol that covers the address; NULL when none does. */
static const struct symbol *symbol_at(const struct module *own, uint64_t address)
{
    size_t low = list_up_to(own->symbols, own->count, sizeof(*own->symbols), address);
    if (!low)
        return NULL;
    uint64_t start = own->symbols[low - 1].start;
    while (low > 1 && own->symbols[low - 2].start == start)
        low--;
    const struct symbol *found = &own->symbols[low - 1];
    /* A function can have call frame information in several parts: its symbol covers them. */
    for (size_t i = low; !found->name && i-- > 0 && low - i < PARTS_MAX;) {
        const struct symbol *whole = &own->symbols[i];
        if (whole->name && whole->rank < RANK_UNSIZED && address < whole->end)
            return whole;
    }
    return address < found->end ? found : NULL;
}

/* By the file alone: libdwfl would read all debug information to answer. */
static bool is_linkage(Dwfl_Module *module, uint64_t address)
{
    GElf_Addr bias;
    GElf_Shdr header;
    size_t names;
    Elf *elf = dwfl_module_getelf(module, &bias);
    if (!elf || elf_getshdrstrndx(elf, &names) != 0)
        return false;
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
        if (!gelf_getshdr(section, &header) || address - bias < header.sh_addr ||
            address - bias - header.sh_addr >= header.sh_size || !(header.sh_flags & SHF_ALLOC))
            continue;
        const char *name = elf_strptr(elf, names, header.sh_name);
        return name && strncmp(name, ".plt", 4) == 0;
    }
    return false;
}

/* The GDB JIT interface -------------------------------------------------------------------------------------
 */

/* A symbol that its users need not export: in some library the local one of a hundred thousand. So its name
 * is looked for first, as bytes. 0: none. */
static uint64_t find_descriptor(Elf *elf, Elf_Scn *table, const GElf_Shdr *header)
{
    static const char name[] = "\0__jit_debug_descriptor";
    Elf_Data *names = elf_rawdata(elf_getscn(elf, header->sh_link), NULL);
    const char *found =
        names && names->d_buf ? memmem(names->d_buf, names->d_size, name, sizeof(name)) : NULL;
    Elf_Data *symbols = found ? elf_getdata(table, NULL) : NULL;
    size_t count = symbols && header->sh_entsize ? symbols->d_size / header->sh_entsize : 0;
    for (size_t i = 0; i < count && i < SYMBOLS_MAX; i++) {
        GElf_Sym symbol;
        if (gelf_getsym(symbols, (int)i, &symbol) && symbol.st_shndx != SHN_UNDEF &&
            symbol.st_name == (size_t)(found + 1 - (const char *)names->d_buf))
            return symbol.st_value;
    }
    return 0;
}

static int search_module(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr start, void *arg)
{
    struct module *own = *data;
    GElf_Addr bias = 0;
    GElf_Shdr header;
    Elf *elf = own->searched ? NULL : dwfl_module_getelf(module, &bias);
    (void)name;
    (void)start;
    (void)arg;
    own->searched = true;
    for (Elf_Scn *s = NULL; elf && !own->descriptor && (s = elf_nextscn(elf, s));) {
        if (!gelf_getshdr(s, &header) || (header.sh_type != SHT_DYNSYM && header.sh_type != SHT_SYMTAB))
            continue;
        uint64_t value = find_descriptor(elf, s, &header);
        own->descriptor = value ? value + bias : 0;
    }
    return DWARF_CB_OK;
}

void modules_each_descriptor(struct modules *m, void (*each)(void *ctx, uint64_t address), void *ctx)
{
    dwfl_getmodules(m->dwfl, search_module, NULL, 0);
    for (const struct module *own = m->list; own; own = own->next) {
        if (own->descriptor)
            each(ctx, own->descriptor);
    }
}

/* Between the segments of a file, and behind them, others may have put memory, which libdwfl takes for the
 * module's. */
static bool is_loaded(Elf *elf, uint64_t address)
{
    size_t count;
    if (elf_getphdrnum(elf, &count) != 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr segment;
        if (gelf_getphdr(elf, (int)i, &segment) && segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
            address - segment.p_vaddr < segment.p_memsz)
            return true;
    }
    return false;
}

Dwfl_Module *modules_at(const struct modules *m, uint64_t address)
{
    void **data = NULL;
    GElf_Addr bias;
    Dwfl_Module *module = dwfl_addrmodule(m->dwfl, address);
    if (!module)
        return NULL;
    dwfl_module_info(module, &data, NULL, NULL, NULL, NULL, NULL, NULL);
    struct module *own = *data;
    Elf *elf = own->unreadable ? NULL : dwfl_module_getelf(module, &bias);
    own->unreadable = !elf;
    return elf && is_loaded(elf, address - bias) ? module : NULL;
}

/* The module at an address with its symbols; NULL: none. */
static Dwfl_Module *module_at(struct modules *m, uint64_t address, struct module **own)
{
    void **data = NULL;
    Dwfl_Module *module = modules_at(m, address);
    if (!module)
        return NULL;
    dwfl_module_info(module, &data, NULL, NULL, NULL, NULL, NULL, NULL);
    *own = *data;
    if (!(*own)->indexed)
        index_symbols(*own, module);
    return module;
}

uint64_t modules_function(struct modules *m, uint64_t address)
{
    struct module *own;
    const struct symbol *symbol = module_at(m, address, &own) ? symbol_at(own, address) : NULL;
    return symbol && symbol->name ? symbol->start : 0;
}

static void identify(Dwfl_Module *module, uint64_t address, struct native_place *place)
{
    GElf_Addr bias = 0, at;
    const unsigned char *bits;
    dwfl_module_getelf(module, &bias);
    place->address = address - bias;
    int len = dwfl_module_build_id(module, &bits, &at);
    place->build_id = len > 0 ? bits : NULL;
    place->build_id_len = len > 0 ? (size_t)len : 0;
}

struct native_place modules_place(struct modules *m, uint64_t address, bool lines)
{
    struct native_place place = {.function = "", .module = ""};
    struct module *own;
    Dwarf_Addr start = 0;
    Dwfl_Module *module = module_at(m, address, &own);
    if (!module)
        return place;
    place.module = dwfl_module_info(module, NULL, &start, NULL, NULL, NULL, NULL, NULL);
    const struct symbol *symbol = symbol_at(own, address);
    if (strncmp(place.module, "[vdso", 5) == 0)
        place.module = "[vdso]"; /* without the PID that libdwfl puts there */
    place.offset = (symbol ? symbol->start : address) - start;
    identify(module, address, &place);
    if (symbol && symbol->name)
        place.function = symbol->name;
    else if (is_linkage(module, address))
        place.function = MODULES_LINKAGE;
    Dwfl_Line *line = lines && has_plain_lines(module) ? dwfl_module_getsrc(module, address) : NULL;
    if (line)
        place.source = dwfl_lineinfo(line, NULL, &place.line, NULL, NULL, NULL);
    return place;
}
