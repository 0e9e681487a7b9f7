// The arrays that belong to one array of parameters.
#pragma once
#include <cstdint>

#include "../../dtype.hpp"

namespace fastopt {

// Where the arrays of one tensor are. What a call does not have is null.
struct Streams {
  static constexpr int param = 0, grad = 1, mask = 2, update_mask = 3, ema = 4, first_state = 5,
                       max_states = 6;
  static constexpr int count = first_state + max_states;

  // What comes with a tensor besides and is not like it: its means of rows and of columns, and
  // numbers of its state.
  static constexpr int first_factor = count, max_factors = 2;
  static constexpr int first_number = first_factor + max_factors, max_numbers = 4;
  static constexpr int all = first_number + max_numbers;
  void* at[count];

  static constexpr bool is_factor(int stream) {
    return stream >= first_factor && stream < first_number;
  }
  static constexpr bool is_number(int stream) { return stream >= first_number; }
  static constexpr bool is_mask(int stream) { return stream == mask || stream == update_mask; }
};

// The bytes of an element of a stream; what is no mask is stored as it is computed.
constexpr std::int64_t item_size(int stream, Dtype dtype) {
  return Streams::is_mask(stream) ? 1 : size_of(dtype);
}

}  // namespace fastopt
