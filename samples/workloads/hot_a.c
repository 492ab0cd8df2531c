/* hot_a [SECONDS]: one of two different programs that tests put at the SAME path, /app/hot.
 *
 * All its time is in main -> alpha_outer -> alpha_inner, plain arithmetic without a libc call, for SECONDS
 * (default 60) of wall time; then it exits with 0. hot_b.c is the same shape with other names, so that
 * the addresses of the two overlap and a name taken from the wrong file is a wrong name.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -o hot_a hot_a.c
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* GCC gives a leaf no frame even with -fno-omit-frame-pointer, and then the kernel's walk skips its caller. */
#define KEEP_FRAME() __asm__ volatile("" : : "r"(__builtin_frame_address(0)))

static volatile unsigned long sink;

/* Process 1 of a pid namespace ignores signals that it has no handler for. */
static void finish(int signal) { (void)signal; _exit(0); }

__attribute__((noinline, noclone)) unsigned long alpha_inner(unsigned long seed)
{
    KEEP_FRAME();
    for (unsigned i = 0; i < 2000000; i++)
        seed = seed * 6364136223846793005ul + (seed >> 7);
    return seed;
}

__attribute__((noinline, noclone)) unsigned long alpha_outer(unsigned long seed)
{
    seed = alpha_inner(seed) + 1;
    return alpha_inner(seed) ^ 3;
}

int main(int argc, char **argv)
{
    signal(SIGALRM, finish);
    alarm(argc > 1 ? atoi(argv[1]) : 60);
    for (;;)
        sink = alpha_outer(sink);
}
