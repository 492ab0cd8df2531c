/* Four paths: a leaf that loops, a callback through another image, a function that is put into its caller, and many
   calls of a small function of another image (stubs, prologues, epilogues). Argument: seconds of CPU time. */
#include "known.h"

NOINLINE word alpha_leaf(word value) {
  for (int i = 0; i < 20000; i++) value = value * 2862933555777941757UL + 3037000493UL;
  return value;
}
NOINLINE word alpha_middle(word value) {
  word result = alpha_leaf(value);
  OPAQUE(result);
  return result + 1;
}
NOINLINE word alpha_outer(word value) {
  word result = alpha_middle(value);
  OPAQUE(result);
  return result + 1;
}

NOINLINE word beta_callback(word value) {
  for (int i = 0; i < 20000; i++) value = value * 6364136223846793005UL + 1442695040888963407UL;
  return value;
}
NOINLINE word beta_outer(word value) {
  word result = known_lib_call(beta_callback, value);
  OPAQUE(result);
  return result + 1;
}

NOINLINE word gamma_leaf(word value) {
  for (int i = 0; i < 20000; i++) value = value * 3202034522624059733UL + 4354685564936845319UL;
  return value;
}
static inline __attribute__((always_inline)) word gamma_inlined(word value) {
  word result = gamma_leaf(value);
  OPAQUE(result);
  return result + 1;
}
NOINLINE word gamma_outer(word value) {
  word result = gamma_inlined(value);
  OPAQUE(result);
  return result + 1;
}

NOINLINE word delta_outer(word value) {
  for (int i = 0; i < 6000; i++) {
    value = known_lib_tiny(value);
    OPAQUE(value);
  }
  return value;
}

static struct path paths[] = {
    {"main;alpha_outer;alpha_middle;alpha_leaf", alpha_outer, 0},
    {"main;beta_outer;known_lib_call;beta_callback", beta_outer, 0},
    {"main;gamma_outer;gamma_inlined;gamma_leaf", gamma_outer, 0},
    {"main;delta_outer;known_lib_tiny", delta_outer, 0},
};

int main(int argc, char **argv) {
  word end_ns = (word)(1e9 * (argc > 1 ? atof(argv[1]) : 1.0)), value = 1;
  known_wait();
  for (word before = known_cpu_ns(), begin = before; before - begin < end_ns;) {
    for (int i = 0; i < 4; i++) {
      for (int times = 0; times < 20; times++) value = paths[i].function(value);
      word now = known_cpu_ns();
      paths[i].spent_ns += now - before;
      before = now;
    }
  }
  OPAQUE(value);
  known_tell(paths, 4);
  return 0;
}
