// The arrays that belong to one array of parameters.
#pragma once
namespace fastopt {

// Where the arrays of one tensor are. What a call does not have is null.
struct Streams {
  static constexpr int param = 0, grad = 1, mask = 2, update_mask = 3, ema = 4, first_state = 5,
                       max_states = 3;
  static constexpr int count = first_state + max_states;
  void* at[count];

  static constexpr bool is_mask(int stream) { return stream == mask || stream == update_mask; }
};

}  // namespace fastopt
