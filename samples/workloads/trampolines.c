/* trampolines SECONDS packed|aligned|cet: an interpreter that calls itself through generated code, as CPython 3.12
 * (packed: a copy every 11 bytes), 3.13 (aligned: every 16) and builds for CET (endbr64 in front) do with -X perf. The
 * copies keep no frame pointer and no call frame information covers them.
 * Whatever is sampled: main, then evaluate → enter → py::f0 → evaluate → … py::f4 → evaluate → compute; or the clock.
 *
 * gcc -O1 -fomit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -o trampolines trampolines.c
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH = 5, ARENA = 1 << 16 };

#if defined(__x86_64__)
static const uint8_t code[] = {
    0xf3, 0x0f, 0x1e, 0xfa, /* endbr64 */
    0x48, 0x83, 0xec, 0x08, /* sub $8,%rsp */
    0xff, 0xd1,             /* call *%rcx */
    0x48, 0x83, 0xc4, 0x08, /* add $8,%rsp */
    0xc3,                   /* ret */
};
enum { CET = 4 };
#else
static const uint32_t code[] = {
    0xa9bf7bfd, /* stp x29, x30, [sp, #-16]! */
    0x910003fd, /* mov x29, sp */
    0xd63f0060, /* blr x3 */
    0xa8c17bfd, /* ldp x29, x30, [sp], #16 */
    0xd65f03c0, /* ret */
};
enum { CET = 0 };
#endif

/* The fourth argument is what a trampoline calls, with the same arguments. */
typedef unsigned long function(unsigned long depth, unsigned long seed, void *unused, void *evaluator);

static char *arena;
static size_t step;

unsigned long compute(unsigned long seed)
{
    for (int i = 0; i < 1000; i++)
        seed = seed * 6364136223846793005ul + (seed >> 3);
    return seed;
}

unsigned long evaluate(unsigned long depth, unsigned long seed, void *unused, void *evaluator);

unsigned long enter(unsigned long depth, unsigned long seed)
{
    function *trampoline = (function *)(arena + depth * step);
    return trampoline(depth + 1, seed, NULL, (void *)evaluate) + 1;
}

unsigned long evaluate(unsigned long depth, unsigned long seed, void *unused, void *evaluator)
{
    (void)unused, (void)evaluator;
    if (depth == DEPTH) {
        for (int i = 0; i < 100; i++)
            seed += compute(seed);
        return seed;
    }
    return enter(depth, seed) + 1;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    const char *kind = argc > 2 ? argv[2] : "packed";
    int is_cet = !strcmp(kind, "cet");
    const char *copy = (const char *)code + (is_cet ? 0 : CET);
    size_t size = sizeof code - (is_cet ? 0 : CET);
    char name[64];

    step = !strcmp(kind, "aligned") ? (size + 15) / 16 * 16 : size;
    arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED)
        return 1;
    for (size_t at = 0; at + size <= ARENA; at += step)
        memcpy(arena + at, copy, size);
    if (mprotect(arena, ARENA, PROT_READ | PROT_EXEC))
        return 1;
    __builtin___clear_cache(arena, arena + ARENA);
    snprintf(name, sizeof name, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(name, "w");
    if (!map)
        return 1;
    for (int at = 0; at < DEPTH; at++)
        fprintf(map, "%lx %zx py::f%d:/app.py\n", (unsigned long)(arena + at * step), size, at);
    fclose(map);

    unsigned long seed = (unsigned long)argc;
    while ((double)clock() / CLOCKS_PER_SEC < seconds)
        for (int i = 0; i < 20; i++)
            seed += evaluate(0, seed, NULL, NULL);
    return seed == 42;
}
