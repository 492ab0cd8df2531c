// A program without frame pointers and without a C library: outer → middle → leaf, and a recursion that
// is deeper than the copied stack.
__asm__(".globl _start\n_start:\n.cfi_startproc\n.cfi_undefined rip\n"
        "and $-16, %rsp\ncall outer\nmov $60, %eax\nxor %edi, %edi\nsyscall\n.cfi_endproc\n");

static volatile unsigned long sink;

__attribute__((noinline)) void leaf(unsigned long rounds) {
    for (unsigned long at = 0; at < rounds; at++)
        sink += at * sink;
}

__attribute__((noinline)) void middle(unsigned long rounds) {
    volatile unsigned long kept[5] = {rounds};
    leaf(kept[0]);
    sink += kept[0];
}

__attribute__((noinline)) void deep(int depth) {
    volatile unsigned long kept[16] = {depth};
    if (depth == 0)
        leaf(20000000);
    else
        deep(depth - 1);
    sink += kept[0];
}

__attribute__((used)) void outer(void) {
    for (int at = 0; at < 10; at++)
        middle(2000000);
    deep(20);
}
