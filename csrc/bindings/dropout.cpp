// Dropout of activations.
#include "../engine/passes/dropout.hpp"

#include "../arrays/collection.hpp"
#include "../python/errors.hpp"
#include "../python/gil.hpp"
#include "../python/numbers.hpp"
#include "bindings.hpp"

namespace fastopt {
namespace {

DropoutStream dropout_stream(const char* function, py::handle p, py::handle seed,
                             py::handle offset) {
  return {to_number(function, "p", Range::zero_to_one, p.ptr()),
          to_uint64(function, "seed", seed.ptr()), to_uint64(function, "offset", offset.ptr())};
}

// `out` may be x. The decisions come from `mask` if it is given; what they are goes to `mask_out`
// if that is given.
void dropout(const char* function, const char* name, py::object x, py::object p, py::object seed,
             py::object offset, const char* out_name, py::object out, py::object mask,
             py::object mask_out, py::object threads) {
  const DropoutStream stream = dropout_stream(function, p, seed, offset);
  const int count = threads_or_default(function, threads);
  Collection collection;
  ArrayArgument arguments[4];
  int number = 0;
  const auto take = [&](const char* called, py::handle given, int at, bool written) {
    if (!given.is_none()) arguments[number++] = {{called, "", given.ptr()}, at, written};
  };
  take(name, x, Streams::param, false);
  collection.collect({function, arguments, 1});  // alone, so that messages do not speak of `out`
  const std::int64_t elements = collection.tensors.elements;
  std::uint8_t* bits =
      mask_out.is_none() ? nullptr : packed_bits(function, "mask_out", mask_out.ptr(), elements);
  number = 0;
  take(out_name, out, Streams::param, true);
  if (!is_same_memory(x.ptr(), out.ptr())) take(name, x, Streams::grad, false);
  take("mask", mask, Streams::mask, false);
  take("mask_out", mask_out, Streams::update_mask, true);  // for the checks alone
  Arguments all{function, arguments, number};
  all.drop = mask.is_none() ? &stream : nullptr;
  collection.collect(all);

  // Nothing fails from here on.
  const WithoutGil released(elements >= release_threshold);
  if (bits) write_mask(stream, elements, /*packed=*/true, bits, count);
  drop_elements(collection.tensors, stream, count);
}

void check_dropout(const char* function, py::object p, py::object seed, py::object offset) {
  dropout_stream(function, p, seed, offset);
}

void dropout_mask(py::buffer out, std::int64_t elements, py::object p, py::object seed,
                  py::object offset, bool packed, py::object threads) {
  const char* function = "dropout_mask";
  const DropoutStream stream = dropout_stream(function, p, seed, offset);
  const int count = threads_or_default(function, threads);
  const py::buffer_info bytes = out.request(/*writable=*/true);
  const WithoutGil released(elements >= release_threshold);
  write_mask(stream, elements, packed, static_cast<std::uint8_t*>(bytes.ptr), count);
}

}  // namespace

void add_dropout(py::module_& module) {
  module.def("dropout", dropout, py::arg("function"), py::arg("name"), py::arg("x"), py::arg("p"),
             py::arg("seed"), py::arg("offset"), py::arg("out_name"), py::arg("out"),
             py::arg("mask"), py::arg("mask_out"), py::arg("threads"));
  module.def("check_dropout", check_dropout, py::arg("function"), py::arg("p"), py::arg("seed"),
             py::arg("offset"));
  module.def("dropout_mask", dropout_mask, py::arg("out"), py::arg("elements"), py::arg("p"),
             py::arg("seed"), py::arg("offset"), py::arg("packed"), py::arg("threads"));
}

}  // namespace fastopt
