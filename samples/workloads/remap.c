/* remap COPY|MREMAP SECONDS: puts its own text onto anonymous memory, as programs do that want huge pages for it, and
 * computes there: main → moved_outer → moved_inner; then it puts other code where changed_inner was and runs that.
 * Each for half of SECONDS of CPU time.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -o remap remap.c
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE 4096
/* What is moved, whole pages of it. The section begins with a page. */
#define MOVED __attribute__((noinline, section("moved")))

extern char __start_moved[], __stop_moved[];
volatile uint64_t sink;

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

MOVED __attribute__((aligned(PAGE))) uint64_t moved_inner(uint64_t value)
{
    for (int i = 0; i < 200000; i++)
        value = value * 6364136223846793005u + 1442695040888963407u;
    return value;
}

MOVED void moved_outer(double until)
{
    while (cpu_seconds() < until)
        sink = moved_inner(sink);
}

MOVED void changed_outer(double until, uint64_t (*inner)(uint64_t))
{
    while (cpu_seconds() < until)
        sink = inner(sink);
}

/* In a page of its own: what follows begins with the next one. */
MOVED __attribute__((aligned(PAGE))) uint64_t changed_inner(uint64_t value)
{
    for (int i = 0; i < 100; i++)
        value = value * 2862933555777941757u + 3037000493u;
    __asm__ volatile(".balign 4096");
    return value;
}

/* Not memcpy: that may lie in what is moved. */
static void copy(char *to, const char *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((volatile char *)to)[i] = from[i];
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

int main(int argc, char **argv)
{
    char *text = __start_moved;
    size_t len = (__stop_moved - __start_moved + PAGE - 1) & ~(size_t)(PAGE - 1);
    double seconds = argc > 2 ? atof(argv[2]) : 1;
    int by_mremap = argc > 1 && !strcmp(argv[1], "mremap");
    char *pages = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pages == MAP_FAILED)
        return fail("mmap");
    copy(pages, text, len);
    if (by_mremap) {
        if (mprotect(pages, len, PROT_READ | PROT_WRITE | PROT_EXEC))
            return fail("mprotect");
        if (mremap(pages, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, text) == MAP_FAILED)
            return fail("mremap");
    } else {
        if (mmap(text, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            return fail("mmap over the text");
        copy(text, pages, len);
    }
    /* The loop of moved_inner, in another function's place. */
    if (mprotect(text, len, PROT_READ | PROT_WRITE))
        return fail("mprotect");
    copy((char *)changed_inner, (char *)moved_inner, PAGE / 8);
    if (mprotect(text, len, PROT_READ | PROT_EXEC))
        return fail("mprotect");
    puts("moved");
    fflush(stdout);
    moved_outer(cpu_seconds() + seconds / 2);
    changed_outer(cpu_seconds() + seconds / 2, changed_inner);
    return 0;
}
