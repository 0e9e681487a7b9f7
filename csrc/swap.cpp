#include "swap.hpp"

#include <algorithm>

#include "tiles.hpp"

namespace fastopt {

void swap_contents(const TensorList& list) {
  constexpr unsigned both = 1u << Streams::param | 1u << Streams::ema;
  for (const Tensor& tensor : list.tensors) {
    const std::int64_t item = item_sizes(tensor.dtype)[Streams::param];
    for_each_tile(list, tensor, 0, tensor.size, both,
                  [&](const Streams& at, std::int64_t /*first*/, std::int64_t count) {
                    auto* param = static_cast<char*>(at.at[Streams::param]);
                    std::swap_ranges(param, param + count * item,
                                     static_cast<char*>(at.at[Streams::ema]));
                  });
  }
}

}  // namespace fastopt
