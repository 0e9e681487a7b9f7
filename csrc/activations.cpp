#include "activations.hpp"

#include <algorithm>
#include <cstring>

#include "errors.hpp"
#include "launch.hpp"
#include "masks.hpp"
#include "numpy_array.hpp"
#include "prefetch.hpp"
#include "tiles.hpp"

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
  for (; begin < end; begin += keep_block) {
    const std::int64_t count = std::min(keep_block, end - begin);
    std::uint8_t keep[keep_block];
    task.table.philox_keep(task.stream, begin / keep_block, keep);
    if (task.packed)
      pack_bits(keep, count, task.mask + begin / 8);
    else
      std::memcpy(task.mask + begin, keep, count);
  }
}

struct DropTask {
  const TensorList& list;
  const DropoutStream& stream;
  const KernelTable& table;
  bool in_place;

  template <class T>
  void drop(const Tensor& tensor, const Streams& at, std::int64_t begin, std::int64_t n) const {
    auto* out = static_cast<T*>(at.at[Streams::param]);
    const auto* x = static_cast<const T*>(at.at[Streams::grad]);
    const auto* mask = static_cast<const std::uint8_t*>(at.at[Streams::mask]);
    const bool packed = tensor.packed >> Streams::mask & 1;
    const auto scale = static_cast<T>(stream.keep_scale());
    for (std::int64_t i = 0; i < n; i += keep_block) {
      const std::int64_t count = std::min(keep_block, n - i);
      std::uint8_t made[keep_block];
      prefetch_block(out, i + 2 * keep_block);
      if (!in_place) prefetch_block(x, i + 2 * keep_block);
      if (!mask) table.philox_keep(stream, (begin + i) / keep_block, made);
      if (packed) table.unpack_bits(mask + i / 8, packed_size(count), made);
      const T* from = in_place ? out + i : x + i;
      table.loops(T()).drop(count, scale, mask && !packed ? mask + i : made, from, out + i);
    }
  }

  void drop_range(const Tensor& tensor, std::int64_t begin, std::int64_t end) const {
    const auto run =
        tensor.dtype == Dtype::float32 ? &DropTask::drop<float> : &DropTask::drop<double>;
    for_each_tile(list, tensor, begin, end, 1u << Streams::param,
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
  run_chunks({elements, elements}, keep_block, threads, write_mask_range, &task);
}

void drop_activations(const char* function, NamedArray x, NamedArray out,
                      const DropoutStream& stream, NamedArray mask, NamedArray mask_out,
                      int threads) {
  for (const NamedArray& given : {x, out})
    if (is_container(given.array))
      raise_type_error(std::string(function) + ": " + given.name + " must be a NumPy array, not " +
                       type_of(given.array));
  TensorList list;
  const ArrayArgument only_x{{x.name, "", x.array}, Streams::param, false};
  list.collect(function, {&only_x, 1});  // alone, so that messages do not compare it with `out`
  std::uint8_t* bits = mask_out.array
                           ? packed_bits(function, mask_out.name, mask_out.array, list.elements)
                           : nullptr;

  const bool in_place = is_same_memory(x.array, out.array);
  ArrayArgument arguments[4];
  int count = 0;
  const auto take = [&](NamedArray given, int at, bool written) {
    if (given.array) arguments[count++] = {{given.name, "", given.array}, at, written};
  };
  take(out, Streams::param, true);
  if (!in_place) take(x, Streams::grad, false);
  take(mask, Streams::mask, false);
  take(mask_out, Streams::update_mask, true);  // for the checks alone
  list.collect(function, {arguments, count, nullptr, mask.array ? nullptr : &stream});

  // Nothing fails from here on.
  if (list.tensors.empty()) return;
  if (bits) write_mask(stream, list.elements, /*packed=*/true, bits, threads);
  const DropTask task{list, stream, current_table(), in_place};
  run_chunks(list.index_space(), keep_block, threads, drop_ranges, &task);
}

}  // namespace fastopt
