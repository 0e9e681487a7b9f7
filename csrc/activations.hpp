// Dropout of activations, and its masks.
#pragma once
#include <Python.h>

#include "dropout.hpp"

namespace fastopt {

// An argument of Python's that holds an array, with its name for messages.
struct NamedArray {
  const char* name;
  PyObject* array;  // borrowed; null where it is not given
};

// out = x / keep_prob where the decisions keep, else 0. `out` may be x. The decisions come from
// `mask` if it is given; what they are goes to `mask_out` if that is given.
void drop_activations(const char* function, NamedArray x, NamedArray out,
                      const DropoutStream& stream, NamedArray mask, NamedArray mask_out,
                      int threads);

// Writes the decisions on `elements` elements: a bit each, or a byte each, 0 or 1.
void write_mask(const DropoutStream& stream, std::int64_t elements, bool packed, std::uint8_t* mask,
                int threads);

}  // namespace fastopt
