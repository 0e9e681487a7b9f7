#include "swap.hpp"

#include <algorithm>

namespace fastopt {

void swap_contents(const Tensors& list) {
  constexpr unsigned both = 1u << Streams::param | 1u << Streams::ema;
  for (const Tensor& tensor : list.all) {
    list.for_each_tile(tensor, 0, tensor.size, both,
                       [&](const Streams& at, std::int64_t /*first*/, std::int64_t count) {
                         auto* param = static_cast<char*>(at.at[Streams::param]);
                         std::swap_ranges(param, param + count * size_of(tensor.dtype),
                                          static_cast<char*>(at.at[Streams::ema]));
                       });
  }
}

}  // namespace fastopt
