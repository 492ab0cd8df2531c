/* busy THREADS SECONDS [wait] [status N]: THREADS threads spin in busy_loop for SECONDS of wall time; then the CPU time of
 * the whole process is printed as one line `cpu_seconds 9.981` and it exits with N (default 0).
 * With `wait` it does nothing until it gets SIGUSR1, so that a recording can be running before its first instruction.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -pthread -o busy busy.c
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* GCC gives a leaf no frame even with -fno-omit-frame-pointer, and then the kernel's walk skips its caller. */
#define KEEP_FRAME() __asm__ volatile("" : : "r"(__builtin_frame_address(0)))

static volatile int over;

__attribute__((noinline, noclone)) unsigned long busy_loop(unsigned long seed)
{
    KEEP_FRAME();
    while (!over)
        seed = seed * 6364136223846793005ul + (seed >> 3);
    return seed;
}

static void *thread(void *seed) { return (void *)busy_loop((unsigned long)seed); }

int main(int argc, char **argv)
{
    enum { MOST = 256 };
    pthread_t threads[MOST];
    int count = argc > 1 ? atoi(argv[1]) : 1, status = 0, wait = 0;
    unsigned seconds = argc > 2 ? atoi(argv[2]) : 1;
    struct rusage used;
    sigset_t start;

    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "wait"))
            wait = 1;
        else if (!strcmp(argv[i], "status") && i + 1 < argc)
            status = atoi(argv[++i]);
    }
    if (count < 1 || count > MOST)
        return 100;
    if (wait) {
        int got;
        sigemptyset(&start);
        sigaddset(&start, SIGUSR1);
        sigprocmask(SIG_BLOCK, &start, NULL);
        printf("waiting\n");
        fflush(stdout);
        sigwait(&start, &got);
    }
    for (long i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, thread, (void *)i))
            return 101;
    while (seconds)
        seconds = sleep(seconds);
    over = 1;
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    getrusage(RUSAGE_SELF, &used);
    printf("cpu_seconds %.3f\n", used.ru_utime.tv_sec + used.ru_stime.tv_sec
                                     + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return status;
}
