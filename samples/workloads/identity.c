/* identity MODE …: a process that does not stay who it is.
 *
 *   exec PROGRAM ARGUMENTS…    computes in `before_exec`, then becomes PROGRAM under the same pid
 *   reuse PROGRAM ARGUMENTS…   a child computes in `before_reuse` and ends; its pid is given to PROGRAM (root only)
 *   rename                     computes in `as_first` under the name `first`, then in `as_second` as `second`
 *
 * Each part of its own takes 0.4 s of CPU time.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -o identity identity.c
 */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned long sink;

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* A function of its own for each: an address says which. */
#define PART(name)                                                                                                          \
    __attribute__((noinline, noclone)) void name(void)                                                                      \
    {                                                                                                                       \
        double end = cpu_seconds() + 0.4;                                                                                   \
        do {                                                                                                                \
            for (unsigned i = 0; i < 1000000; i++)                                                                          \
                sink = sink * 6364136223846793005ul + __LINE__;                                                             \
        } while (cpu_seconds() < end);                                                                                      \
    }

PART(before_exec)
PART(before_reuse)
PART(as_first)
PART(as_second)

/* A child that has the pid which was free a moment ago. */
static pid_t fork_as(pid_t pid)
{
    struct clone_args args;

    memset(&args, 0, sizeof args);
    args.exit_signal = SIGCHLD;
    args.set_tid = (uintptr_t)&pid;
    args.set_tid_size = 1;
    return syscall(SYS_clone3, &args, sizeof args);
}

int main(int argc, char **argv)
{
    pid_t first, second;

    if (argc < 2)
        return 100;
    if (!strcmp(argv[1], "exec") && argc > 2) {
        before_exec();
        execv(argv[2], argv + 2);
        return 101;
    }
    if (!strcmp(argv[1], "reuse") && argc > 2) {
        first = fork();
        if (first == 0) {
            before_reuse();
            _exit(0);
        }
        if (first < 0 || waitpid(first, NULL, 0) != first)
            return 102;
        second = fork_as(first);
        if (second == 0) {
            execv(argv[2], argv + 2);
            _exit(103);
        }
        if (second != first || waitpid(second, NULL, 0) != second)
            return 104;
        printf("%d\n", (int)second);
        return 0;
    }
    if (!strcmp(argv[1], "rename")) {
        prctl(PR_SET_NAME, "first");
        as_first();
        prctl(PR_SET_NAME, "second");
        as_second();
        return 0;
    }
    return 100;
}
