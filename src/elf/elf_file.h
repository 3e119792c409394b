/* elf_file: symbols, sections and load addresses of an ELF file, by libelf.
 *
 * The file is not trusted: it can be corrupt, cut, or replaced while it is read.
 */
#ifndef ZOND_ELF_ELF_FILE_H
#define ZOND_ELF_ELF_FILE_H

#include "base/base.h"

struct elf_file;

/* fd stays the caller's and open while the object lives. -ENOEXEC: no ELF file for this machine. */
int elf_file_new(int fd, struct elf_file **out);
void elf_file_free(struct elf_file *f);

struct elf_symbol {
    const char *name;
    uint64_t value; /* in: ignored; out: virtual address in the file, 0 when not found */
    uint64_t size;
};

/* Looks several symbols up at once, in .dynsym, then .symtab. Returns how many were found. */
size_t elf_file_symbols(struct elf_file *f, struct elf_symbol *symbols, size_t n);

/* A section by name: its virtual address, file offset and size. -ENOENT. */
struct elf_section {
    uint64_t address, offset, size;
};
int elf_file_section(struct elf_file *f, const char *name, struct elf_section *out);

/* What to add to a virtual address of the file when the byte at file offset `offset` is mapped at `start`.
 * -ENOENT when no loaded segment holds that offset. */
int elf_file_bias(struct elf_file *f, uint64_t start, uint64_t offset, uint64_t *bias);

/* Copies len bytes at a virtual address of the file. */
int elf_file_read(struct elf_file *f, uint64_t address, void *to, size_t len);

#endif
