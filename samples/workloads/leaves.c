/* leaves SECONDS: computes in functions that a compiler gives no frame, a fifth of the time in each of the ways
 * in which they are called. Whatever is sampled: main → outer → one of the five callers → what that calls; or the clock.
 *
 * gcc -O2 -fno-omit-frame-pointer -fno-optimize-sibling-calls -o leaves leaves.c
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OWN __attribute__((noinline, noclone))

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* A small leaf: it never has a frame. */
OWN unsigned long small_leaf(unsigned long seed)
{
    for (int i = 0; i < 1000; i++)
        seed = seed * 6364136223846793005ul + (seed >> 3);
    return seed;
}

OWN unsigned long small_caller(unsigned long seed)
{
    for (int i = 0; i < 100; i++)
        seed += small_leaf(seed);
    return seed;
}

/* A leaf that is entered and left all the time; each step waits for the one before, or some CPUs hardly ever show it. */
OWN unsigned long tiny_leaf(unsigned long seed)
{
    seed = (seed * 3 + 1) * (seed | 1);
    return (seed * 5 + 1) * (seed | 1);
}

OWN unsigned long tiny_caller(unsigned long seed)
{
    for (int i = 0; i < 100000; i++)
        seed += tiny_leaf(seed);
    return seed;
}

/* A function with a frame that is entered and left all the time: prologues and epilogues. */
OWN unsigned long framed(unsigned long seed)
{
    __asm__ volatile("" : : "r"(__builtin_frame_address(0)));
    return seed * 3 + 1;
}

OWN unsigned long framed_caller(unsigned long seed)
{
    for (int i = 0; i < 100000; i++)
        seed += framed(seed);
    return seed;
}

/* The C library's: compiled without frame pointers, in assembler, called through a stub where it is shared. */
OWN unsigned long string_caller(unsigned long seed)
{
    static char text[4096];
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 1000; i++)
        seed += strlen(text);
    return seed;
}

/* In the kernel, entered by a wrapper without a frame. */
OWN unsigned long kernel_caller(unsigned long seed)
{
    for (int i = 0; i < 1000; i++)
        seed += getppid();
    return seed;
}

OWN unsigned long outer(unsigned long seed, unsigned long (*work)(unsigned long), double seconds)
{
    double end = cpu_seconds() + seconds;
    while (cpu_seconds() < end)
        for (int i = 0; i < 20; i++)
            seed += work(seed);
    return seed;
}

int main(int argc, char **argv)
{
    unsigned long (*work[])(unsigned long) = {small_caller, tiny_caller, framed_caller, string_caller, kernel_caller};
    double seconds = (argc > 1 ? atof(argv[1]) : 1) / 5;
    unsigned long seed = (unsigned long)argc;
    for (int i = 0; i < 5; i++)
        seed += outer(seed, work[i], seconds);
    return seed == 42;
}
