// As known.c, in C++: a member of a class template, a virtual function, a lambda, a callback through another image.
// Argument: seconds of CPU time.
#include "known.h"

namespace known {

struct Shape {
  virtual ~Shape() {}
  virtual word area(word value) const = 0;
};

struct Circle : Shape {
  NOINLINE word area(word value) const override {
    for (int i = 0; i < 20000; i++) value = value * 2862933555777941757UL + 3037000493UL;
    return value;
  }
};

template <typename T> struct Worker {
  const Shape *shape;
  NOINLINE T run(T value) const {
    T result = shape->area(value);
    OPAQUE(result);
    return result + 1;
  }
};

NOINLINE word alpha_outer(word value) {
  static Circle circle;
  Worker<word> worker{&circle};
  word result = worker.run(value);
  OPAQUE(result);
  return result + 1;
}

NOINLINE word beta_callback(word value) {
  for (int i = 0; i < 20000; i++) value = value * 6364136223846793005UL + 1442695040888963407UL;
  return value;
}

NOINLINE word beta_outer(word value) {
  // One that throws in it has a cold part and a landing pad.
  try {
    word result = known_lib_call(beta_callback, value);
    if (result == 7) throw result;
    OPAQUE(result);
    return result + 1;
  } catch (word thrown) {
    return thrown;
  }
}

} // namespace known

static struct path paths[] = {
    {"main;known::alpha_outer;known::Worker<unsigned long>::run;known::Circle::area", known::alpha_outer, 0},
    {"main;known::beta_outer;known_lib_call;known::beta_callback", known::beta_outer, 0},
};

int main(int argc, char **argv) {
  word end_ns = (word)(1e9 * (argc > 1 ? atof(argv[1]) : 1.0)), value = 1;
  known_wait();
  for (word before = known_cpu_ns(), begin = before; before - begin < end_ns;) {
    for (int i = 0; i < 2; i++) {
      for (int times = 0; times < 20; times++) value = paths[i].function(value);
      word now = known_cpu_ns();
      paths[i].spent_ns += now - before;
      before = now;
    }
  }
  OPAQUE(value);
  known_tell(paths, 2);
  return 0;
}
