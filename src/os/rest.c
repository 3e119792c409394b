/* rest: see rest.h. */
#include "os/rest.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>

/* The code segment of 64-bit programs (arch/x86/include/asm/segment.h, __USER_CS). */
#define CS_64 0x33
/* The instruction `syscall`, as the low bytes of a word, and its length. */
#define SYSCALL_CODE 0x050fu
#define SYSCALL_LEN 2
/* The cause of a stop at the beginning or end of a system call, by PTRACE_O_TRACESYSGOOD. */
#define SYSCALL_STOP (SIGTRAP | 0x80)

static int read_registers(pid_t tid, struct user_regs_struct *regs)
{
    struct iovec to = {.iov_base = regs, .iov_len = sizeof(*regs)};
    return ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &to) < 0 ? -errno : 0;
}

static int write_registers(pid_t tid, struct user_regs_struct *regs)
{
    struct iovec from = {.iov_base = regs, .iov_len = sizeof(*regs)};
    return ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &from) < 0 ? -errno : 0;
}

static bool has_syscall_before(pid_t tid, uint64_t pc)
{
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, tid, (void *)(pc - SYSCALL_LEN), NULL);
    return !errno && (word & 0xffff) == SYSCALL_CODE;
}

/* A file at its limit is written short, too: to write on would bring SIGXFSZ. */
static bool is_stream(pid_t tid, uint64_t fd)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, (int)fd);
    return stat(path, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISCHR(st.st_mode));
}

/* Was it a call that moves all it is told to, and of which a part is done? */
static bool is_broken_off(pid_t tid, const struct user_regs_struct *r)
{
    bool moves_all = r->orig_rax == SYS_write || r->orig_rax == SYS_sendto ||
                     (r->orig_rax == SYS_recvfrom && (r->r10 & MSG_WAITALL));
    return moves_all && (int64_t)r->rax > 0 && r->rax < r->rdx && r->cs == CS_64 && is_stream(tid, r->rdi) &&
           has_syscall_before(tid, r->rip);
}

bool rest_begin(pid_t tid, struct rest *rest)
{
    struct user_regs_struct r;
    if (read_registers(tid, &r) != 0 || !is_broken_off(tid, &r) ||
        ptrace(PTRACE_SETOPTIONS, tid, NULL, (void *)PTRACE_O_TRACESYSGOOD) < 0)
        return false;
    struct user_regs_struct before = r;
    *rest = (struct rest){.buffer = r.rsi, .count = r.rdx, .done = r.rax};
    r.rsi += rest->done;
    r.rdx -= rest->done;
    r.rip -= SYSCALL_LEN;
    r.rax = r.orig_rax;
    r.orig_rax = (uint64_t)-1; /* it is in no call that a signal could begin anew */
    if (write_registers(tid, &r) != 0)
        return false;
    if (ptrace(PTRACE_SYSCALL, tid, NULL, NULL) == 0)
        return true;
    write_registers(tid, &before);
    return false;
}

/* What the program sees: the call that it made, and what was written in all. */
static void restore(pid_t tid, const struct rest *rest)
{
    struct user_regs_struct r;
    if (read_registers(tid, &r) != 0)
        return;
    int64_t more = rest->entered ? (int64_t)r.rax : 0;
    r.rax = rest->done + (uint64_t)(more > 0 ? more : 0);
    r.rsi = rest->buffer;
    r.rdx = rest->count;
    r.rip += rest->entered ? 0 : SYSCALL_LEN;
    write_registers(tid, &r);
}

bool rest_step(pid_t tid, struct rest *rest, int cause)
{
    if (cause == SYSCALL_STOP && !rest->entered) {
        rest->entered = true;
        if (ptrace(PTRACE_SYSCALL, tid, NULL, NULL) == 0)
            return false;
    }
    restore(tid, rest);
    return true;
}
