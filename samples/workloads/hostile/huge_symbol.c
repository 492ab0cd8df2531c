/* huge_symbol [SECONDS]: burns CPU in one function whose symbol name is HUGE_LABEL, a string of about 1 MB that the test
 * defines in a header that it generates.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -include huge.h \
 *     -o huge_symbol huge_symbol.c
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* GCC gives a leaf no frame even with -fno-omit-frame-pointer, and then the kernel's walk skips its caller. */
#define KEEP_FRAME() __asm__ volatile("" : : "r"(__builtin_frame_address(0)))

static volatile unsigned long sink;

static void finish(int signal) { (void)signal; _exit(0); }

unsigned long huge(unsigned long) __asm__(HUGE_LABEL);

__attribute__((noinline, noclone)) unsigned long huge(unsigned long seed)
{
    KEEP_FRAME();
    for (unsigned i = 0; i < 1000000; i++)
        seed = seed * 6364136223846793005ul + (seed >> 5);
    return seed;
}

int main(int argc, char **argv)
{
    signal(SIGALRM, finish);
    alarm(argc > 1 ? atoi(argv[1]) : 60);
    for (;;)
        sink = huge(sink);
}
