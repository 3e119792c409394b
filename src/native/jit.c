/* jit: see jit.h. */
#include "native/jit.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "native/demangle.h"
#include "os/proc.h"

/* Of codes that begin before an address, so many are looked at for the last one made that covers it. */
#define OVERLAPS_MAX 16
/* Names of all functions beyond which no more are taken. */
#define TEXTS_MAX (32u << 20)
/* A longer name is cut by what has it, or left out. */
#define NAME_MAX_LEN 4096
/* Of a perf map so much is read at once; a longer line is left out. */
#define PIECE_MAX (64u << 10)

void jit_init(struct jit *j, const struct source *source)
{
    *j = (struct jit){.memory = {.source = *source}, .sorted = true};
    buf_init(&j->texts, TEXTS_MAX);
    buf_put_u8(&j->texts, 0);
}

static void drop_image(struct jit *j, struct jit_object *o)
{
    if (o->cfi)
        dwarf_cfi_end(o->cfi);
    if (o->elf)
        elf_end(o->elf);
    if (o->image)
        j->images_size -= o->size;
    free(o->image);
    o->cfi = NULL;
    o->elf = NULL;
    o->image = NULL;
}

void jit_release(struct jit *j)
{
    for (size_t i = 0; i < j->object_count; i++)
        drop_image(j, &j->objects[i]);
    free(j->objects);
    free(j->codes);
    buf_release(&j->texts);
    *j = (struct jit){0};
}

/* Functions -----------------------------------------------------------------------------------------------
 */

static void add_code(struct jit *j, uint64_t start, uint64_t size, uint32_t object, const char *symbol)
{
    struct buf name, module;
    if (!size || start + size < start || j->count == JIT_CODES_MAX)
        return;
    struct jit_code *codes = list_room(j->codes, &j->cap, j->count, sizeof(*codes));
    if (!codes)
        return;
    j->codes = codes;
    struct jit_code *c = &codes[j->count];
    *c =
        (struct jit_code){.start = start, .end = start + size, .order = (uint32_t)j->count, .object = object};
    buf_init(&name, NAME_MAX_LEN * 2);
    buf_init(&module, NAME_MAX_LEN);
    c->numba = object && demangle_numba(&name, &module, &c->wrapper, symbol);
    if (!c->numba)
        demangle(&name, symbol);
    buf_put_u8(&name, 0);
    buf_put_u8(&module, 0);
    if (!name.error && !module.error) {
        c->name = (uint32_t)j->texts.len;
        buf_put(&j->texts, name.data, name.len);
        c->module = (uint32_t)j->texts.len;
        buf_put(&j->texts, module.data, module.len);
    }
    if (!j->texts.error)
        j->count++;
    j->sorted = false;
    buf_release(&name);
    buf_release(&module);
}

static int by_start(const void *a, const void *b)
{
    const struct jit_code *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

const struct jit_code *jit_find(struct jit *j, uint64_t address)
{
    if (!j->sorted && j->count)
        qsort(j->codes, j->count, sizeof(*j->codes), by_start);
    j->sorted = true;
    size_t low = list_up_to(j->codes, j->count, sizeof(*j->codes), address);
    const struct jit_code *found = NULL;
    for (size_t i = 0; i < OVERLAPS_MAX && i < low; i++) {
        const struct jit_code *c = &j->codes[low - 1 - i];
        if (address < c->end && (!found || c->order > found->order))
            found = c;
    }
    return found;
}

const char *jit_text(const struct jit *j, uint32_t text)
{
    return text < j->texts.len ? (const char *)j->texts.data + text : "";
}

/* The object with that id; NULL: none, or none any more. */
static struct jit_object *object_of(const struct jit *j, uint32_t id)
{
    size_t count = list_up_to(j->objects, j->object_count, sizeof(*j->objects), id);
    struct jit_object *o = count ? &j->objects[count - 1] : NULL;
    return o && o->id == id ? o : NULL;
}

Dwarf_CFI *jit_cfi(const struct jit *j, const struct jit_code *c)
{
    const struct jit_object *o = object_of(j, c->object);
    return o ? o->cfi : NULL;
}

/* Objects registered for GDB --------------------------------------------------------------------------------
 */

/* struct jit_descriptor and jit_code_entry of the interface's version 1. */
#define INTERFACE_VERSION 1
struct descriptor {
    uint32_t version, action;
    uint64_t relevant, first;
};

struct entry {
    uint64_t next, previous, address, size;
};

/* Call frame information is relocated where it was loaded, not in the file; and libdw takes it from a section
 * of the common type only, while LLVM gives it that of x86-64. */
static void take_loaded_frames(struct jit *j, struct jit_object *o, Elf64_Shdr *header)
{
    bool fits = header->sh_offset <= o->size && header->sh_size <= o->size - header->sh_offset;
    if (fits && header->sh_addr)
        memory_read(&j->memory, header->sh_addr, (char *)o->image + header->sh_offset, header->sh_size);
    header->sh_type = SHT_PROGBITS;
}

static void complete_image(struct jit *j, struct jit_object *o)
{
    const Elf64_Ehdr *file = o->image;
    if (o->size < sizeof(*file) || memcmp(file->e_ident, ELFMAG, SELFMAG) != 0 ||
        file->e_ident[EI_CLASS] != ELFCLASS64 || file->e_shentsize != sizeof(Elf64_Shdr) ||
        file->e_shoff % 8 || file->e_shoff > o->size ||
        (o->size - file->e_shoff) / sizeof(Elf64_Shdr) < file->e_shnum)
        return;
    Elf64_Shdr *headers = (Elf64_Shdr *)((char *)o->image + file->e_shoff);
    for (size_t i = 0; i < file->e_shnum; i++) {
        if (headers[i].sh_type == SHT_X86_64_UNWIND)
            take_loaded_frames(j, o, &headers[i]);
    }
}

static void take_symbols(struct jit *j, struct jit_object *o, Elf_Scn *table, const GElf_Shdr *header)
{
    Elf_Data *data = elf_getdata(table, NULL);
    size_t count = data && header->sh_entsize ? data->d_size / header->sh_entsize : 0;
    for (size_t i = 0; i < count && i < JIT_CODES_MAX; i++) {
        GElf_Sym symbol;
        GElf_Shdr section;
        if (!gelf_getsym(data, (int)i, &symbol) || GELF_ST_TYPE(symbol.st_info) != STT_FUNC ||
            !gelf_getshdr(elf_getscn(o->elf, symbol.st_shndx), &section) || !section.sh_addr)
            continue;
        const char *name = elf_strptr(o->elf, header->sh_link, symbol.st_name);
        if (name && symbol.st_shndx != SHN_UNDEF)
            add_code(j, section.sh_addr + symbol.st_value, symbol.st_size, (uint32_t)o->id, name);
    }
}

static void take_sections(struct jit *j, struct jit_object *o)
{
    GElf_Shdr header;
    for (Elf_Scn *s = NULL; (s = elf_nextscn(o->elf, s));) {
        if (gelf_getshdr(s, &header) && header.sh_type == SHT_SYMTAB)
            take_symbols(j, o, s, &header);
    }
    o->cfi = dwarf_getcfi_elf(o->elf);
}

static void take_object(struct jit *j, uint64_t at, const struct entry *e)
{
    struct jit_object *list = list_room(j->objects, &j->object_cap, j->object_count, sizeof(*list));
    if (!list)
        return;
    j->objects = list;
    struct jit_object *o = &list[j->object_count++];
    *o = (struct jit_object){
        .entry = at, .address = e->address, .size = e->size, .listed = true, .id = ++j->objects_made};
    if (!e->size || e->size > JIT_OBJECT_MAX || !(o->image = malloc(e->size)))
        return;
    j->images_size += o->size;
    if (memory_read(&j->memory, e->address, o->image, e->size) == 0) {
        complete_image(j, o);
        o->elf = elf_memory(o->image, e->size);
        if (o->elf && elf_kind(o->elf) == ELF_K_ELF)
            take_sections(j, o);
    }
    if (!o->cfi || j->images_size > JIT_IMAGES_MAX)
        drop_image(j, o);
}

/* *next: where to begin, since lists keep their order; then behind what was found. */
static struct jit_object *known_object(struct jit *j, size_t *next, uint64_t at, const struct entry *e)
{
    for (size_t n = 0; n < j->object_count; n++) {
        size_t i = (*next + n) % j->object_count;
        struct jit_object *o = &j->objects[i];
        if (o->entry == at && o->address == e->address && o->size == e->size) {
            *next = i + 1;
            return o;
        }
    }
    return NULL;
}

static void forget_unlisted(struct jit *j)
{
    size_t kept = 0;
    for (size_t i = 0; i < j->count; i++) {
        const struct jit_object *o = object_of(j, j->codes[i].object);
        if (!o || o->listed)
            j->codes[kept++] = j->codes[i];
    }
    j->count = kept;
    kept = 0;
    for (size_t i = 0; i < j->object_count; i++) {
        struct jit_object *o = &j->objects[i];
        if (o->listed)
            j->objects[kept++] = *o;
        else
            drop_image(j, o);
    }
    j->object_count = kept;
}

static void read_registered(void *ctx, uint64_t descriptor)
{
    struct jit *j = ctx;
    struct descriptor d;
    struct entry e;
    if (memory_read(&j->memory, descriptor, &d, sizeof(d)) != 0 || d.version != INTERFACE_VERSION)
        return;
    uint64_t at = d.first;
    size_t next = 0;
    for (size_t n = 0; at && n < JIT_OBJECTS_MAX; n++, at = e.next) {
        if (memory_read(&j->memory, at, &e, sizeof(e)) != 0)
            return;
        struct jit_object *known = known_object(j, &next, at, &e);
        if (known)
            known->listed = true;
        else
            take_object(j, at, &e);
    }
}

static void read_objects(struct jit *j, struct modules *modules)
{
    for (size_t i = 0; i < j->object_count; i++)
        j->objects[i].listed = false;
    modules_each_descriptor(modules, read_registered, j);
    forget_unlisted(j);
}

/* The perf map ----------------------------------------------------------------------------------------------
 */

/* "START SIZE NAME", the numbers in hexadecimal. */
static void take_line(struct jit *j, char *line)
{
    char *at;
    errno = 0;
    uint64_t start = strtoull(line, &at, 16);
    uint64_t size = *at == ' ' ? strtoull(at, &at, 16) : 0;
    if (errno || *at != ' ' || !size)
        return;
    add_code(j, start, size, 0, at + 1);
}

/* Takes the whole lines of a piece of the file. Returns how many bytes they have; of a line that has no end
 * in a full piece, all of them: it is left out. */
static size_t take_lines(struct jit *j, char *piece, size_t len)
{
    char *line = piece, *end;
    while ((end = memchr(line, '\n', (size_t)(piece + len - line)))) {
        *end = 0;
        take_line(j, line);
        line = end + 1;
    }
    return line == piece && len == PIECE_MAX ? len : (size_t)(line - piece);
}

/* Goes on where reading ended the last time. */
static void read_perf_map(struct jit *j)
{
    char path[64];
    pid_t pid = j->memory.source.pid, own;
    if (proc_ns_tid(pid, pid, &own) != 0)
        return;
    snprintf(path, sizeof(path), "/tmp/perf-%d.map", own);
    int fd = proc_open_written(pid, path);
    char *piece = fd < 0 ? NULL : malloc(PIECE_MAX);
    ssize_t len;
    while (piece && j->map_read < JIT_FILE_MAX &&
           (len = pread(fd, piece, PIECE_MAX, (off_t)j->map_read)) > 0) {
        size_t taken = take_lines(j, piece, (size_t)len);
        if (!taken)
            break;
        j->map_read += taken;
    }
    free(piece);
    if (fd >= 0)
        close(fd);
}

/* Jitdump ---------------------------------------------------------------------------------------------------
 */

#define DUMP_MAGIC 0x4A695444u
#define DUMP_LOAD 0u

struct dump_header {
    uint32_t magic, version, size, machine, pad, pid;
    uint64_t time, flags;
};

struct dump_record {
    uint32_t id, size;
    uint64_t time;
};

struct dump_load {
    uint32_t pid, tid;
    uint64_t vma, address, size, index;
};

struct dump {
    struct jit *jit;
    char path[PROC_PATH_MAX];
};

static int find_dump(void *ctx, const struct proc_map *map)
{
    struct dump *d = ctx;
    const char *slash = strrchr(map->path, '/');
    size_t len = strlen(map->path);
    if (!slash || strncmp(slash, "/jit-", 5) != 0 || len < 5 || strcmp(map->path + len - 5, ".dump") != 0 ||
        len >= sizeof(d->path))
        return 0;
    memcpy(d->path, map->path, len + 1);
    return 1;
}

/* One record at an offset; 0 and how long it is; a negative errno: it is not whole, or none. */
static int take_record(struct jit *j, int fd, uint64_t at, uint32_t *size)
{
    struct {
        struct dump_record head;
        struct dump_load load;
        char name[NAME_MAX_LEN];
    } r;
    ssize_t n = pread(fd, &r, sizeof(r), (off_t)at);
    struct stat st;
    if (n < (ssize_t)sizeof(r.head) || r.head.size < sizeof(r.head) || fstat(fd, &st) != 0 ||
        (uint64_t)st.st_size - at < r.head.size)
        return -ENODATA;
    *size = r.head.size;
    size_t have = min_u64((uint64_t)n, r.head.size), begin = sizeof(r.head) + sizeof(r.load);
    if (r.head.id == DUMP_LOAD && have > begin && memchr(r.name, 0, have - begin))
        add_code(j, r.load.address, r.load.size, 0, r.name);
    return 0;
}

static void read_dump(struct jit *j)
{
    struct dump d = {.jit = j};
    struct dump_header header;
    uint32_t size;
    if (proc_maps(j->memory.source.pid, find_dump, &d) != 1)
        return;
    int fd = proc_open_written(j->memory.source.pid, d.path);
    if (fd < 0)
        return;
    if (!j->dump_read && pread(fd, &header, sizeof(header), 0) == sizeof(header) &&
        header.magic == DUMP_MAGIC && header.size >= sizeof(header))
        j->dump_read = header.size;
    while (j->dump_read && j->dump_read < JIT_FILE_MAX && take_record(j, fd, j->dump_read, &size) == 0)
        j->dump_read += size;
    close(fd);
}

void jit_refresh(struct jit *j, struct modules *modules)
{
    read_objects(j, modules);
    if (j->memory.source.core)
        return;
    read_perf_map(j);
    read_dump(j);
}
