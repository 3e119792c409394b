/* find: see find.h.
 *
 * The executable and files named like libpython are looked at first; any other mapped library only when
 * those gave nothing (a Python linked into a library of another name). ELF files are parsed once per
 * (device of the path, inode) and finder: what stays is where the runtime is and which version it has.
 */
#include "python/find.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "elf/elf_file.h"

/* More mapped files than this in one process are not looked at. */
#define CANDIDATES_MAX 4096
#define RODATA_MAX (64u << 20)

/* What a file holds. runtime 0: nothing of interest. */
struct image {
    uint64_t device, inode, mtime;
    uint64_t runtime; /* virtual address of _PyRuntime in the file */
    uint32_t version; /* major << 8 | minor for the tables; 0: ask the debug offsets */
    char text[PY_VERSION_MAX];
    bool other; /* another implementation of Python */
    bool has_asyncio;
    struct layout_asyncio asyncio;
};

struct py_finder {
    struct image *images;
    size_t count, cap;
};

/* A file that is mapped executable in the process. */
struct candidate {
    struct proc_map map;
    char *path;
};

struct candidates {
    struct candidate *list;
    size_t count;
};

int py_finder_new(struct py_finder **out)
{
    *out = calloc(1, sizeof(**out));
    return *out ? 0 : -ENOMEM;
}

void py_finder_free(struct py_finder *f)
{
    if (!f)
        return;
    free(f->images);
    free(f);
}

static int collect(void *ctx, const struct proc_map *map)
{
    struct candidates *all = ctx;
    if (!map->executable || all->count == CANDIDATES_MAX)
        return 0;
    char *path = strdup(map->path);
    if (!path)
        return -ENOMEM;
    all->list[all->count] = (struct candidate){.map = *map, .path = path};
    all->list[all->count].map.path = path;
    all->count++;
    return 0;
}

static void candidates_release(struct candidates *all)
{
    for (size_t i = 0; i < all->count; i++)
        free(all->list[i].path);
    free(all->list);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "3.9" out of ".../python3.9" or ".../libpython3.9.so.1.0"; 0 when there is none. */
static uint32_t version_in_name(const char *path)
{
    const char *at = strstr(base_name(path), "python3.");
    int minor;
    return at && sscanf(at, "python3.%d", &minor) == 1 && minor < 100 ? 3u << 8 | (uint32_t)minor : 0;
}

/* A whole NUL-terminated string "3.x.y" or "3.x.y+" at `at`. */
static bool is_version_text(const char *at, const char *end, uint32_t *version)
{
    const char *s = at;
    unsigned part[3] = {0};
    for (int i = 0; i < 3; i++) {
        if (s >= end || !isdigit((unsigned char)*s))
            return false;
        while (s < end && isdigit((unsigned char)*s) && part[i] < 1000)
            part[i] = part[i] * 10 + (unsigned)(*s++ - '0');
        if (i < 2 && (s >= end || *s++ != '.'))
            return false;
    }
    if (s < end && *s == '+')
        s++;
    *version = part[0] << 8 | part[1];
    return s < end && *s == 0 && part[0] == 3 && s - at < PY_VERSION_MAX;
}

/* The first version among the constants that is a string by itself (before == 0) or the end of one, after the
 * character `before`. */
static bool find_version_text(const char *text, size_t size, char before, struct image *image)
{
    const char *end = text + size;
    for (const char *s = text; (s = memchr(s, '3', (size_t)(end - s))); s++) {
        uint32_t found;
        if ((s == text ? before != 0 : s[-1] != before) || !is_version_text(s, end, &found) ||
            (image->version && found != image->version) || !layout_of(found))
            continue;
        image->version = found;
        snprintf(image->text, sizeof(image->text), "%s", s);
        return true;
    }
    return false;
}

/* Up to 3.10 the version stands only as text among the constants. Linkers keep a string that ends another one
 * only there: "3.8.18" in a prefix ".../versions/3.8.18". */
static void scan_version(struct elf_file *elf, struct image *image)
{
    struct elf_section rodata;
    if (elf_file_section(elf, ".rodata", &rodata) != 0 || rodata.size > RODATA_MAX)
        return;
    char *text = malloc(rodata.size);
    if (text && elf_file_read(elf, rodata.address, text, rodata.size) == 0 &&
        !find_version_text(text, rodata.size, 0, image))
        find_version_text(text, rodata.size, '/', image);
    free(text);
}

static void format_version(char out[PY_VERSION_MAX], uint32_t hex, bool free_threaded)
{
    static const char *const levels[16] = {[0xa] = "a", [0xb] = "b", [0xc] = "rc"};
    const char *level = levels[hex >> 4 & 15];
    char suffix[8] = "";
    if (level)
        snprintf(suffix, sizeof(suffix), "%s%u", level, hex & 15);
    snprintf(out, PY_VERSION_MAX, "%u.%u.%u%s%s", hex >> 24, hex >> 16 & 255, hex >> 8 & 255, suffix,
             free_threaded ? "t" : "");
}

static void inspect_asyncio(struct elf_file *elf, struct image *image)
{
    struct elf_section section;
    uint8_t bytes[ASYNCIO_OFFSETS_SIZE];
    if (elf_file_section(elf, ".AsyncioDebug", &section) == 0 && section.size == sizeof(bytes) &&
        elf_file_read(elf, section.address, bytes, sizeof(bytes)) == 0)
        image->has_asyncio = layout_asyncio_from_section(bytes, sizeof(bytes), &image->asyncio) == 0;
}

static void inspect(int fd, const char *path, struct image *image)
{
    struct elf_file *elf;
    struct elf_section section;
    if (strncmp(base_name(path), "libpypy", 7) == 0)
        image->other = true;
    if (elf_file_new(fd, &elf) != 0)
        return;
    struct elf_symbol symbols[] = {{.name = "_PyRuntime"}, {.name = "Py_Version"}};
    elf_file_symbols(elf, symbols, ARRAY_LEN(symbols));
    image->runtime = symbols[0].value;
    if (!image->runtime && elf_file_section(elf, ".PyRuntime", &section) == 0)
        image->runtime = section.address;
    uint32_t hex;
    if (image->runtime)
        image->version = version_in_name(path);
    if (image->runtime && symbols[1].value && elf_file_read(elf, symbols[1].value, &hex, sizeof(hex)) == 0) {
        image->version = hex >> 16;
        format_version(image->text, hex, false);
    } else if (image->runtime && image->version < 0x030d) {
        scan_version(elf, image);
    }
    inspect_asyncio(elf, image);
    elf_file_free(elf);
}

/* The image of a mapped file, from memory or by looking. NULL when it cannot be opened (*err tells). */
static const struct image *image_of(struct py_finder *f, const struct source *source,
                                    const struct proc_map *map, uint64_t *bias, int *err)
{
    struct stat st;
    int fd = source_open_mapped(source, map);
    if (fd < 0 || fstat(fd, &st) < 0) {
        *err = fd < 0 ? fd : -errno;
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    const struct image *image = NULL;
    for (size_t i = 0; i < f->count && !image; i++) {
        struct image *known = &f->images[i];
        if (known->inode == st.st_ino && known->device == st.st_dev && known->mtime == (uint64_t)st.st_mtime)
            image = known;
    }
    struct image *images = image ? NULL : list_room(f->images, &f->cap, f->count, sizeof(*images));
    if (images) {
        f->images = images;
        struct image *fresh = &f->images[f->count++];
        *fresh = (struct image){.device = st.st_dev, .inode = st.st_ino, .mtime = (uint64_t)st.st_mtime};
        inspect(fd, map->path, fresh);
        image = fresh;
    }
    struct elf_file *elf;
    if (image && image->runtime && elf_file_new(fd, &elf) == 0) {
        if (elf_file_bias(elf, map->start, map->offset, bias) != 0)
            image = NULL;
        elf_file_free(elf);
    }
    close(fd);
    return image;
}

/* The layout of a runtime found in an image. */
static enum py_found choose_layout(const struct image *image, struct py_runtime *rt)
{
    memcpy(rt->version, image->text, sizeof(rt->version));
    if (image->version && image->version <= 0x030c) {
        const struct layout *table = layout_of(image->version);
        if (!rt->version[0])
            snprintf(rt->version, sizeof(rt->version), "%u.%u", image->version >> 8, image->version & 255);
        if (!table)
            return PY_UNSUPPORTED;
        rt->layout = *table;
        return PY_READY;
    }
    uint8_t table[DEBUG_OFFSETS_MAX];
    uint32_t hex = 0;
    int err = memory_read(&rt->memory, rt->address, table, sizeof(table));
    if (err)
        return err == -EPERM ? PY_DENIED : err == -ESRCH ? PY_GONE : PY_NOT_READY;
    err = layout_from_debug_offsets(table, sizeof(table), &rt->layout, &hex);
    if (hex)
        format_version(rt->version, hex, !err && rt->layout.free_threaded);
    return err ? PY_UNSUPPORTED : PY_READY;
}

/* Is there an interpreter, and does it lead back to itself? */
static enum py_found probe(struct py_runtime *rt)
{
    const struct layout *l = &rt->layout;
    uint64_t interp, tstate, back;
    int err = memory_read_u64(&rt->memory, rt->address + l->runtime.interpreters_head, &interp);
    if (err)
        return err == -EPERM ? PY_DENIED : err == -ESRCH ? PY_GONE : PY_NOT_READY;
    if (!interp || memory_read_u64(&rt->memory, interp + l->interp.threads_head, &tstate) != 0 || !tstate ||
        memory_read_u64(&rt->memory, tstate + l->tstate.interp, &back) != 0)
        return PY_NOT_READY;
    /* The head is the newest interpreter; a thread state leads to its own. */
    return back == interp ? PY_READY : PY_NOT_READY;
}

static enum py_found try_candidate(struct py_finder *f, const struct source *source,
                                   const struct proc_map *map, struct py_runtime *rt)
{
    uint64_t bias = 0;
    int err = 0;
    const struct image *image = image_of(f, source, map, &bias, &err);
    if (!image)
        return err == -EACCES || err == -EPERM ? PY_DENIED : err == -ESRCH ? PY_GONE : PY_NONE;
    if (!image->runtime)
        return image->other ? PY_OTHER : PY_NONE;
    *rt = (struct py_runtime){.memory = {.source = *source}, .address = image->runtime + bias};
    enum py_found found = choose_layout(image, rt);
    return found == PY_READY ? probe(rt) : found;
}

static bool looks_like_python(const char *path)
{
    const char *name = base_name(path);
    return strncmp(name, "libpython", 9) == 0 || strncmp(name, "python", 6) == 0 ||
           strncmp(name, "libpypy", 7) == 0 || strncmp(name, "pypy", 4) == 0;
}

/* Less is better; keeps the most telling answer over several candidates. */
static int rank(enum py_found found)
{
    static const enum py_found order[] = {PY_READY,       PY_NOT_READY, PY_GONE, PY_DENIED,
                                          PY_UNSUPPORTED, PY_OTHER,     PY_NONE};
    int i = 0;
    while (order[i] != found)
        i++;
    return i;
}

enum py_found py_find(struct py_finder *f, const struct source *source, struct py_runtime *rt)
{
    struct candidates all = {.list = calloc(CANDIDATES_MAX, sizeof(*all.list))};
    char exe[PROC_PATH_MAX] = "";
    enum py_found best = PY_NONE;
    *rt = (struct py_runtime){0};
    if (!all.list)
        return PY_NONE;
    int err = source_maps(source, collect, &all);
    source_exe(source, exe, sizeof(exe));
    /* Pass 0: the executable and what is named like Python. Pass 1: everything else. */
    for (int pass = 0; pass < 2 && best == PY_NONE; pass++) {
        for (size_t i = 0; i < all.count && best != PY_READY; i++) {
            const struct proc_map *map = &all.list[i].map;
            bool likely = looks_like_python(map->path) || strcmp(map->path, exe) == 0;
            if (likely != (pass == 0))
                continue;
            struct py_runtime found_rt = {0};
            enum py_found found = try_candidate(f, source, map, &found_rt);
            if (rank(found) < rank(best)) {
                best = found;
                *rt = found_rt;
            }
        }
    }
    candidates_release(&all);
    if (err == -EACCES || err == -EPERM)
        return PY_DENIED;
    return err == -ENOENT || err == -ESRCH ? PY_GONE : best;
}

static bool looks_like_asyncio(const char *path)
{
    return strncmp(base_name(path), "_asyncio", 8) == 0;
}

int py_find_asyncio(struct py_finder *f, const struct source *source, struct layout_asyncio *out)
{
    struct candidates all = {.list = calloc(CANDIDATES_MAX, sizeof(*all.list))};
    int err = -ENOENT;
    if (!all.list)
        return -ENOMEM;
    source_maps(source, collect, &all);
    /* Pass 0: the extension. Pass 1: everything else; mostly the executable or libpython, which are first. */
    for (int pass = 0; pass < 2 && err; pass++) {
        for (size_t i = 0; i < all.count && err; i++) {
            const struct proc_map *map = &all.list[i].map;
            uint64_t bias;
            int unused;
            if (looks_like_asyncio(map->path) != (pass == 0))
                continue;
            const struct image *image = image_of(f, source, map, &bias, &unused);
            if (!image || !image->has_asyncio)
                continue;
            *out = image->asyncio;
            err = 0;
        }
    }
    candidates_release(&all);
    return err;
}
