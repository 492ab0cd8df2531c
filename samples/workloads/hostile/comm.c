/* comm SECONDS NAME: burns CPU in comm_loop for SECONDS under the thread name NAME (the kernel keeps 15 bytes of it),
 * which may hold what an SVG, a terminal or folded text would take for its own syntax.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -o comm comm.c
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

/* GCC gives a leaf no frame even with -fno-omit-frame-pointer, and then the kernel's walk skips its caller. */
#define KEEP_FRAME() __asm__ volatile("" : : "r"(__builtin_frame_address(0)))

static volatile unsigned long sink;

static void finish(int signal) { (void)signal; _exit(0); }

__attribute__((noinline, noclone)) unsigned long comm_loop(unsigned long seed)
{
    KEEP_FRAME();
    for (unsigned i = 0; i < 1000000; i++)
        seed = seed * 6364136223846793005ul + (seed >> 5);
    return seed;
}

int main(int argc, char **argv)
{
    if (argc < 3 || prctl(PR_SET_NAME, argv[2]))
        return 100;
    signal(SIGALRM, finish);
    alarm(atoi(argv[1]));
    for (;;)
        sink = comm_loop(sink);
}
