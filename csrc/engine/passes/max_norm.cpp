#include "max_norm.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../launch.hpp"

namespace fastopt {
namespace {

// Vectors are taken so many at a time, element by element of each. Where they are the columns of a
// matrix, its rows are read as they lie in memory; where they are its rows, each is a stream of its
// own, and more would drive each other out of the cache.
constexpr std::int64_t most_side_by_side = 64, streams_side_by_side = 8;

// Walks the index space of some axes in C order and knows the place in memory.
class Walk {
 public:
  Walk(const Layout& layout, int first_axis, int last_axis, std::int64_t element)
      : layout_(layout), first_(first_axis), last_(last_axis) {
    for (int axis = last_ - 1; axis >= first_; --axis) {
      index_[axis] = element % layout.shape[axis];
      offset_ += index_[axis] * stride(axis);
      element /= layout.shape[axis];
    }
  }

  std::int64_t offset() const { return offset_; }

  void advance() {
    for (int axis = last_ - 1; axis >= first_; --axis) {
      offset_ += stride(axis);
      if (++index_[axis] < layout_.shape[axis]) return;
      offset_ -= index_[axis] * stride(axis);
      index_[axis] = 0;
    }
  }

 private:
  std::int64_t stride(int axis) const { return layout_.strides[Streams::param][axis]; }

  const Layout& layout_;
  int first_, last_;
  std::int64_t index_[Layout::max_axes];
  std::int64_t offset_ = 0;
};

struct Task {
  const LaidOut& array;
  int vector_axes;
  std::int64_t length;  // of a vector
  double limit;
  std::int64_t side_by_side;

  // Limits the vectors [begin, begin + count), count <= most_side_by_side.
  template <class T>
  void limit_some(std::int64_t begin, std::int64_t count) const {
    const Vectors<T> vectors(*this, begin, count);
    double norms[most_side_by_side];
    measure(vectors, norms);
    T factors[most_side_by_side], more[most_side_by_side];  // 1 keeps the bits
    constexpr T smallest = std::numeric_limits<T>::min();
    for (std::int64_t v = 0; v < count; ++v) {
      const bool is_long = norms[v] > limit && std::isfinite(norms[v]);
      const double factor = is_long ? limit / norms[v] : 1;
      const bool in_two = factor < smallest;  // T has few digits for it, or none
      factors[v] = T(in_two ? factor / smallest : factor);
      more[v] = in_two ? smallest : T(1);
    }
    const auto is_one = [](T factor) { return factor == 1; };
    if (std::all_of(factors, factors + count, is_one) && std::all_of(more, more + count, is_one))
      return;
    vectors.for_each_element([&](std::int64_t v, T& x) { x = x * factors[v] * more[v]; });
  }

  // A square may be infinite where the number is not, or zero; on another scale it is not.
  template <class Vectors>
  void measure(const Vectors& vectors, double* norms) const {
    constexpr double large = 0x1p600, small = 0x1p-600, tiny_limit = 0x1p-450;
    std::fill_n(norms, vectors.count, std::numeric_limits<double>::infinity());
    for (double scale : {large, 1.0, small}) {
      if (scale == large && limit >= tiny_limit) continue;
      double scaled[most_side_by_side];
      measure(vectors, scale, scaled);
      for (std::int64_t v = 0; v < vectors.count; ++v)
        if (!std::isfinite(norms[v])) norms[v] = scaled[v] / scale;
      if (std::all_of(norms, norms + vectors.count, [](double x) { return std::isfinite(x); }))
        return;
    }
  }

  template <class T>
  struct Vectors {
    const Task& task;
    std::int64_t count;
    char* begin[most_side_by_side];
    bool neighbours = true;  // their first elements lie side by side, and so do all

    Vectors(const Task& of, std::int64_t first, std::int64_t number) : task(of), count(number) {
      Walk to_vector(of.array.layout, of.vector_axes, of.array.layout.axes, first);
      for (std::int64_t v = 0; v < count; ++v, to_vector.advance()) {
        begin[v] = of.array.data + to_vector.offset();
        neighbours = neighbours && begin[v] - begin[0] == v * std::int64_t(sizeof(T));
      }
    }

    // Visits the first elements of all vectors, then the second ones, and so on.
    template <class Visit>
    void for_each_element(const Visit& visit) const {
      Walk element(task.array.layout, 0, task.vector_axes, 0);
      for (std::int64_t i = 0; i < task.length; ++i, element.advance()) {
        const std::int64_t offset = element.offset();
        T* row = reinterpret_cast<T*>(begin[0] + offset);
        if (neighbours)
          for (std::int64_t v = 0; v < count; ++v) visit(v, row[v]);
        else
          for (std::int64_t v = 0; v < count; ++v)
            visit(v, *reinterpret_cast<T*>(begin[v] + offset));
      }
    }
  };

  template <class T>
  void measure(const Vectors<T>& vectors, double scale, double* norms) const {
    double squares[most_side_by_side] = {};
    vectors.for_each_element([&](std::int64_t v, const T& element) {
      const double x = scale * element;
      squares[v] += x * x;
    });
    for (std::int64_t v = 0; v < vectors.count; ++v) norms[v] = std::sqrt(squares[v]);
  }
};

void limit_range(const void* context, std::int64_t begin, std::int64_t end) {
  const Task& task = *static_cast<const Task*>(context);
  const bool is_float = task.array.dtype == Dtype::float32;
  for (; begin < end; begin += task.side_by_side) {
    const std::int64_t count = std::min(task.side_by_side, end - begin);
    is_float ? task.limit_some<float>(begin, count) : task.limit_some<double>(begin, count);
  }
}

}  // namespace

void limit_norms(const LaidOut& array, int vector_axes, double limit, int threads) {
  const Layout& layout = array.layout;
  std::int64_t length = 1, vectors = 1;
  for (int axis = 0; axis < layout.axes; ++axis)
    (axis < vector_axes ? length : vectors) *= layout.shape[axis];
  if (length * vectors == 0) return;
  const bool neighbours = vector_axes < layout.axes &&
                          layout.strides[Streams::param][layout.axes - 1] == size_of(array.dtype);
  const Task task{array, vector_axes, length, limit,
                  neighbours ? most_side_by_side : streams_side_by_side};
  run_chunks({length * vectors, vectors}, task.side_by_side, threads, limit_range, &task);
}

}  // namespace fastopt
