/* The other image of known.c and known.cpp: calls back, and is called often for little. */
#include "known.h"

NOINLINE word known_lib_call(callback function, word value) {
  word result = function(value);
  OPAQUE(result);
  return result + 1;
}

NOINLINE word known_lib_tiny(word value) {
  OPAQUE(value);
  return value * 3;
}
