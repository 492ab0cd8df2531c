/* stacks SECONDS: five processes whose stack pointer and frame pointer lie, each spinning in `lie`: to memory that is
 * not there, to the kernel's half, to frame pointers in circles, to return addresses without end, to the end of a
 * mapping; and threads whose stacks are smaller than what is copied of one, spinning in `small`.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-inline -static -pthread -o stacks stacks.c
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 8192, WORDS = SIZE / 8, KINDS = 5, THREADS = 8 };

static double seconds;

static void *small(void *unused)
{
    struct timespec now;
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    while (now.tv_sec + now.tv_nsec / 1e9 < seconds / THREADS);
    return unused;
}

/* Never comes back: its process is ended by an alarm. */
void lie(uintptr_t sp, uintptr_t fp)
{
#if defined(__x86_64__)
    __asm__ volatile("mov %0, %%rax\n mov %1, %%rbp\n mov %%rax, %%rsp\n 1: pause\n jmp 1b" : : "r"(sp), "r"(fp) : "rax");
#else
    __asm__ volatile("mov x9, %0\n mov x29, %1\n mov sp, x9\n 1: b 1b" : : "r"(sp), "r"(fp) : "x9");
#endif
}

static void child(int kind)
{
    uintptr_t *words = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uintptr_t at = (uintptr_t)words, code = (uintptr_t)small + 8;

    for (int i = 0; i < WORDS; i++) {
        uintptr_t next = at + ((uintptr_t)i * 8 + 64) % 4096;
        words[i] = kind == 2 || (kind == 3 && i % 2 == 0) ? next : code;
    }
    lie(kind == 0 ? 0x10 : kind == 1 ? (uintptr_t)0xffff800000001000 : kind == 4 ? at + SIZE - 8 : at + 64, at + 64);
}

int main(int argc, char **argv)
{
    pthread_attr_t attr;
    pthread_t threads[THREADS];

    seconds = argc > 1 ? atof(argv[1]) : 1;
    for (int kind = 0; kind < KINDS; kind++)
        if (fork() == 0) {
            alarm(seconds < 1 ? 1 : (unsigned)seconds);
            child(kind);
        }
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 16384);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], &attr, small, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    while (wait(NULL) > 0)
        ;
    return 0;
}
