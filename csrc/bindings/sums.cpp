// Norms, penalties, counts of zeros, the limit of norms, means of states: what is done to arrays
// besides steps.
#include "../arrays/collection.hpp"
#include "../engine/passes/max_norm.hpp"
#include "../engine/passes/norm.hpp"
#include "../engine/passes/penalty.hpp"
#include "../python/gil.hpp"
#include "../python/numbers.hpp"
#include "../step/functional.hpp"
#include "bindings.hpp"

namespace fastopt {
namespace {

void collect(const char* function, const char* name, py::handle tree, bool written, Collection& to,
             const PenaltyTree* penalties = nullptr, bool optional = false) {
  const ArrayArgument argument{{name, "", tree.ptr()}, Streams::param, written, optional};
  Arguments arguments{function, &argument, 1};
  arguments.penalties = penalties;
  arguments.alignment = sum_chunk;
  to.collect(arguments);
}

py::tuple global_norm(py::object grads, py::object threads) {
  const char* function = "global_norm";
  const int count = threads_or_default(function, threads);
  Collection given;
  collect(function, "grads", grads, false, given, nullptr, /*optional*/ !grads.is_none());
  Norms norms;
  {
    const WithoutGil released;
    norms.measure(given.tensors, count);
  }
  py::object nonfinite = py::none();
  if (norms.nonfinite_entry >= 0)
    nonfinite = py::str("grads" + path_of_leaf({"grads", "", grads.ptr()}, norms.nonfinite_entry));
  return py::make_tuple(norms.global.times(1), nonfinite);
}

double penalty(py::object params, const char* l1_name, py::object l1, py::object l2,
               py::object threads) {
  const char* function = "penalty";
  const auto read = [&](const char* name, py::handle given) -> PenaltyTree {
    if (is_container(given.ptr())) return {name, 0, given.ptr()};
    return {name, to_number(function, name, Range::non_negative, given.ptr()), nullptr};
  };
  const PenaltyTree first = read(l1_name, l1), second = read("l2", l2);
  const PenaltyTree penalties[] = {
      first, second, {"weight_decay", 0, nullptr}, {"l1_prox", 0, nullptr}};
  const int count = threads_or_default(function, threads);
  Collection given;
  collect(function, "params", params, false, given, penalties);
  const WithoutGil released;
  return penalty_of(given.tensors, count);
}

std::vector<std::int64_t> count_zeros(py::object params, py::object threads) {
  const char* function = "sparsity";
  const int count = threads_or_default(function, threads);
  Collection given;
  collect(function, "params", params, false, given);
  const WithoutGil released;
  return zeros_of(given.tensors, given.entries(), count);
}

void max_norm(py::list arrays, std::vector<int> vector_axes, py::object limit, py::object threads) {
  const char* function = "max_norm";
  const double longest = to_number(function, "limit", Range::positive, limit.ptr());
  const int count = threads_or_default(function, threads);
  // Once more, and held: whoever shares the tree may have changed it since its entries were named.
  Collection held;
  collect(function, "params", arrays, /*written*/ true, held);
  for (int i = 0; i < held.entries(); ++i) {
    PyArrayObject* array = as_array(held.nodes(i)[0]);
    const LaidOut laid_out{PyArray_BYTES(array), dtype_known(array), layout_of(array)};
    const WithoutGil released(PyArray_SIZE(array) >= release_threshold);
    limit_norms(laid_out, vector_axes.at(i), longest, count);
  }
}

py::object advance_means_of(const char* function, const char* name, const py::object& means,
                            const char* name_of_values, const py::object& values,
                            const py::object& beta2, const std::vector<unsigned char>& left_out,
                            const py::object& skip_nonfinite, const py::object& threads) {
  const Advance advance{beta2.ptr(), skip_nonfinite.ptr(), left_out,
                        threads_or_default(function, threads)};
  return to_pybind(advance_means(function, {name, "state.", means.ptr()},
                                 {name_of_values, "", values.ptr()}, advance));
}

}  // namespace

void add_sums(py::module_& module) {
  module.def("global_norm", global_norm, py::arg("grads"), py::arg("threads"));
  module.def("penalty", penalty, py::arg("params"), py::arg("l1_name"), py::arg("l1"),
             py::arg("l2"), py::arg("threads"));
  module.def("count_zeros", count_zeros, py::arg("params"), py::arg("threads"));
  module.def("max_norm", max_norm, py::arg("arrays"), py::arg("vector_axes"), py::arg("limit"),
             py::arg("threads"));
  module.def("advance_means", advance_means_of, py::arg("function"), py::arg("name"),
             py::arg("means"), py::arg("name_of_values"), py::arg("values"), py::arg("beta2"),
             py::arg("left_out"), py::arg("skip_nonfinite"), py::arg("threads"));
}

}  // namespace fastopt
