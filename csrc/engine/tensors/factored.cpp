#include "factored.hpp"

#include <algorithm>
#include <numeric>

namespace fastopt {

RowsAndColumns::RowsAndColumns(int axes, const std::int64_t* shape, const std::int64_t* strides,
                               bool has_columns)
    : axes(axes), length(axes > 0 ? shape[0] : 1) {
  std::int64_t of_row[Layout::max_axes] = {}, of_column[Layout::max_axes] = {};
  const auto set = [&](std::int64_t* to, int left_out) {  // returns how many there are
    std::int64_t stride = 1;
    for (int axis = axes - 1; axis >= 0; --axis) {
      if (axis == left_out) continue;
      to[axis] = stride;
      stride *= shape[axis];
    }
    return stride;
  };
  rows = set(of_row, is_whole() ? -1 : axes - 1);
  const std::int64_t all_columns = is_whole() ? 0 : set(of_column, axes - 2);
  columns = has_columns ? all_columns : 0;
  row_size = is_whole() ? 1 : shape[axes - 1];
  column_size = is_whole() ? 1 : shape[axes - 2];

  int order[Layout::max_axes];
  const int kept = order_of_memory(axes, shape, strides, order);
  for (int i = 0; i < kept; ++i) {
    const int axis = order[i];
    add_axis(shape[axis], of_row[axis], of_column[axis], strides[axis] < 0);
  }
  if (kept == 0) add_axis(1, 0, 0, /*backwards=*/false);
}

void RowsAndColumns::add_axis(std::int64_t size, std::int64_t row_stride,
                              std::int64_t column_stride, bool backwards) {
  if (backwards) {
    first_row_ += (size - 1) * row_stride;
    first_column_ += (size - 1) * column_stride;
    row_stride = -row_stride;
    column_stride = -column_stride;
  }
  shape_[kept_] = size;
  row_strides_[kept_] = row_stride;
  column_strides_[kept_++] = column_stride;
}

std::int64_t RowsAndColumns::unit() const {
  return rows_in_order() ? std::lcm(block_size, row_size) : block_size;
}

int RowsAndColumns::parts(std::int64_t size) const {
  constexpr std::int64_t most = 16, little = 8;
  const std::int64_t of_sums = is_whole() ? 1 : rows + columns;
  const std::int64_t units = (size + unit() - 1) / unit();
  return static_cast<int>(
      std::min(units, std::clamp<std::int64_t>(size / (little * of_sums), 1, most)));
}

std::int64_t RowsAndColumns::edge(int part, std::int64_t size) const {
  const std::int64_t units = (size + unit() - 1) / unit();
  return std::min(units * part / parts(size) * unit(), size);
}

bool RowsAndColumns::rows_in_order() const {
  const int last = kept_ - 1;
  bool in_order = !is_whole() && columns == 0 && first_row_ == 0 && row_strides_[last] == 0;
  std::int64_t stride = 1;
  for (int axis = last - 1; axis >= 0; --axis) {
    in_order = in_order && row_strides_[axis] == stride;
    stride *= shape_[axis];
  }
  return in_order;
}

RowsAndColumns::Rows RowsAndColumns::rows_of(std::int64_t begin, std::int64_t end) const {
  if (!rows_in_order() || begin == end) return {0, rows};
  const std::int64_t first = begin / row_size;
  return {first, (end - 1) / row_size + 1 - first};
}

template <class T>
void advance_factors(const RowsAndColumns& of, const FactoredMoment& moment, const FactorSums& all,
                     T* rows, T* columns) {
  const auto advance = [&](std::int64_t count, std::int64_t size, const double* squares,
                           const double* kept, T* means) {
    for (std::int64_t i = 0; i < count; ++i) {
      const double elements = kept ? kept[i] : static_cast<double>(size);
      if (elements > 0) means[i] = advanced(moment, means[i], squares[i] / elements);
    }
  };
  advance(of.rows, of.row_size, all.rows, all.row_counts, rows);
  if (of.columns == 0) return;
  advance(of.columns, of.column_size, all.columns, all.column_counts, columns);
  const auto inverse_root = [](double x) { return T(1 / std::sqrt(x)); };
  constexpr T most = std::numeric_limits<T>::max();  // times a column of no size it is finite
  T* of_rows = static_cast<T*>(of.inverse_rows);
  T* of_columns = static_cast<T*>(of.inverse_columns);
  for (std::int64_t row = 0, column = 0; row < of.rows; row += of.column_size) {
    double sum = 0, count = 0;  // of rows that take part
    for (std::int64_t i = row; i < row + of.column_size; ++i) {
      const T inverse = inverse_root(rows[i]);
      of_rows[i] = inverse > most ? most : inverse;
      if (all.row_counts && all.row_counts[i] == 0) continue;
      sum += rows[i];
      ++count;
    }
    const double mean = sum / count;
    const double divisor = mean < moment.least_mean ? moment.least_mean : mean;
    for (const std::int64_t end = column + of.row_size; column < end; ++column)
      of_columns[column] = inverse_root(columns[column] / divisor);
  }
}

template void advance_factors(const RowsAndColumns&, const FactoredMoment&, const FactorSums&,
                              float*, float*);
template void advance_factors(const RowsAndColumns&, const FactoredMoment&, const FactorSums&,
                              double*, double*);

}  // namespace fastopt
