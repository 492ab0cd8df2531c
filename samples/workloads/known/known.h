/* What the programs in this folder share: the protocol with scripts/bench-accuracy, in C and C++.

   A program says "ready", waits for a line, spends its CPU time in paths that it knows, tells each path and the CPU nanoseconds that
   were spent in it ("stack NANOSECONDS main;outer;…;leaf"), says "end", and lives until its standard input ends. */
#ifndef KNOWN_H
#define KNOWN_H
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOINLINE __attribute__((noinline, noclone))
/* A value that the compiler cannot know. */
#define OPAQUE(value) __asm__ volatile("" : "+r"(value))

#ifdef __cplusplus
extern "C" {
#endif
typedef unsigned long word;
typedef word (*callback)(word);
/* In another image, where there is one. */
word known_lib_call(callback function, word value);
word known_lib_tiny(word value);
#ifdef __cplusplus
}
#endif

static word known_cpu_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * 1000000000UL + now.tv_nsec;
}

struct path {
  const char *stack;
  callback function;
  word spent_ns;
};

static void known_wait(void) {
  puts("ready");
  fflush(stdout);
  if (getchar() == EOF) exit(1);
}

static void known_tell(const struct path *paths, int count) {
  for (int i = 0; i < count; i++) printf("stack %lu %s\n", paths[i].spent_ns, paths[i].stack);
  puts("end");
  fflush(stdout);
  while (getchar() != EOF) {}
}

#endif
