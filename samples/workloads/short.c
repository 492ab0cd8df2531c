/* short [SECONDS]: burns CPU in short_outer -> short_inner for SECONDS (default 1) of wall time, longer if it has not had
 * 0.3 s of CPU by then, prints the CPU time that main took as one line `cpu_seconds 0.997`, and exits with 0: a container
 * that lives only inside a recording.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -o short short.c
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* GCC gives a leaf no frame even with -fno-omit-frame-pointer, and then the kernel's walk skips its caller. */
#define KEEP_FRAME() __asm__ volatile("" : : "r"(__builtin_frame_address(0)))

static volatile unsigned long sink;
static volatile sig_atomic_t over;

static void finish(int signal) { (void)signal; over = 1; }

__attribute__((noinline, noclone)) unsigned long short_inner(unsigned long seed)
{
    KEEP_FRAME();
    for (unsigned i = 0; i < 1000000; i++)
        seed = seed * 6364136223846793005ul + (seed >> 5);
    return seed;
}

__attribute__((noinline, noclone)) unsigned long short_outer(unsigned long seed)
{
    return short_inner(seed) + 1;
}

static double cpu_seconds(void)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    double start = cpu_seconds();

    signal(SIGALRM, finish);
    alarm(argc > 1 ? atoi(argv[1]) : 1);
    while (!over || cpu_seconds() - start < 0.3)
        sink = short_outer(sink);
    printf("cpu_seconds %.3f\n", cpu_seconds() - start);
    return 0;
}
