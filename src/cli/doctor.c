/* zond doctor: what this machine and user allow, found by trying, and how to allow more. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/rights.h"
#include "cli/verbs.h"
#include "os/memory.h"
#include "os/proc.h"

static void say(bool good, const char *what, const char *found)
{
    printf("  %s %-34s %s\n", good ? "ok  " : "look", what, found);
}

/* Reads a word of a child of our own, as `zond run` does. */
static int try_child(void)
{
    static volatile uint64_t word = 0x7a6f6e64;
    uint64_t got = 0;
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        pause();
        _exit(0);
    }
    struct memory memory = {.source.pid = pid};
    int err = memory_read_u64(&memory, (uint64_t)(uintptr_t)&word, &got);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return err ? err : got == word ? 0 : -EIO;
}

static void check_run(void)
{
    int err = try_child();
    say(!err, "zond run: read a child's memory", err ? strerror(-err) : "works");
    if (err)
        puts("       process_vm_readv is forbidden here, by seccomp most likely. In a container:\n"
             "       --cap-add=SYS_PTRACE, or --security-opt seccomp=unconfined.");
}

static void check_attach(void)
{
    struct rights r = rights_of_us();
    char found[96];
    bool good = r.sys_ptrace || (r.ptrace_scope <= 0 && geteuid() != 0) || r.ptrace_scope < 0;
    snprintf(found, sizeof(found), "%s%s", r.sys_ptrace ? "any process" : "processes of your own",
             !r.sys_ptrace && r.ptrace_scope == 1 ? ", if zond started them" : "");
    if (!r.sys_ptrace && r.ptrace_scope >= 2)
        snprintf(found, sizeof(found), "nothing: kernel.yama.ptrace_scope is %d", r.ptrace_scope);
    say(good, "zond attach: read other processes", found);
    if (!r.sys_ptrace && r.ptrace_scope >= 1)
        puts("       As root, or: sudo sysctl kernel.yama.ptrace_scope=0");
    else if (!r.sys_ptrace && r.in_container)
        puts("       In a container: --cap-add=SYS_PTRACE allows the processes of other users.");
    else if (!r.sys_ptrace)
        puts("       As root: the processes of other users, too.");
}

static void check_accounts(void)
{
    struct proc_thread files;
    struct proc_sched sched;
    struct proc_syscall call;
    char found[96];
    proc_thread_init(&files);
    int err = proc_thread_open(&files, getpid(), getpid());
    if (!err)
        err = proc_thread_sched(&files, &sched);
    snprintf(found, sizeof(found), "to the ns; of a running thread every %.0f ms",
             (double)proc_tick_ns() / 1e6);
    say(!err, "CPU time of threads (schedstat)", err ? "this kernel does not account it" : found);
    bool calls = proc_thread_syscall(&files, &call) == 0;
    say(calls, "system call of waiting threads", calls ? "works" : "not allowed: waits stay without a name");
    proc_thread_close(&files);
}

int verb_doctor(const struct options *o)
{
    (void)o;
    struct utsname system;
    uname(&system);
    printf("zond " ZOND_VERSION " on Linux %s, user %u%s\n\n", system.release, (unsigned)geteuid(),
           rights_of_us().in_container ? ", in a container" : "");
    check_run();
    check_attach();
    check_accounts();
    return 0;
}
