/* far SECONDS huge|stacks: callers that lie further up than any copy of a stack reaches.
 *
 * huge: main → wide → narrow → far_spin → far_leaf; `wide` has a frame of 256 KiB, as rustc's `run_compiler` has one of 527.
 * stacks: main → on_stack → lower → on_stack → upper → far_spin → far_leaf; `on_stack` goes on with another stack and keeps
 * the frame pointer, as the crate `psm` does for rustc's deep recursions: first one below the thread's, then one above that.
 *
 * gcc -O1 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -o far far.c
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { STACK = 256 << 10 };

static double seconds;
static char *upper_stack;

/* GCC gives a leaf no frame, also with -fno-omit-frame-pointer. */
__attribute__((noinline, noclone)) unsigned long far_leaf(unsigned long seed)
{
    for (int i = 0; i < 100000; i++)
        seed = seed * 6364136223846793005ul + (seed >> 3);
    return seed;
}

__attribute__((noinline, noclone)) unsigned long far_spin(unsigned long seed)
{
    struct timespec now;
    do {
        seed = far_leaf(seed);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    } while (now.tv_sec + now.tv_nsec / 1e9 < seconds);
    return seed;
}

__attribute__((noinline, noclone)) unsigned long narrow(unsigned long seed)
{
    return far_spin(seed) + 1;
}

__attribute__((noinline, noclone)) unsigned long wide(unsigned long seed)
{
    volatile char frame[STACK];

    frame[seed % STACK] = 1;
    return narrow(seed) + frame[0];
}

void on_stack(char *top, void (*function)(void));

#if defined(__x86_64__)
__asm__(".text\n"
        ".type on_stack, @function\n"
        "on_stack:\n"
        ".cfi_startproc\n"
        "    push %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset %rbp, -16\n"
        "    mov %rsp, %rbp\n"
        ".cfi_def_cfa_register %rbp\n"
        "    mov %rdi, %rsp\n"
        "    call *%rsi\n"
        "    mov %rbp, %rsp\n"
        "    pop %rbp\n"
        ".cfi_def_cfa %rsp, 8\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size on_stack, . - on_stack\n");
#else
__asm__(".text\n"
        ".type on_stack, %function\n"
        "on_stack:\n"
        ".cfi_startproc\n"
        "    stp x29, x30, [sp, -16]!\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset x29, -16\n"
        ".cfi_offset x30, -8\n"
        "    mov x29, sp\n"
        ".cfi_def_cfa_register x29\n"
        "    mov sp, x0\n"
        "    blr x1\n"
        "    mov sp, x29\n"
        ".cfi_def_cfa_register sp\n"
        "    ldp x29, x30, [sp], 16\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size on_stack, . - on_stack\n");
#endif

__attribute__((noinline, noclone)) void upper(void)
{
    exit(far_spin(1) == 0);
}

__attribute__((noinline, noclone)) void lower(void)
{
    on_stack(upper_stack, upper);
}

int main(int argc, char **argv)
{
    seconds = argc > 1 ? atof(argv[1]) : 1;
    if (argc > 2 && strcmp(argv[2], "stacks") == 0) {
        char *both = mmap(NULL, 2 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        upper_stack = both + 2 * STACK;
        on_stack(both + STACK, lower);
    }
    return wide(3) == 0;
}
