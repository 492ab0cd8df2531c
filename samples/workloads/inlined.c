// main calls outer, into which the compiler puts middle, and inner into that: all the time is in inner.
// Argument: seconds.
#include <stdlib.h>
#include <time.h>

volatile unsigned long sink;

static inline __attribute__((always_inline)) unsigned long inner(unsigned long n) {
  unsigned long v = n;
  for (int i = 0; i < 200000; i++) v = v * 6364136223846793005UL + 1442695040888963407UL;
  return v;
}

static inline __attribute__((always_inline)) unsigned long middle(unsigned long n) { return inner(n) ^ (n >> 3); }

__attribute__((noinline)) void turn(void) { __asm__ volatile(""); }

// The call makes it a function with a frame of its own.
__attribute__((noinline)) void outer(unsigned long n) {
  turn();
  sink = middle(n);
}

int main(int argc, char** argv) {
  double seconds = argc > 1 ? atof(argv[1]) : 1;
  struct timespec begin, now;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (unsigned long n = 0;; n++) {
    outer(n);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - begin.tv_sec + (now.tv_nsec - begin.tv_nsec) / 1e9 > seconds) return 0;
  }
}
