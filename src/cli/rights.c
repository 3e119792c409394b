/* rights: see rights.h. */
#include "cli/rights.h"

#include <linux/capability.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/proc.h"

static int read_ptrace_scope(void)
{
    FILE *f = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
    int scope = -1;
    if (f) {
        if (fscanf(f, "%d", &scope) != 1)
            scope = -1;
        fclose(f);
    }
    return scope;
}

static bool have_sys_ptrace(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    return data[CAP_SYS_PTRACE / 32].effective >> (CAP_SYS_PTRACE % 32) & 1;
}

/* The number of the first PID namespace is fixed: PROC_PID_INIT_INO in the kernel's proc_ns.h. */
#define FIRST_PID_NS 0xEFFFFFFCu

struct rights rights_of_us(void)
{
    struct stat st;
    return (struct rights){.ptrace_scope = read_ptrace_scope(),
                           .sys_ptrace = have_sys_ptrace(),
                           .in_container = stat("/proc/self/ns/pid", &st) == 0 && st.st_ino != FIRST_PID_NS};
}

void rights_explain(FILE *to, pid_t pid)
{
    struct rights r = rights_of_us();
    uid_t owner = geteuid();
    proc_uid(pid, &owner);
    fprintf(to, "zond: process %d may not be looked into: ", (int)pid);
    if (owner != geteuid() && !r.sys_ptrace)
        fprintf(
            to,
            "it belongs to user %u and you are user %u.\n  Run zond as that user or as root: sudo zond ...\n",
            (unsigned)owner, (unsigned)geteuid());
    else if (proc_same_ns(pid, "user") == 0)
        fputs("it is in another user namespace (a rootless container).\n"
              "  Run zond inside of that container, or as root on the host.\n",
              to);
    else if (r.ptrace_scope >= 2 && !r.sys_ptrace)
        fprintf(to,
                "kernel.yama.ptrace_scope is %d, which forbids it to all but root.\n  Run zond as root%s.\n",
                r.ptrace_scope,
                r.ptrace_scope == 3 ? " after a reboot with a lower value; 3 forbids it to root, too" : "");
    else if (r.ptrace_scope == 1 && !r.sys_ptrace)
        fputs("kernel.yama.ptrace_scope is 1, which allows only the children of zond.\n"
              "  Start the program by `zond run`, run zond as root, or: sudo sysctl "
              "kernel.yama.ptrace_scope=0\n",
              to);
    else if (r.in_container && !r.sys_ptrace)
        fputs("zond is in a container without the capability SYS_PTRACE.\n"
              "  Start the container with --cap-add=SYS_PTRACE, or run zond on the host.\n",
              to);
    else
        fputs(
            "the kernel or a security module (seccomp, AppArmor, SELinux) forbids it, or the program has "
            "made\n"
            "  itself unreadable (PR_SET_DUMPABLE). Try as root; in a container add --cap-add=SYS_PTRACE.\n",
            to);
}
