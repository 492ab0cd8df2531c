/* Sorts and hashes for a second. gcc -O1 -g -fno-omit-frame-pointer work.c -o work-c */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int by_value(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(int));
}

__attribute__((noinline)) static unsigned hash_text(const char *text)
{
    unsigned hash = 5381;
    while (*text)
        hash = hash * 33 + (unsigned char)*text++;
    return hash;
}

__attribute__((noinline)) static void sort_some(unsigned seed)
{
    static int values[4096];
    for (int i = 0; i < 4096; i++)
        values[i] = (int)(seed = seed * 1103515245u + 12345u);
    qsort(values, 4096, sizeof values[0], by_value);
}

__attribute__((noinline)) static void read_zeros(void)
{
    static char buffer[1 << 16];
    FILE *zero = fopen("/dev/zero", "r");
    if (zero) {
        if (fread(buffer, 1, sizeof buffer, zero) == 0)
            abort();
        fclose(zero);
    }
}

int main(void)
{
    time_t end = time(NULL) + 2;
    unsigned sum = 0;
    char text[64];
    while (time(NULL) < end) {
        sort_some(sum);
        read_zeros();
        for (int i = 0; i < 2000; i++) {
            snprintf(text, sizeof text, "line %d of %u", i, sum);
            sum += hash_text(text);
        }
    }
    printf("%u\n", sum);
    return 0;
}
