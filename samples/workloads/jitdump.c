/* jitdump [SECONDS] [tsc|late|pid|wait]: a JIT compiler that reuses addresses, without one.
 *
 * Writes jit-<getpid()>.dump (tools/perf/Documentation/jitdump-specification.txt) into /tmp, or into $JITDUMPDIR, with times
 * of CLOCK_MONOTONIC, and maps its first page PROT_EXEC, as V8 and LLVM do: the mapping shows a profiler where it is. Then
 * for SECONDS each (default 1), at one address one after the other: `jit_first`, a counting loop, called by `jit_caller`;
 * `jit_second` at the same address, called by the same caller; `jit_third`, loaded elsewhere and moved there. All have
 * frame pointers. What is on the stack: main, run, jit_caller, then one of the three. What it spent in each goes to
 * standard output (CPU seconds).
 *
 * `tsc` sets the flag that times are the processor's; `late` writes times a day ahead; `pid` claims another process's pid;
 * `wait` does not end.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -o jitdump jitdump.c
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { CALLER = 0, CALLEE = 0x100, ELSEWHERE = 0x800, SIZE = 0x1000 };
#define BASE ((void *)0x200000000000ul)

#if defined(__x86_64__)
#define MACHINE EM_X86_64
static const uint8_t caller[] = {
    0x55,                         /* push %rbp */
    0x48, 0x89, 0xe5,             /* mov %rsp,%rbp */
    0xe8, 0xf7, 0x00, 0x00, 0x00, /* call +0x100: this instruction ends at +9 */
    0x5d,                         /* pop %rbp */
    0xc3,                         /* ret */
};
static const uint8_t callee[] = {
    0x55,                         /* push %rbp */
    0x48, 0x89, 0xe5,             /* mov %rsp,%rbp */
    0xb9, 0x00, 0x00, 0x40, 0x00, /* mov $0x400000,%ecx */
    0xff, 0xc9,                   /* dec %ecx */
    0x75, 0xfc,                   /* jnz -4 */
    0x5d,                         /* pop %rbp */
    0xc3,                         /* ret */
};
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
static const uint32_t caller[] = {
    0xa9bf7bfd, /* stp x29, x30, [sp, #-16]! */
    0x910003fd, /* mov x29, sp */
    0x9400003e, /* bl +0xf8: this instruction is at +8 */
    0xa8c17bfd, /* ldp x29, x30, [sp], #16 */
    0xd65f03c0, /* ret */
};
static const uint32_t callee[] = {
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

static int dump;
static uint64_t ahead_ns, flags, code_index;
static char *code;

static void put(const void *bytes, size_t len)
{
    if (write(dump, bytes, len) != (ssize_t)len)
        _exit(103);
}
static void put32(uint32_t value) { put(&value, sizeof value); }
static void put64(uint64_t value) { put(&value, sizeof value); }

static uint64_t now_ns(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void record(uint32_t id, uint32_t body)
{
    put32(id);
    put32(16 + body);
    put64(now_ns(CLOCK_MONOTONIC) + ahead_ns);
}

static void of_code(uint64_t vma)
{
    put32(getpid());
    put32(getpid());
    put64(vma);
}

/* Writes a function, then says so. */
static void load(int at, const void *bytes, size_t len, const char *name)
{
    uint64_t addr = (uint64_t)code + at;

    memcpy(code + at, bytes, len);
    __builtin___clear_cache(code + at, code + at + len);
    record(2, 16); /* JIT_CODE_DEBUG_INFO, without a line */
    put64(addr);
    put64(0);
    record(0, 40 + strlen(name) + 1 + len);
    of_code(addr);
    put64(addr);
    put64(len);
    put64(code_index++);
    put(name, strlen(name) + 1);
    put(bytes, len);
}

static void move(int from, int to, size_t len)
{
    memcpy(code + to, code + from, len);
    __builtin___clear_cache(code + to, code + to + len);
    record(1, 48);
    of_code((uint64_t)code + to);
    put64((uint64_t)code + from);
    put64((uint64_t)code + to);
    put64(len);
    put64(code_index - 1);
}

static void run(double seconds, const char *name)
{
    uint64_t begun = now_ns(CLOCK_PROCESS_CPUTIME_ID), now;

    do {
        ((void (*)(void))(code + CALLER))();
        now = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    } while (now - begun < seconds * 1e9);
    printf("%s %.3f\n", name, (now - begun) / 1e9);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    const char *how = argc > 2 ? argv[2] : "", *dir = getenv("JITDUMPDIR");
    uint32_t pid = getpid();
    char path[4096];
    void *marker;

    code = mmap(BASE, SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (code != BASE)
        return 100;
    if (!strcmp(how, "tsc"))
        flags = 1;
    if (!strcmp(how, "late"))
        ahead_ns = 86400 * 1000000000ull;
    if (!strcmp(how, "pid"))
        pid++;
    snprintf(path, sizeof path, "%s/jit-%d.dump", dir ? dir : "/tmp", (int)getpid());
    dump = open(path, O_CREAT | O_TRUNC | O_RDWR, 0644);
    if (dump < 0)
        return 101;
    put32(0x4a695444); /* JiTD */
    put32(1);
    put32(40);
    put32(MACHINE);
    put32(0);
    put32(pid);
    put64(now_ns(CLOCK_MONOTONIC));
    put64(flags);
    marker = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_EXEC, MAP_PRIVATE, dump, 0);
    if (marker == MAP_FAILED)
        return 102;

    load(CALLER, caller, sizeof caller, "jit_caller");
    load(CALLEE, callee, sizeof callee, "jit_first");
    run(seconds, "jit_first");
    load(CALLEE, callee, sizeof callee, "jit_second");
    run(seconds, "jit_second");
    load(ELSEWHERE, callee, sizeof callee, "jit_third");
    move(ELSEWHERE, CALLEE, sizeof callee);
    run(seconds, "jit_third");
    record(3, 0); /* JIT_CODE_CLOSE */
    if (!strcmp(how, "wait"))
        pause();
    return 0;
}
