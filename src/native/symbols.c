/* symbols: see symbols.h. */
#include "native/symbols.h"

#include <dwarf.h>
#include <elfutils/libdwelf.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/list.h"
#include "native/demangle.h"
#include "os/file.h"

/* Files of a directory beyond which the others are not looked at. */
#define FILES_MAX 65536
/* A longer one is none. */
#define BUILD_ID_MAX 64
/* Names of one place, demangled. */
#define NAMES_MAX (1u << 20)

/* A file of the user's directory. lines: it has debug information. */
struct candidate {
    char build_id[2 * BUILD_ID_MAX + 1];
    char *path;
    bool lines;
};

/* A module that something was asked of: alone in a Dwfl of its own. dwfl NULL: nothing is known of it. */
struct wanted {
    struct symbols *symbols;
    char *path, *build_id;
    Dwfl *dwfl;
    Dwfl_Module *module;
};

/* names: of the last place that was found. */
struct symbols {
    struct candidate *files;
    size_t file_count, file_cap;
    struct wanted **list;
    size_t count, cap;
    struct buf names;
};

/* The user's files -------------------------------------------------------------------------------------- */

static bool has_lines(Elf *elf)
{
    size_t names;
    if (elf_getshdrstrndx(elf, &names) != 0)
        return false;
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
        GElf_Shdr header;
        const char *name = gelf_getshdr(section, &header) ? elf_strptr(elf, names, header.sh_name) : NULL;
        if (name && header.sh_type != SHT_NOBITS &&
            (strcmp(name, ".debug_info") == 0 || strcmp(name, ".zdebug_info") == 0))
            return true;
    }
    return false;
}

/* The build-id of a file that is open, as text; "" when it has none, or is no ELF file. */
static void identify(int fd, char *build_id, bool *lines)
{
    const void *bits = NULL;
    Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    ssize_t len = elf && elf_kind(elf) == ELF_K_ELF ? dwelf_elf_gnu_build_id(elf, &bits) : 0;
    hex_put(build_id, bits, len > 0 && len <= BUILD_ID_MAX ? (size_t)len : 0);
    *lines = build_id[0] && has_lines(elf);
    elf_end(elf);
}

static int add_file(struct symbols *s, const char *path)
{
    struct candidate found = {.path = NULL};
    int fd = file_open(path, 0, NULL);
    if (fd < 0)
        return 0;
    identify(fd, found.build_id, &found.lines);
    close(fd);
    if (!found.build_id[0])
        return 0;
    struct candidate *files = list_room(s->files, &s->file_cap, s->file_count, sizeof(*files));
    found.path = strdup(path);
    if (!files || !found.path) {
        free(found.path);
        return -ENOMEM;
    }
    s->files = files;
    files[s->file_count++] = found;
    return 0;
}

static int add_directory(struct symbols *s, const char *directory)
{
    char *root[] = {(char *)directory, NULL};
    FTS *walk = fts_open(root, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    int err = walk ? 0 : -errno;
    FTSENT *entry;
    while (!err && s->file_count < FILES_MAX && (entry = fts_read(walk))) {
        bool top = entry->fts_level == FTS_ROOTLEVEL;
        if (top && (entry->fts_info == FTS_NS || entry->fts_info == FTS_DNR))
            err = -entry->fts_errno;
        else if (top && entry->fts_info != FTS_D && entry->fts_info != FTS_DP)
            err = -ENOTDIR;
        /* Directories of debug files by build-id have links to the files that they are for. */
        else if (entry->fts_info == FTS_F || entry->fts_info == FTS_SL)
            err = add_file(s, entry->fts_path);
    }
    if (walk)
        fts_close(walk);
    return err;
}

/* One with debug information, if that is wanted; else any, those with it first. */
static const struct candidate *file_of(const struct symbols *s, const char *build_id, bool lines)
{
    const struct candidate *found = NULL;
    for (size_t i = 0; i < s->file_count; i++) {
        const struct candidate *c = &s->files[i];
        if (strcmp(c->build_id, build_id) == 0 && (c->lines || (!lines && !found)))
            found = c;
    }
    return found;
}

int symbols_new(const char *directory, struct symbols **out)
{
    struct symbols *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    elf_version(EV_CURRENT);
    buf_init(&s->names, NAMES_MAX);
    int err = directory ? add_directory(s, directory) : 0;
    if (err) {
        symbols_free(s);
        return err;
    }
    *out = s;
    return 0;
}

static void free_wanted(struct wanted *w)
{
    if (w && w->dwfl)
        dwfl_end(w->dwfl);
    if (w) {
        free(w->path);
        free(w->build_id);
    }
    free(w);
}

void symbols_free(struct symbols *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->file_count; i++)
        free(s->files[i].path);
    for (size_t i = 0; i < s->count; i++)
        free_wanted(s->list[i]);
    free(s->files);
    free(s->list);
    buf_release(&s->names);
    free(s);
}

/* Modules ----------------------------------------------------------------------------------------------- */

static int open_file(const char *path, char **name)
{
    int fd = file_open(path, 0, NULL);
    *name = fd >= 0 ? strdup(path) : NULL;
    return fd;
}

/* The file where it was mapped, if it is the same still. */
static int open_where_it_was(const struct wanted *w, char **name)
{
    char build_id[2 * BUILD_ID_MAX + 1];
    bool lines;
    int fd = w->path[0] == '/' ? open_file(w->path, name) : -1;
    if (fd < 0)
        return -1;
    identify(fd, build_id, &lines);
    if (strcmp(build_id, w->build_id) == 0)
        return fd;
    close(fd);
    free(*name);
    *name = NULL;
    return -1;
}

static int find_elf(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file,
                    Elf **elf)
{
    const struct wanted *w = *data;
    const struct candidate *given = file_of(w->symbols, w->build_id, true);
    int fd = given ? open_file(given->path, file) : -1;
    if (fd < 0)
        fd = open_where_it_was(w, file);
    given = fd < 0 ? file_of(w->symbols, w->build_id, false) : NULL;
    if (given)
        fd = open_file(given->path, file);
    return fd >= 0 ? fd : dwfl_build_id_find_elf(module, data, name, base, file, elf);
}

static char *debuginfo_path;
static const Dwfl_Callbacks callbacks = {
    .find_elf = find_elf, .find_debuginfo = dwfl_standard_find_debuginfo, .debuginfo_path = &debuginfo_path};

/* As if it were mapped from address 0 on. */
static void open_module(struct wanted *w)
{
    uint8_t bits[BUILD_ID_MAX];
    void **data;
    GElf_Addr bias;
    size_t len = hex_get(w->build_id, bits, sizeof(bits));
    w->dwfl = len ? dwfl_begin(&callbacks) : NULL;
    if (!w->dwfl)
        return;
    dwfl_report_begin(w->dwfl);
    w->module = dwfl_report_module(w->dwfl, w->path, 0, INT64_MAX);
    if (w->module) {
        dwfl_module_info(w->module, &data, NULL, NULL, NULL, NULL, NULL, NULL);
        *data = w;
        dwfl_module_report_build_id(w->module, bits, len, 0);
    }
    dwfl_report_end(w->dwfl, NULL, NULL);
    if (w->module && dwfl_module_getelf(w->module, &bias))
        return;
    dwfl_end(w->dwfl);
    w->dwfl = NULL;
}

static struct wanted *wanted_of(struct symbols *s, const char *path, const char *build_id)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->list[i]->path, path) == 0 && strcmp(s->list[i]->build_id, build_id) == 0)
            return s->list[i];
    }
    struct wanted **list = list_room(s->list, &s->cap, s->count, sizeof(struct wanted *));
    struct wanted *w = calloc(1, sizeof(*w));
    if (list)
        s->list = list;
    if (w)
        *w = (struct wanted){.symbols = s, .path = strdup(path), .build_id = strdup(build_id)};
    if (!list || !w || !w->path || !w->build_id) {
        free_wanted(w);
        return NULL;
    }
    open_module(w);
    list[s->count++] = w;
    return w;
}

/* Places ------------------------------------------------------------------------------------------------ */

/* Keeps a name; returns where in `names`. */
static size_t keep_name(struct symbols *s, const char *symbol)
{
    size_t at = s->names.len;
    demangle(&s->names, symbol);
    buf_put_u8(&s->names, 0);
    return at;
}

/* The name of a function by its debug information; NULL: it has none. */
static const char *name_of(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    const char *linkage = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute));
    return linkage ? linkage : dwarf_formstring(dwarf_attr_integrate(die, DW_AT_name, &attribute));
}

static uint32_t number_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value;
    return dwarf_formudata(dwarf_attr(die, name, &attribute), &value) == 0 && value <= INT32_MAX
               ? (uint32_t)value
               : 0;
}

/* Where an inlined function was called. */
static void take_call(Dwarf_Die *unit, Dwarf_Die *die, struct symbol_found *caller)
{
    Dwarf_Files *files;
    size_t count;
    uint32_t file = number_of(die, DW_AT_call_file);
    const char *path = dwarf_getsrcfiles(unit, &files, &count) == 0 && file < count
                           ? dwarf_filesrc(files, file, NULL, NULL)
                           : NULL;
    caller->file = path ? path : "";
    caller->line = number_of(die, DW_AT_call_line);
}

/* The functions at an address by the scopes that debug information has: those that were inlined, and the one
 * they are in. names[i]: where the name of out[i] is kept. */
static size_t take_scopes(struct symbols *s, Dwarf_Die *unit, Dwarf_Addr at, struct symbol_found *out,
                          size_t *names)
{
    Dwarf_Die *around = NULL, *scopes = NULL;
    size_t found = 0;
    int count = dwarf_getscopes(unit, at, &around);
    count = count > 0 ? dwarf_getscopes_die(&around[0], &scopes) : 0;
    for (int i = 0; i < count && found < SYMBOLS_INLINED_MAX; i++) {
        int tag = dwarf_tag(&scopes[i]);
        const char *name = name_of(&scopes[i]);
        if ((tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram) || !name)
            continue;
        names[found++] = keep_name(s, name);
        if (tag == DW_TAG_subprogram)
            break;
        if (found < SYMBOLS_INLINED_MAX)
            take_call(unit, &scopes[i], &out[found]);
    }
    free(around);
    free(scopes);
    return found;
}

size_t symbols_find(struct symbols *s, const char *path, const char *build_id, uint64_t address,
                    struct symbol_found *out)
{
    GElf_Addr bias;
    GElf_Off offset;
    GElf_Sym symbol;
    Dwarf_Addr unit_bias;
    size_t names[SYMBOLS_INLINED_MAX], found = 0;
    struct wanted *w = wanted_of(s, path, build_id);
    if (!w || !w->dwfl)
        return 0;
    dwfl_module_getelf(w->module, &bias);
    Dwarf_Addr at = address + bias;
    s->names.len = 0;
    out[0] = (struct symbol_found){.file = ""};
    Dwfl_Line *line = dwfl_module_getsrc(w->module, at);
    int number = 0;
    const char *file = line ? dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL) : NULL;
    if (file)
        out[0] = (struct symbol_found){.file = file, .line = number > 0 ? (uint32_t)number : 0};
    Dwarf_Die *unit = dwfl_module_addrdie(w->module, at, &unit_bias);
    if (unit)
        found = take_scopes(s, unit, at - unit_bias, out, names);
    const char *name = found ? NULL : dwfl_module_addrinfo(w->module, at, &offset, &symbol, NULL, NULL, NULL);
    if (name)
        names[found++] = keep_name(s, name);
    for (size_t i = 0; i < found && !s->names.error; i++)
        out[i].function = (const char *)s->names.data + names[i];
    return s->names.error ? 0 : found;
}
