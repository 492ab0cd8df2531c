/* jitlike [SECONDS] [no-map [MEMORY]]: what a JIT compiler does, without one.
 *
 * Two functions are written as machine code into anonymous executable memory at 0x200000000000 and called for SECONDS
 * (default 60): at +0 `jit_outer`, a frame-pointer frame that calls `jit_inner` at +0x100, a counting loop. Unless
 * `no-map` is given, both are written to /tmp/perf-<getpid()>.map with the pid as the program sees it: 1 in a container.
 * MEMORY is what it lies in instead of anonymous memory: `memfd`, `shared` or `sysv`.
 * The address is fixed so that a test can write another map of the same code before the program runs.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -o jitlike jitlike.c
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

enum { OUTER = 0, INNER = 0x100, SIZE = 0x1000 };
#define BASE ((void *)0x200000000000ul)

#if defined(__x86_64__)
static const uint8_t outer[] = {
    0x55,                         /* push %rbp */
    0x48, 0x89, 0xe5,             /* mov %rsp,%rbp */
    0xe8, 0xf7, 0x00, 0x00, 0x00, /* call +0x100: this instruction ends at +9 */
    0x5d,                         /* pop %rbp */
    0xc3,                         /* ret */
};
static const uint8_t inner[] = {
    0x55,                         /* push %rbp */
    0x48, 0x89, 0xe5,             /* mov %rsp,%rbp */
    0xb9, 0x00, 0x00, 0x40, 0x00, /* mov $0x400000,%ecx */
    0xff, 0xc9,                   /* dec %ecx */
    0x75, 0xfc,                   /* jnz -4 */
    0x5d,                         /* pop %rbp */
    0xc3,                         /* ret */
};
#elif defined(__aarch64__)
static const uint32_t outer[] = {
    0xa9bf7bfd, /* stp x29, x30, [sp, #-16]! */
    0x910003fd, /* mov x29, sp */
    0x9400003e, /* bl +0xf8: this instruction is at +8 */
    0xa8c17bfd, /* ldp x29, x30, [sp], #16 */
    0xd65f03c0, /* ret */
};
static const uint32_t inner[] = {
    0xa9bf7bfd, /* stp x29, x30, [sp, #-16]! */
    0x910003fd, /* mov x29, sp */
    0x52a00800, /* movz w0, #0x40, lsl #16 */
    0x71000400, /* subs w0, w0, #1 */
    0x54ffffe1, /* b.ne -4 */
    0xa8c17bfd, /* ldp x29, x30, [sp], #16 */
    0xd65f03c0, /* ret */
};
#else
#error "write the two functions for this architecture"
#endif

static void finish(int signal) { (void)signal; _exit(0); }

/* Writable memory at BASE. */
static char *memory(const char *kind)
{
    int protection = PROT_READ | PROT_WRITE, file;

    if (!strcmp(kind, "memfd")) {
        file = memfd_create("codemaker", 0);
        if (file < 0 || ftruncate(file, SIZE))
            return MAP_FAILED;
        return mmap(BASE, SIZE, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, file, 0);
    }
    if (!strcmp(kind, "shared"))
        return mmap(BASE, SIZE, protection, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (!strcmp(kind, "sysv")) {
        int id = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0700);
        char *at = shmat(id, BASE, 0);

        shmctl(id, IPC_RMID, NULL);
        return at;
    }
    return mmap(BASE, SIZE, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

int main(int argc, char **argv)
{
    char *code = memory(argc > 3 ? argv[3] : "anonymous");

    if (code != BASE)
        return 100;
    memcpy(code + OUTER, outer, sizeof outer);
    memcpy(code + INNER, inner, sizeof inner);
    __builtin___clear_cache(code, code + SIZE);
    if (mprotect(code, SIZE, PROT_READ | PROT_EXEC))
        return 101;
    if (argc < 3 || strcmp(argv[2], "no-map")) {
        char path[64];
        FILE *map;

        snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
        map = fopen(path, "w");
        if (!map)
            return 102;
        fprintf(map, "%lx %x jit_outer\n", (unsigned long)code + OUTER, (unsigned)sizeof outer);
        fprintf(map, "%lx %x jit_inner\n", (unsigned long)code + INNER, (unsigned)sizeof inner);
        fclose(map);
    }
    signal(SIGALRM, finish);
    alarm(argc > 1 ? atoi(argv[1]) : 60);
    for (;;)
        ((void (*)(void))(code + OUTER))();
}
