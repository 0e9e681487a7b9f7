#include "dropout.hpp"

#include <algorithm>
#include <cstring>

#include "../../kernels/prefetch.hpp"
#include "../launch.hpp"
#include "../tensors/masks.hpp"

namespace fastopt {
namespace {

struct MaskTask {
  const DropoutStream& stream;
  const KernelTable& table;
  bool packed;
  std::uint8_t* mask;
};

void write_mask_range(const void* context, std::int64_t begin, std::int64_t end) {
  const auto& task = *static_cast<const MaskTask*>(context);
  for (; begin < end; begin += block_size) {
    const std::int64_t count = std::min(block_size, end - begin);
    std::uint8_t keep[block_size];
    task.table.philox_keep(task.stream, begin / block_size, keep);
    if (task.packed)
      pack_bits(keep, count, task.mask + begin / 8);
    else
      std::memcpy(task.mask + begin, keep, count);
  }
}

struct DropTask {
  const Tensors& list;
  const DropoutStream& stream;
  const KernelTable& table;

  template <class T>
  void drop(const Tensor& tensor, const Streams& at, std::int64_t begin, std::int64_t n) const {
    auto* out = static_cast<T*>(at.at[Streams::param]);
    const auto* given = static_cast<const T*>(at.at[Streams::grad]);
    const T* x = given ? given : out;
    const auto* mask = static_cast<const std::uint8_t*>(at.at[Streams::mask]);
    const bool packed = tensor.packed >> Streams::mask & 1;
    const auto scale = static_cast<T>(stream.keep_scale());
    for (std::int64_t i = 0; i < n; i += block_size) {
      const std::int64_t count = std::min(block_size, n - i);
      std::uint8_t made[block_size];
      prefetch_block(out, i + 2 * block_size);
      if (given) prefetch_block(x, i + 2 * block_size);
      if (!mask) table.philox_keep(stream, (begin + i) / block_size, made);
      if (packed) table.unpack_bits(mask + i / 8, packed_size(count), made);
      table.loops(T()).drop(count, scale, mask && !packed ? mask + i : made, x + i, out + i);
    }
  }

  void drop_range(const Tensor& tensor, std::int64_t begin, std::int64_t end) const {
    const auto run =
        tensor.dtype == Dtype::float32 ? &DropTask::drop<float> : &DropTask::drop<double>;
    list.for_each_tile(tensor, begin, end, 1u << Streams::param,
                       [&](const Streams& at, std::int64_t first, std::int64_t count) {
                         (this->*run)(tensor, at, first, count);
                       });
  }
};

void drop_ranges(const void* context, std::int64_t begin, std::int64_t end) {
  const auto& task = *static_cast<const DropTask*>(context);
  task.list.for_each_piece(begin, end,
                           [&](const Tensor& tensor, std::int64_t from, std::int64_t to) {
                             task.drop_range(tensor, from, to);
                           });
}

}  // namespace

void write_mask(const DropoutStream& stream, std::int64_t elements, bool packed, std::uint8_t* mask,
                int threads) {
  const MaskTask task{stream, current_table(), packed, mask};
  run_chunks({elements, elements}, block_size, threads, write_mask_range, &task);
}

void drop_elements(const Tensors& list, const DropoutStream& stream, int threads) {
  if (list.all.empty()) return;
  const DropTask task{list, stream, current_table()};
  run_chunks(list.index_space(), block_size, threads, drop_ranges, &task);
}

}  // namespace fastopt
