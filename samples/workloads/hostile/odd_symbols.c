/* odd_symbols [SECONDS]: burns CPU in two functions whose symbol names are slots of 48 bytes. After the build a test
 * overwrites the slots in the ELF string table with names that no compiler writes: markup, `;`, newlines, control
 * characters, bytes that are not UTF-8.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -o odd_symbols odd_symbols.c
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* GCC gives a leaf no frame even with -fno-omit-frame-pointer, and then the kernel's walk skips its caller. */
#define KEEP_FRAME() __asm__ volatile("" : : "r"(__builtin_frame_address(0)))

static volatile unsigned long sink;

static void finish(int signal) { (void)signal; _exit(0); }

unsigned long leaf(unsigned long) __asm__("slot_leaf_______________________________________");
unsigned long caller(unsigned long) __asm__("slot_caller_____________________________________");

__attribute__((noinline, noclone)) unsigned long leaf(unsigned long seed)
{
    KEEP_FRAME();
    for (unsigned i = 0; i < 1000000; i++)
        seed = seed * 6364136223846793005ul + (seed >> 5);
    return seed;
}

__attribute__((noinline, noclone)) unsigned long caller(unsigned long seed) { return leaf(seed) + 1; }

int main(int argc, char **argv)
{
    signal(SIGALRM, finish);
    alarm(argc > 1 ? atoi(argv[1]) : 60);
    for (;;)
        sink = caller(sink);
}
