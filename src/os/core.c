/* core: see core.h. The layout is that of the kernel (fs/binfmt_elf.c): a file header, program headers, of
 * which PT_NOTE leads to what is known of the process and each PT_LOAD to a piece of its memory. gdb writes
 * the same. */
#include "os/core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <unistd.h>

#include "base/list.h"
#include "os/file.h"

/* vm.max_map_count goes up to a few hundred thousand where people raise it. */
#define SEGMENTS_MAX (1u << 20)
/* A thread has up to ten notes. */
#define NOTES_MAX (1u << 20)
#define THREADS_MAX (1u << 16)
/* kernel.core_file_note_size_max is 16 MiB at most. */
#define FILE_NOTE_MAX (16u << 20)
/* The kernel keeps the first page of a mapped ELF file in the core. */
#define PAGE 4096u
#define BUILD_ID_MAX 64

/* Memory [start, end), of which [start, filled) is in the core, from `offset` on. */
struct segment {
    uint64_t start, end, filled, offset;
    bool writable, executable;
};

struct mapping {
    uint64_t start, end, offset;
    size_t file;
};

/* A file that is mapped in one piece or several in a row. fd: when it is open; else err says why not: 0: it
 * was not asked for yet. start: where its beginning is mapped, when it is. */
struct file {
    const char *path; /* in the core's names */
    bool has_start;
    uint64_t start;
    int fd, err;
};

struct core {
    int fd;
    uint64_t size, cut;
    char *exe;
    struct segment *segments;
    size_t segment_count;
    struct mapping *mappings;
    size_t mapping_count, mapping_cap;
    struct file *files;
    size_t file_count, file_cap;
    size_t exe_file; /* index; file_count: not known */
    char *names;     /* of the files, each ended by NUL */
    struct core_thread *threads;
    size_t thread_count, thread_cap;
    struct core_end end;
    bool has_siginfo;
    pid_t pid, ppid;
    char command[ELF_PRARGSZ + 1];
    uint64_t phdr, vdso;
};

static int read_at(int fd, uint64_t offset, void *to, size_t len)
{
    if (offset > INT64_MAX - len)
        return -EFAULT;
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)to + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EFAULT;
        done += (size_t)n;
    }
    return 0;
}

/* Segments -------------------------------------------------------------------------------------------- */

static int by_start(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void add_segment(struct core *c, const Elf64_Phdr *p)
{
    if (p->p_memsz == 0 || p->p_vaddr + p->p_memsz < p->p_vaddr)
        return;
    uint64_t filled = min_u64(p->p_filesz, p->p_memsz);
    uint64_t have = p->p_offset < c->size ? min_u64(filled, c->size - p->p_offset) : 0;
    c->cut += filled - have;
    c->segments[c->segment_count++] = (struct segment){.start = p->p_vaddr,
                                                       .end = p->p_vaddr + p->p_memsz,
                                                       .filled = p->p_vaddr + have,
                                                       .offset = p->p_offset,
                                                       .writable = p->p_flags & PF_W,
                                                       .executable = p->p_flags & PF_X};
}

static const struct segment *segment_at(const struct core *c, uint64_t at)
{
    size_t n = list_up_to(c->segments, c->segment_count, sizeof(*c->segments), at);
    return n && at < c->segments[n - 1].end ? &c->segments[n - 1] : NULL;
}

/* Notes ----------------------------------------------------------------------------------------------- */

/* A thread that waits in a system call was woken by the signal that ended the process, or by the debugger:
 * the call returns that it was interrupted. orig_rax is negative where no call led into the kernel. */
static struct proc_syscall where_of(const struct user_regs_struct *r)
{
    int64_t number = (int64_t)r->orig_rax, result = (int64_t)r->rax;
    bool interrupted = result == -EINTR || (result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK);
    bool waits = number >= 0 && number <= INT16_MAX && interrupted;
    return (struct proc_syscall){
        .running = !waits, .number = waits ? (int)number : -1, .arg0 = r->rdi, .sp = r->rsp, .pc = r->rip};
}

/* The first is the one that got the signal. */
static int take_thread(struct core *c, const uint8_t *desc)
{
    struct elf_prstatus status;
    struct user_regs_struct r;
    struct core_thread *threads = list_room(c->threads, &c->thread_cap, c->thread_count, sizeof(*threads));
    if (!threads)
        return -ENOMEM;
    c->threads = threads;
    if (c->thread_count == THREADS_MAX)
        return -E2BIG;
    memcpy(&status, desc, sizeof(status));
    memcpy(&r, status.pr_reg, sizeof(r));
    if (!c->thread_count)
        c->end = (struct core_end){.signal = status.pr_cursig, .tid = status.pr_pid};
    threads[c->thread_count++] =
        (struct core_thread){.tid = status.pr_pid, .registers = stop_registers_of(&r), .where = where_of(&r)};
    return 0;
}

static void take_process(struct core *c, const uint8_t *desc)
{
    struct elf_prpsinfo info;
    memcpy(&info, desc, sizeof(info));
    c->pid = info.pr_pid;
    c->ppid = info.pr_ppid;
    memcpy(c->command, info.pr_psargs, ELF_PRARGSZ);
}

/* gdb writes one for each thread, the kernel only the first. */
static void take_siginfo(struct core *c, const uint8_t *desc)
{
    siginfo_t info;
    memcpy(&info, desc, sizeof(info));
    int s = info.si_signo;
    bool about = s == SIGSEGV || s == SIGBUS || s == SIGILL || s == SIGFPE;
    if (!c->has_siginfo && s == c->end.signal && about && info.si_code > 0 && info.si_code != SI_KERNEL) {
        c->end.has_address = true;
        c->end.address = (uint64_t)(uintptr_t)info.si_addr;
    }
    c->has_siginfo = true;
}

static void take_auxv(struct core *c, const uint8_t *desc, size_t len)
{
    for (Elf64_auxv_t entry; len >= sizeof(entry); desc += sizeof(entry), len -= sizeof(entry)) {
        memcpy(&entry, desc, sizeof(entry));
        if (entry.a_type == AT_PHDR)
            c->phdr = entry.a_un.a_val;
        else if (entry.a_type == AT_SYSINFO_EHDR)
            c->vdso = entry.a_un.a_val;
    }
}

static int add_mapping(struct core *c, const uint64_t entry[3], uint64_t page, const char *path)
{
    uint64_t start = entry[0], end = entry[1], offset;
    if (end <= start || __builtin_mul_overflow(entry[2], page, &offset))
        return 0;
    struct mapping *mappings = list_room(c->mappings, &c->mapping_cap, c->mapping_count, sizeof(*mappings));
    if (!mappings)
        return -ENOMEM;
    c->mappings = mappings;
    struct file *last = c->file_count ? &c->files[c->file_count - 1] : NULL;
    if (!last || strcmp(last->path, path) != 0) {
        struct file *files = list_room(c->files, &c->file_cap, c->file_count, sizeof(*files));
        if (!files)
            return -ENOMEM;
        c->files = files;
        last = &files[c->file_count++];
        *last = (struct file){.path = path, .fd = -1};
    }
    if (!offset && !last->has_start) {
        last->has_start = true;
        last->start = start;
    }
    mappings[c->mapping_count++] =
        (struct mapping){.start = start, .end = end, .offset = offset, .file = c->file_count - 1};
    return 0;
}

/* Two numbers: how many, and the unit of offsets; three of each mapping; then their names. */
static int take_files(struct core *c, const uint8_t *desc, size_t len)
{
    uint64_t head[2], entry[3];
    if (c->names || len < sizeof(head))
        return 0;
    memcpy(head, desc, sizeof(head));
    if (head[0] > (len - sizeof(head)) / sizeof(entry))
        return 0;
    size_t entries = (size_t)head[0] * sizeof(entry), names_len = len - sizeof(head) - entries;
    c->names = malloc(names_len + 1);
    if (!c->names)
        return -ENOMEM;
    memcpy(c->names, desc + sizeof(head) + entries, names_len);
    c->names[names_len] = 0;
    const char *path = c->names, *end = c->names + names_len;
    int err = 0;
    for (size_t i = 0; i < head[0] && path < end && !err; i++, path += strlen(path) + 1) {
        memcpy(entry, desc + sizeof(head) + i * sizeof(entry), sizeof(entry));
        if (path[0] == '/')
            err = add_mapping(c, entry, head[1], path);
    }
    return err;
}

static int take_note(struct core *c, uint32_t type, const uint8_t *desc, size_t len)
{
    if (type == NT_PRSTATUS && len >= sizeof(struct elf_prstatus))
        return take_thread(c, desc);
    if (type == NT_PRPSINFO && len >= sizeof(struct elf_prpsinfo))
        take_process(c, desc);
    else if (type == NT_SIGINFO && len >= sizeof(siginfo_t))
        take_siginfo(c, desc);
    else if (type == NT_AUXV)
        take_auxv(c, desc, len);
    else if (type == NT_FILE)
        return take_files(c, desc, len);
    return 0;
}

static bool is_wanted(const Elf64_Nhdr *note, const char *name)
{
    bool known = note->n_type == NT_PRSTATUS || note->n_type == NT_PRPSINFO || note->n_type == NT_SIGINFO ||
                 note->n_type == NT_AUXV || note->n_type == NT_FILE;
    return known && memcmp(name, "CORE", 4) == 0 && note->n_descsz <= FILE_NOTE_MAX;
}

static uint64_t padded(uint32_t size)
{
    return ((uint64_t)size + 3) & ~UINT64_C(3);
}

/* The note at an offset; *at: behind it. -ENODATA: it does not end within the file. */
static int read_note(struct core *c, uint64_t *at, uint64_t end)
{
    struct {
        Elf64_Nhdr note;
        char name[4];
    } head;
    if (end - *at < sizeof(head) || read_at(c->fd, *at, &head, sizeof(head)) != 0)
        return -ENODATA;
    uint64_t desc_at = *at + sizeof(head.note) + padded(head.note.n_namesz);
    uint64_t next = desc_at + padded(head.note.n_descsz);
    if (next > end)
        return -ENODATA;
    *at = next;
    if (head.note.n_namesz < sizeof(head.name) || !is_wanted(&head.note, head.name))
        return 0;
    uint8_t *desc = malloc((size_t)head.note.n_descsz + 1);
    if (!desc)
        return -ENOMEM;
    int err = read_at(c->fd, desc_at, desc, head.note.n_descsz);
    err = err ? -ENODATA : take_note(c, head.note.n_type, desc, head.note.n_descsz);
    free(desc);
    return err;
}

static int read_notes(struct core *c, const Elf64_Phdr *p, size_t *count)
{
    uint64_t at = p->p_offset, end = p->p_offset < c->size ? min_u64(p->p_filesz, c->size - at) + at : at;
    int err = 0;
    c->cut += p->p_filesz - (end - at);
    while (!err && at < end)
        err = ++*count > NOTES_MAX ? -E2BIG : read_note(c, &at, end);
    /* What stands before the cut holds. */
    return err == -ENODATA ? 0 : err;
}

/* The file ---------------------------------------------------------------------------------------------- */

static int check_header(const struct core *c, const Elf64_Ehdr *h)
{
    if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
        return -ENOEXEC;
    if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB)
        return -ENOTSUP;
    if (h->e_type != ET_CORE)
        return -EINVAL;
    if (h->e_machine != EM_X86_64)
        return -ENOTSUP;
    return h->e_phentsize == sizeof(Elf64_Phdr) && h->e_phoff < c->size ? 0 : -ENODATA;
}

/* More than a 16-bit number of them stands in the first section's header (ELF gABI, PN_XNUM). */
static int count_segments(const struct core *c, const Elf64_Ehdr *h, size_t *count)
{
    Elf64_Shdr first;
    *count = h->e_phnum;
    if (h->e_phnum != PN_XNUM)
        return 0;
    if (read_at(c->fd, h->e_shoff, &first, sizeof(first)) != 0)
        return -ENODATA;
    *count = first.sh_info;
    return *count > SEGMENTS_MAX ? -E2BIG : 0;
}

static int read_segments(struct core *c, const Elf64_Phdr *headers, size_t count)
{
    size_t notes = 0;
    int err = 0;
    c->segments = calloc(count + 1, sizeof(*c->segments));
    if (!c->segments)
        return -ENOMEM;
    for (size_t i = 0; i < count && !err; i++) {
        if (headers[i].p_type == PT_LOAD)
            add_segment(c, &headers[i]);
        else if (headers[i].p_type == PT_NOTE)
            err = read_notes(c, &headers[i], &notes);
    }
    qsort(c->segments, c->segment_count, sizeof(*c->segments), by_start);
    return err;
}

static const struct mapping *mapping_at(const struct core *c, uint64_t at)
{
    size_t n = c->mappings ? list_up_to(c->mappings, c->mapping_count, sizeof(*c->mappings), at) : 0;
    return n && at < c->mappings[n - 1].end ? &c->mappings[n - 1] : NULL;
}

static int read_core(struct core *c)
{
    Elf64_Ehdr h;
    struct stat st;
    size_t count;
    if (fstat(c->fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || read_at(c->fd, 0, &h, sizeof(h)) != 0)
        return -ENOEXEC;
    c->size = (uint64_t)st.st_size;
    int err = check_header(c, &h);
    if (!err)
        err = count_segments(c, &h, &count);
    if (err)
        return err;
    if (count > (c->size - h.e_phoff) / sizeof(Elf64_Phdr))
        return -ENODATA;
    Elf64_Phdr *headers = calloc(count + 1, sizeof(*headers));
    if (!headers)
        return -ENOMEM;
    err = read_at(c->fd, h.e_phoff, headers, count * sizeof(*headers));
    err = err ? -ENODATA : read_segments(c, headers, count);
    free(headers);
    return err ? err : c->thread_count ? 0 : -ENODATA;
}

int core_new(int fd, const char *exe, struct core **out)
{
    struct core *c = calloc(1, sizeof(*c));
    *out = NULL;
    if (!c) {
        close(fd);
        return -ENOMEM;
    }
    c->fd = fd;
    c->exe = exe ? strdup(exe) : NULL;
    int err = exe && !c->exe ? -ENOMEM : read_core(c);
    if (err) {
        core_free(c);
        return err;
    }
    if (c->mapping_count)
        qsort(c->mappings, c->mapping_count, sizeof(*c->mappings), by_start);
    const struct mapping *m = mapping_at(c, c->phdr);
    c->exe_file = m ? m->file : c->file_count;
    *out = c;
    return 0;
}

void core_free(struct core *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->file_count; i++) {
        if (c->files[i].fd >= 0)
            close(c->files[i].fd);
    }
    close(c->fd);
    free(c->exe);
    free(c->segments);
    free(c->mappings);
    free(c->files);
    free(c->names);
    free(c->threads);
    free(c);
}

/* Mapped files ---------------------------------------------------------------------------------------- */

/* The build-id in the first page of a file, by its program headers. 0: none. */
static size_t build_id(const uint8_t *page, uint8_t out[BUILD_ID_MAX])
{
    Elf64_Ehdr h;
    memcpy(&h, page, sizeof(h));
    for (size_t i = 0; i < h.e_phnum && h.e_phoff < PAGE; i++) {
        Elf64_Phdr p;
        if (h.e_phoff + (i + 1) * sizeof(p) > PAGE)
            return 0;
        memcpy(&p, page + h.e_phoff + i * sizeof(p), sizeof(p));
        if (p.p_type != PT_NOTE || p.p_offset >= PAGE)
            continue;
        uint64_t end = p.p_offset + min_u64(p.p_filesz, PAGE - p.p_offset);
        for (uint64_t at = p.p_offset; at + sizeof(Elf64_Nhdr) <= end;) {
            Elf64_Nhdr note;
            memcpy(&note, page + at, sizeof(note));
            uint64_t desc = at + sizeof(note) + padded(note.n_namesz);
            at = desc + padded(note.n_descsz);
            if (note.n_type != NT_GNU_BUILD_ID || note.n_descsz > BUILD_ID_MAX || at > end)
                continue;
            memcpy(out, page + desc, note.n_descsz);
            return note.n_descsz;
        }
    }
    return 0;
}

static bool is_same(const uint8_t *a, const uint8_t *b)
{
    uint8_t id_a[BUILD_ID_MAX], id_b[BUILD_ID_MAX];
    size_t len_a = build_id(a, id_a), len_b = build_id(b, id_b);
    if (len_a && len_b)
        return len_a == len_b && memcmp(id_a, id_b, len_a) == 0;
    /* Behind the headers there may be data that the process has changed, as patchelf orders files. */
    Elf64_Ehdr h;
    memcpy(&h, a, sizeof(h));
    uint64_t headers = h.e_phoff < PAGE ? h.e_phoff + (uint64_t)h.e_phnum * sizeof(Elf64_Phdr) : sizeof(h);
    return memcmp(a, b, min_u64(headers, PAGE)) == 0;
}

/* What the core itself holds at an address: up to the end of what is there. */
static int read_filled(struct core *c, uint64_t at, void *to, size_t len)
{
    const struct segment *s = segment_at(c, at);
    if (!s || at >= s->filled || s->filled - at < len)
        return -EFAULT;
    return read_at(c->fd, s->offset + (at - s->start), to, len);
}

/* Is it the file that the process had mapped? Where the core lacks its first page, that cannot be told. */
static bool was_mapped(struct core *c, const struct file *f, int fd)
{
    uint8_t then[PAGE], now[PAGE];
    if (!f->has_start || read_filled(c, f->start, then, sizeof(then)) != 0 ||
        memcmp(then, ELFMAG, SELFMAG) != 0)
        return true;
    return read_at(fd, 0, now, sizeof(now)) == 0 && is_same(then, now);
}

/* Opened at most once. 0 or why it cannot be used. */
static int use_file(struct core *c, struct file *f)
{
    bool is_exe = f == c->files + c->exe_file;
    if (f->fd >= 0 || f->err)
        return f->err;
    int fd = file_open(is_exe && c->exe ? c->exe : f->path, 0, NULL);
    if (fd >= 0 && !was_mapped(c, f, fd)) {
        close(fd);
        fd = -ESTALE;
    }
    if (fd >= 0)
        f->fd = fd;
    else
        f->err = fd;
    return f->err;
}

const char *core_exe(const struct core *c)
{
    return c->exe_file < c->file_count ? c->files[c->exe_file].path : "";
}

int core_check_exe(struct core *c)
{
    return c->exe_file < c->file_count ? use_file(c, &c->files[c->exe_file]) : -ENODATA;
}

int core_maps(const struct core *c, int (*each)(void *ctx, const struct proc_map *map), void *ctx)
{
    int ret = 0;
    for (size_t i = 0; i < c->mapping_count && !ret; i++) {
        const struct mapping *m = &c->mappings[i];
        const struct segment *s = segment_at(c, m->start);
        struct proc_map map = {.start = m->start,
                               .end = m->end,
                               .offset = m->offset,
                               .executable = !s || s->executable,
                               .path = c->files[m->file].path};
        ret = each(ctx, &map);
    }
    return ret;
}

int core_open_mapped(struct core *c, const struct proc_map *map)
{
    const struct mapping *m = mapping_at(c, map->start);
    int err = m ? use_file(c, &c->files[m->file]) : -ENOENT;
    if (err)
        return err;
    int fd = fcntl(c->files[m->file].fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

void core_each_lost(const struct core *c, void (*each)(void *ctx, const char *path, int err), void *ctx)
{
    for (size_t i = 0; i < c->file_count; i++) {
        if (c->files[i].err)
            each(ctx, c->files[i].path, c->files[i].err);
    }
}

/* Memory ------------------------------------------------------------------------------------------------ */

/* From the file that is mapped there. What could be written is the core's to tell: the file has it as it was
 * before. *len: at most so much; how much there was. */
static int read_mapped(struct core *c, const struct segment *s, uint64_t at, void *to, size_t *len)
{
    const struct mapping *m = mapping_at(c, at);
    if (!m || (s && s->writable) || use_file(c, &c->files[m->file]) != 0)
        return -EFAULT;
    *len = min_u64(*len, m->end - at);
    return read_at(c->files[m->file].fd, m->offset + (at - m->start), to, *len);
}

int core_read(struct core *c, uint64_t at, void *to, size_t len)
{
    int err = 0;
    if (at + len < at)
        return -EFAULT;
    for (size_t n; len && !err; at += n, to = (char *)to + n, len -= n) {
        const struct segment *s = segment_at(c, at);
        n = s ? min_u64(len, (at < s->filled ? s->filled : s->end) - at) : len;
        if (s && at < s->filled)
            err = read_at(c->fd, s->offset + (at - s->start), to, n);
        else
            err = read_mapped(c, s, at, to, &n);
    }
    return err ? -EFAULT : 0;
}

/* What is known of the process -------------------------------------------------------------------------- */

pid_t core_pid(const struct core *c)
{
    return c->pid;
}

pid_t core_ppid(const struct core *c)
{
    return c->ppid;
}

int core_command(const struct core *c, struct buf *out)
{
    size_t len = strlen(c->command);
    while (len && c->command[len - 1] == ' ')
        len--;
    for (size_t i = 0; i < len; i++)
        buf_put_u8(out, c->command[i] == ' ' ? 0 : (uint8_t)c->command[i]);
    if (len)
        buf_put_u8(out, 0);
    return out->error;
}

struct core_end core_end(const struct core *c)
{
    return c->end;
}

uint64_t core_cut(const struct core *c)
{
    return c->cut;
}

uint64_t core_vdso(const struct core *c, uint64_t *size)
{
    const struct segment *s = c->vdso ? segment_at(c, c->vdso) : NULL;
    *size = s && c->vdso < s->filled ? s->filled - c->vdso : 0;
    return *size ? c->vdso : 0;
}

int core_threads(const struct core *c, int (*each)(void *ctx, pid_t tid), void *ctx)
{
    int ret = 0;
    for (size_t i = 0; i < c->thread_count && !ret; i++)
        ret = each(ctx, c->threads[i].tid);
    return ret;
}

const struct core_thread *core_thread(const struct core *c, pid_t tid)
{
    for (size_t i = 0; i < c->thread_count; i++) {
        if (c->threads[i].tid == tid)
            return &c->threads[i];
    }
    return NULL;
}
