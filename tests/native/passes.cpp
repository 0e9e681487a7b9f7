// What serves the functions that are no steps.
#include <limits>
#include <memory>

#include "../../csrc/engine/passes/dropout.hpp"
#include "../../csrc/engine/passes/max_norm.hpp"
#include "../../csrc/engine/passes/norm.hpp"
#include "../../csrc/engine/passes/penalty.hpp"
#include "../../csrc/engine/passes/swap.hpp"
#include "../../csrc/engine/tensors/masks.hpp"
#include "checksums.hpp"
#include "values.hpp"

namespace native {
namespace {

using namespace fastopt;

const DropoutStream decisions(0.4, 0xFEDCBA9876543210, 3);

// Arrays of the shapes, in Streams::param and in others that are asked for.
class Arrays {
 public:
  Arrays(Dtype dtype, bool strided, std::vector<int> others = {},
         std::int64_t alignment = block_size, const DropoutStream* drop = nullptr)
      : dtype_(dtype),
        strided_(strided),
        alignment_(alignment),
        drop_(drop),
        streams_(std::move(others)) {
    streams_.push_back(Streams::param);
    for (int tensor = 0; tensor < tensors; ++tensor) {
      for (int stream : streams_) {
        auto& array = of_[tensor][stream];
        array = std::make_unique<Array>(item_size(stream, dtype), shapes[tensor],
                                        order_of(tensor, stream));
        array->fill(values_of(dtype).at(stream, tensor));
      }
      penalties_[tensor] = {0.1 * (tensor % 3), 0.2 * (tensor % 2), 0, 0};
      add(tensor);
    }
  }

  Tensors list;

  void set(int tensor, std::int64_t i, double number) {
    const auto single = static_cast<float>(number);
    char* place = of_[tensor][Streams::param]->at(i);
    dtype_ == Dtype::float32 ? std::memcpy(place, &single, sizeof single)
                             : std::memcpy(place, &number, sizeof number);
  }

  void add_to(Checksum& sum, int stream = Streams::param) const {
    for (const auto& tensor : of_) tensor[stream]->add_to(sum, dtype_);
  }

  LaidOut laid_out(int tensor) const {
    const Array& array = *of_[tensor][Streams::param];
    LaidOut made{static_cast<char*>(array.data()), dtype_, {}};
    made.layout.axes = 2;
    made.layout.shape[0] = shapes[tensor].rows;
    made.layout.shape[1] = shapes[tensor].columns;
    for (int axis : {0, 1}) made.layout.strides[Streams::param][axis] = array.strides()[axis];
    return made;
  }

 private:
  Order order_of(int tensor, int stream) const {
    return strided_ ? Order((tensor + 2 * stream + 2) % int(Order::count)) : Order::contiguous;
  }

  void add(int number) {
    Tensor tensor{};
    tensor.size = shapes[number].size();
    tensor.dtype = dtype_;
    tensor.layout = -1;
    tensor.entry = drop_ ? 0 : number;  // dropout of activations knows one array
    tensor.penalties = &penalties_[number];
    std::vector<StridedArray> in_memory;
    for (int stream : streams_) {
      const Array& array = *of_[number][stream];
      tensor.streams.at[stream] = array.data();
      in_memory.push_back({stream, array.data(), array.strides()});
    }
    const std::int64_t shape[] = {shapes[number].rows, shapes[number].columns};
    if (strided_)
      list.add(tensor, 2, shape, in_memory.data(), static_cast<int>(in_memory.size()), alignment_,
               drop_);
    else
      list.add(tensor, alignment_);
  }

  Dtype dtype_;
  bool strided_;
  std::int64_t alignment_;
  const DropoutStream* drop_;
  std::vector<int> streams_;
  std::unique_ptr<Array> of_[tensors][Streams::count];
  Penalties penalties_[tensors];
};

void measure(Checksum& sum, const Tensors& list, int threads) {
  Norms norms;
  expect_workers();
  norms.measure(list, threads);
  sum.add(norms.global.times(1));
  for (std::size_t i = 0; i < list.all.size(); ++i) sum.add(norms.of_tensor(i).times(1));
  sum.add(static_cast<std::uint64_t>(norms.nonfinite_entry + 1));
}

// As it is, with squares that are too large for doubles, and with an infinity.
Checksum norms(Dtype dtype, bool strided, int threads) {
  Checksum sum;
  Arrays arrays(dtype, strided, {}, sum_chunk);
  measure(sum, arrays.list, threads);
  arrays.set(5, 4000, dtype == Dtype::float32 ? 1e38 : 1e300);
  measure(sum, arrays.list, threads);
  arrays.set(7, 29999, std::numeric_limits<double>::infinity());
  measure(sum, arrays.list, threads);
  return sum;
}

Checksum penalties(Dtype dtype, bool strided, int threads) {
  Checksum sum;
  const Arrays arrays(dtype, strided, {}, sum_chunk);
  sum.add(penalty_of(arrays.list, threads));
  for (std::int64_t zeros : zeros_of(arrays.list, tensors, threads))
    sum.add(static_cast<std::uint64_t>(zeros));
  return sum;
}

// No axis is a vector's, the first one is, or both are.
Checksum max_norms(Dtype dtype, bool strided, int threads) {
  Checksum sum;
  for (int vector_axes = 0; vector_axes <= 2; ++vector_axes) {
    Arrays arrays(dtype, strided);
    arrays.set(6, 4000, dtype == Dtype::float32 ? 1e38 : 1e300);
    expect_workers();
    for (int tensor = 0; tensor < tensors; ++tensor)
      limit_norms(arrays.laid_out(tensor), vector_axes, 0.75, threads);
    arrays.add_to(sum);
  }
  return sum;
}

Checksum swap(Dtype dtype, bool strided, int /*threads*/) {
  const Arrays arrays(dtype, strided, {Streams::ema});
  swap_contents(arrays.list);
  Checksum sum;
  arrays.add_to(sum);
  arrays.add_to(sum, Streams::ema);
  return sum;
}

// Of the arrays themselves, of others, and with a mask.
Checksum dropout(Dtype dtype, bool strided, int threads) {
  Checksum sum;
  for (const auto& others : std::vector<std::vector<int>>{
           {}, {Streams::grad}, {Streams::mask}, {Streams::grad, Streams::mask}}) {
    const bool has_mask = !others.empty() && others.back() == Streams::mask;
    const Arrays arrays(dtype, strided, others, block_size, has_mask ? nullptr : &decisions);
    expect_workers();
    drop_elements(arrays.list, decisions, threads);
    arrays.add_to(sum);
  }
  return sum;
}

Checksum dropout_masks(int threads) {
  Checksum sum;
  for (const Shape& shape : shapes) {
    const std::int64_t size = shape.size();
    std::vector<std::uint8_t> bytes(size), bits(packed_size(size)), packed(packed_size(size));
    expect_workers();
    write_mask(decisions, size, /*packed*/ false, bytes.data(), threads);
    write_mask(decisions, size, /*packed*/ true, bits.data(), threads);
    pack_bits(bytes.data(), size, packed.data());
    require(bits == packed, "a mask in bits is another than the one in bytes");
    for (std::uint8_t byte : bits) sum.add(std::uint64_t{byte});
  }
  return sum;
}

}  // namespace

void add_passes(Lines& lines, int threads) {
  const struct {
    const char* name;
    Checksum (*run)(Dtype dtype, bool strided, int threads);
  } passes[] = {{"norms", norms},
                {"penalties", penalties},
                {"max_norms", max_norms},
                {"swap", swap},
                {"dropout", dropout}};
  for (const auto& pass : passes)
    for (const Dtype dtype : {Dtype::float32, Dtype::float64}) {
      const std::string what = std::string(pass.name) + " " + name_of(dtype);
      const Checksum sum = pass.run(dtype, false, threads);
      require(sum.value() == pass.run(dtype, true, threads).value(),
              what + ": arrays that are not contiguous come out differently");
      lines.add(what, sum);
    }
  lines.add("dropout_masks", dropout_masks(threads));
}

}  // namespace native
