/* native: a process is stepped through its work, one instruction at a time, and unwound at each. So every
 * moment that a thread can be caught in is met: prologues, epilogues, stubs that jump into libraries, the
 * dynamic linker at the first call, the vDSO, a signal handler.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "native/unwind.h"

#include "support.h"

/* Of the work, so many instructions are looked at; more than each row has, but for the sanitizers' builds. */
#define STEPS_MAX 20000

static int descending(const void *a, const void *b)
{
    return *(const int *)b - *(const int *)a;
}

static void work_calls_back(void)
{
    int numbers[] = {3, 1, 2};
    qsort(numbers, ARRAY_LEN(numbers), sizeof(*numbers), descending);
}

static void work_vdso(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
}

static volatile sig_atomic_t handled;

static void handle(int signo)
{
    handled = signo;
}

static void work_signal(void)
{
    raise(SIGUSR1);
}

static void work_library(void)
{
    char text[64];
    snprintf(text, sizeof(text), "%d %s", getppid(), strerror(ENOENT));
}

static const struct row {
    const char *name;
    void (*work)(void);
    const char *meets; /* a function that some of the stacks must have innermost */
} rows[] = {
    {"a library's function, bound at its first call", work_library, "getppid"},
    {"C called back by C", work_calls_back, "descending"},
    {"the vDSO", work_vdso, "clock_gettime"},
    {"a signal handler", work_signal, "handle"},
};

static void child(const struct row *row)
{
    signal(SIGUSR1, handle);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    row->work();
    _exit(0);
}

/* The next instruction. False when the process ended. A signal on its way is delivered. */
static bool step(pid_t pid, int *signal)
{
    int status;
    assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)(intptr_t)*signal), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    *signal = WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP ? WSTOPSIG(status) : 0;
    return WIFSTOPPED(status);
}

struct walk {
    struct native native;
    struct moment moment;
    struct native_stack stack;
    size_t steps, met;
};

static void look(struct walk *w, const struct row *row)
{
    struct stopped held = {.tid = w->moment.tid};
    struct native_place inner;
    assert_int_equal(stop_registers(&held, &w->moment.registers), 0);
    assert_int_equal(native_copy_stack(&w->native, &w->moment, 0), 0);
    native_unwind(&w->native, &w->moment, &w->stack);
    inner = modules_place(&w->native.modules, w->stack.frames[0].pc, false);
    if (!w->stack.whole) {
        for (size_t i = 0; i < w->stack.depth; i++) {
            struct native_place place = modules_place(&w->native.modules, w->stack.frames[i].pc, false);
            print_error("#%zu %s (%s+0x%lx)\n", i, place.function, place.module, place.offset);
        }
        fail_msg("%s: step %zu, in %s: the stack ends early", row->name, w->steps, inner.function);
    }
    w->met += strstr(inner.function, row->meets) != NULL;
}

static void walk(const struct row *row)
{
    struct walk w = {0};
    int status, signal = 0;
    w.moment.tid = fork();
    if (w.moment.tid == 0)
        child(row);
    assert_int_equal(waitpid(w.moment.tid, &status, 0), w.moment.tid);
    assert_true(WIFSTOPPED(status));
    w.moment.copy = malloc(NATIVE_COPY_MAX);
    w.stack.frames = malloc(NATIVE_DEPTH_MAX * sizeof(*w.stack.frames));
    assert_int_equal(native_init(&w.native, &(struct source){.pid = w.moment.tid}), 0);
    while (w.steps < STEPS_MAX && step(w.moment.tid, &signal)) {
        w.steps++;
        look(&w, row);
    }
    print_message("%s: %zu instructions, %zu in %s\n", row->name, w.steps, w.met, row->meets);
    assert_true(w.met);
    kill(w.moment.tid, SIGKILL);
    waitpid(w.moment.tid, &status, 0);
    native_release(&w.native);
    free(w.stack.frames);
    free(w.moment.copy);
}

static void test_every_instruction(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        walk(&rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_instruction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
