/* deep THREADS DEPTH SECONDS: THREADS threads compute at the end of DEPTH nested calls of descend, for SECONDS;
 * of 0 THREADS main itself does.
 * A load with stacks of a known depth: scripts/bench-record profiles it.
 *
 * gcc -O1 -fno-omit-frame-pointer -fno-optimize-sibling-calls -pthread -o deep deep.c
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* GCC gives a leaf no frame even with -fno-omit-frame-pointer, and then the kernel's walk skips its caller. */
#define KEEP_FRAME() __asm__ volatile("" : : "r"(__builtin_frame_address(0)))

static int depth;
static volatile int over;

__attribute__((noinline, noclone)) unsigned long compute(unsigned long seed)
{
    KEEP_FRAME();
    for (int i = 0; i < 2000; i++)
        seed = seed * 6364136223846793005ul + (seed >> 3);
    return seed;
}

__attribute__((noinline, noclone)) unsigned long descend(int left, unsigned long seed)
{
    KEEP_FRAME();
    if (left == 0) {
        while (!over)
            seed = compute(seed);
        return seed;
    }
    return descend(left - 1, seed + 1) + 1;
}

static void *thread(void *seed) { return (void *)descend(depth, (unsigned long)seed); }

static void end(int signal) { over = signal; }

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    pthread_t ids[256];
    depth = argc > 2 ? atoi(argv[2]) : 20;
    if (threads > 256)
        threads = 256;
    if (threads == 0) {
        signal(SIGALRM, end);
        alarm(argc > 3 ? atoi(argv[3]) : 1);
        return descend(depth, 1) == 42;
    }
    for (long i = 0; i < threads; i++)
        if (pthread_create(&ids[i], 0, thread, (void *)i))
            return 1;
    sleep(argc > 3 ? atoi(argv[3]) : 1);
    over = 1;
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], 0);
    return 0;
}
