/* elf_file: see elf_file.h. Symbols are searched linearly, all names in one pass: a table of 10^4 entries
 * takes less than a millisecond, and the caller keeps what it found. */
#include "elf/elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct elf_file {
    int fd;
    Elf *elf;
};

int elf_file_new(int fd, struct elf_file **out)
{
    *out = NULL;
    if (elf_version(EV_CURRENT) == EV_NONE)
        return -ENOTSUP;
    struct elf_file *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->fd = fd;
    /* Read, not mapped: a file that shrinks under a mapping would kill us by SIGBUS. */
    f->elf = elf_begin(fd, ELF_C_READ, NULL);
    if (!f->elf || elf_kind(f->elf) != ELF_K_ELF || gelf_getclass(f->elf) != ELFCLASS64) {
        elf_file_free(f);
        return -ENOEXEC;
    }
    *out = f;
    return 0;
}

void elf_file_free(struct elf_file *f)
{
    if (!f)
        return;
    elf_end(f->elf);
    free(f);
}

static size_t search_table(struct elf_file *f, Elf_Scn *scn, const GElf_Shdr *header,
                           struct elf_symbol *symbols, size_t n)
{
    size_t found = 0;
    for (Elf_Data *data = NULL; (data = elf_getdata(scn, data));) {
        size_t count = header->sh_entsize ? data->d_size / header->sh_entsize : 0;
        for (size_t i = 0; i < count && i <= INT32_MAX; i++) {
            GElf_Sym sym;
            if (!gelf_getsym(data, (int)i, &sym) || sym.st_shndx == SHN_UNDEF)
                continue;
            const char *name = elf_strptr(f->elf, header->sh_link, sym.st_name);
            for (size_t k = 0; name && k < n; k++) {
                if (symbols[k].value || strcmp(symbols[k].name, name) != 0)
                    continue;
                symbols[k].value = sym.st_value;
                symbols[k].size = sym.st_size;
                found++;
            }
        }
    }
    return found;
}

size_t elf_file_symbols(struct elf_file *f, struct elf_symbol *symbols, size_t n)
{
    static const unsigned order[] = {SHT_DYNSYM, SHT_SYMTAB};
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        symbols[i].value = 0;
    for (size_t pass = 0; pass < ARRAY_LEN(order) && found < n; pass++) {
        for (Elf_Scn *scn = NULL; (scn = elf_nextscn(f->elf, scn));) {
            GElf_Shdr header;
            if (gelf_getshdr(scn, &header) && header.sh_type == order[pass])
                found += search_table(f, scn, &header, symbols, n);
        }
    }
    return found;
}

int elf_file_section(struct elf_file *f, const char *name, struct elf_section *out)
{
    size_t names;
    if (elf_getshdrstrndx(f->elf, &names) < 0)
        return -ENOENT;
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(f->elf, scn));) {
        GElf_Shdr header;
        if (!gelf_getshdr(scn, &header))
            continue;
        const char *found = elf_strptr(f->elf, names, header.sh_name);
        if (!found || strcmp(found, name) != 0)
            continue;
        *out = (struct elf_section){header.sh_addr, header.sh_offset, header.sh_size};
        return 0;
    }
    return -ENOENT;
}

/* The loaded segment for which `inside` of its header holds. */
static int find_segment(struct elf_file *f, uint64_t value, bool by_offset, GElf_Phdr *out)
{
    size_t n;
    if (elf_getphdrnum(f->elf, &n) < 0)
        return -ENOENT;
    for (size_t i = 0; i < n && i < INT32_MAX; i++) {
        if (!gelf_getphdr(f->elf, (int)i, out) || out->p_type != PT_LOAD)
            continue;
        /* A mapping begins at a page: the first page may begin before the segment does. */
        uint64_t page = out->p_offset & 4095;
        uint64_t start = (by_offset ? out->p_offset : out->p_vaddr) - page;
        if (value >= start && value - start < out->p_filesz + page)
            return 0;
    }
    return -ENOENT;
}

int elf_file_bias(struct elf_file *f, uint64_t start, uint64_t offset, uint64_t *bias)
{
    GElf_Phdr segment;
    int err = find_segment(f, offset, true, &segment);
    if (!err)
        *bias = start - (offset - segment.p_offset + segment.p_vaddr);
    return err;
}

int elf_file_read(struct elf_file *f, uint64_t address, void *to, size_t len)
{
    GElf_Phdr segment;
    int err = find_segment(f, address, false, &segment);
    if (err)
        return err;
    ssize_t n = pread(f->fd, to, len, (off_t)(address - segment.p_vaddr + segment.p_offset));
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EFAULT;
}
