/* traps [SECONDS]: what gives wrong names to a careless reader.
 *
 * `trap_main` calls `trap_caller`, whose last instruction is the call of `trap_spin`, which does not return: the return
 * address is the first of `trap_behind`. `trap_spin` has an alias, `trap`, without size and with a shorter name.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -o traps traps.c
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__x86_64__)
#define FRAME "push %rbp\nmov %rsp,%rbp\n"
#define CALL "call "
#define TRAP "ud2\n"
#define LOOP "1: inc %rax\njmp 1b\n"
#elif defined(__aarch64__)
#define FRAME "stp x29, x30, [sp, #-16]!\nmov x29, sp\n"
#define CALL "bl "
#define TRAP "udf #0\n"
#define LOOP "1: add x0, x0, #1\nb 1b\n"
#else
#error "write the functions for this architecture"
#endif

__asm__(".text\n"
        ".type trap_caller,%function\n"
        "trap_caller:\n" FRAME CALL "trap_spin\n"
        ".size trap_caller,.-trap_caller\n"
        ".type trap_behind,%function\n"
        "trap_behind:\n" TRAP
        ".size trap_behind,.-trap_behind\n"
        ".globl trap_spin\n"
        ".type trap_spin,%function\n"
        ".globl trap\n"
        ".type trap,%function\n"
        "trap_spin:\n"
        "trap:\n" FRAME LOOP
        ".size trap_spin,.-trap_spin\n" TRAP);

void trap_caller(void);

static void finish(int signal) { (void)signal; _exit(0); }

__attribute__((noinline, noclone)) void trap_main(void)
{
    trap_caller();
    __asm__ volatile("");
}

int main(int argc, char **argv)
{
    signal(SIGALRM, finish);
    alarm(argc > 1 ? atoi(argv[1]) : 60);
    trap_main();
    return 0;
}
