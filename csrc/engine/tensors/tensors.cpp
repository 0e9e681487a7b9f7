#include "tensors.hpp"

#include "../../kernels/table.hpp"
#include "masks.hpp"

namespace fastopt {

Streams Tensor::at(std::int64_t begin) const {
  Streams moved = streams;
  if (begin == 0) return moved;
  for (int s = 0; s < Streams::count; ++s)
    if (moved.at[s])
      moved.at[s] = static_cast<char*>(moved.at[s]) +
                    (packed >> s & 1 ? begin / 8 : begin * item_size(s, dtype));
  return moved;
}

Tensor& Tensors::add(const Tensor& tensor, std::int64_t alignment) {
  all.push_back(tensor);
  all.back().offset = extent;
  elements += tensor.size;
  extent += (tensor.size + alignment - 1) / alignment * alignment;
  return all.back();
}

Tensor& Tensors::add(Tensor tensor, int axes, const std::int64_t* shape, const StridedArray* arrays,
                     int count, std::int64_t alignment, const DropoutStream* drop) {
  layouts.emplace_back();
  Layout& layout = layouts.back();
  layout.axes = axes;
  std::copy_n(shape, axes, layout.shape);
  const auto set_mask = [&](int stream, std::uint8_t* mask) {
    tensor.streams.at[stream] = mask;
    tensor.packed &= ~(1u << stream);
    std::int64_t stride = 1;
    for (int axis = axes - 1; axis >= 0; --axis) {
      layout.strides[stream][axis] = stride;
      stride *= shape[axis];
    }
  };
  for (int i = 0; i < count; ++i) {
    const int stream = arrays[i].stream;
    if (tensor.packed >> stream & 1) {
      std::uint8_t* mask = new_mask(tensor.size);
      current_table().unpack_bits(static_cast<const std::uint8_t*>(arrays[i].data),
                                  packed_size(tensor.size), mask);
      set_mask(stream, mask);
    } else {
      tensor.streams.at[stream] = arrays[i].data;
      std::copy_n(arrays[i].strides, axes, layout.strides[stream]);
    }
  }
  if (drop) {
    std::uint8_t* mask = new_mask(tensor.size);
    for (std::int64_t begin = 0; begin < tensor.size; begin += block_size)
      current_table().philox_keep(drop->of_entry(tensor.entry), begin / block_size, mask + begin);
    set_mask(Streams::mask, mask);
  }
  tensor.layout = static_cast<int>(layouts.size()) - 1;
  if (layout.simplify(tensor.streams, tensor.dtype)) {
    tensor.layout = -1;
    layouts.pop_back();
  }
  return add(tensor, alignment);
}

void Tensors::add_flat(const Tensor& tensor, bool has_factors) {
  const std::int64_t stride = size_of(tensor.dtype);
  Tensor& added = add(tensor);
  if (has_factors) note_factors(added, 1, &added.size, &stride);
}

void Tensors::note_factors(Tensor& tensor, int axes, const std::int64_t* shape,
                           const std::int64_t* strides) {
  tensor.factored = static_cast<int>(factored.size());
  factored.emplace_back(axes, shape, strides, tensor.factors[1] != nullptr);
}

// Bits and random numbers know the order of an array's elements alone, not that of its memory.
std::uint8_t* Tensors::new_mask(std::int64_t size) {
  const std::int64_t whole_blocks = (size + block_size - 1) / block_size * block_size;
  masks_.push_back(std::unique_ptr<std::uint8_t[]>(new std::uint8_t[whole_blocks]));
  return masks_.back().get();
}

void Tensors::clear() {
  all.clear();
  empty.clear();
  masks_.clear();
  layouts.clear();
  factored.clear();
  constexpr std::size_t many = 256;  // at 6 KB each; not worth keeping for a step that is large
  if (layouts.capacity() > many) layouts.shrink_to_fit();
  if (factored.capacity() > many) factored.shrink_to_fit();
  elements = extent = 0;
}

}  // namespace fastopt
