/* bpf: two BPF programs that come and go, `ctr_first` and then `ctr_second`, each run for 0.4 s of CPU time. The kernel
 * puts the second where the first one was. Root only.
 *
 * gcc -O1 -g0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-inline -static -o bpf bpf.c
 */
#define _GNU_SOURCE
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* Multiplies a register by itself many times: no loop, which older verifiers would have to walk. */
static int load(const char *name, int32_t factor)
{
    static struct bpf_insn code[2048];
    union bpf_attr attr;
    int count = 0;

    code[count++] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = factor};
    while (count < 2000)
        code[count++] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MUL | BPF_K, .dst_reg = 0, .imm = factor};
    code[count++] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attr.insns = (uintptr_t)code;
    attr.insn_cnt = count;
    attr.license = (uintptr_t)"GPL";
    strncpy(attr.prog_name, name, sizeof attr.prog_name - 1);
    return syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
}

static int run(const char *name, int32_t factor)
{
    static char packet[64];
    union bpf_attr attr;
    int program = load(name, factor);
    double end = cpu_seconds() + 0.4;

    if (program < 0) {
        perror("BPF_PROG_LOAD");
        return 1;
    }
    do {
        memset(&attr, 0, sizeof attr);
        attr.test.prog_fd = program;
        attr.test.data_in = (uintptr_t)packet;
        attr.test.data_size_in = sizeof packet;
        attr.test.repeat = 10000;
        if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof attr)) {
            perror("BPF_PROG_TEST_RUN");
            return 1;
        }
    } while (cpu_seconds() < end);
    close(program);
    return 0;
}

int main(void)
{
    if (run("ctr_first", 3))
        return 1;
    /* Programs are freed after a grace period. */
    usleep(300000);
    return run("ctr_second", 5);
}
