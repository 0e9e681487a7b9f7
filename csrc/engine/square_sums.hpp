// The squares of a part of a tensor, added up by its rows and columns.
#pragma once
#include <algorithm>
#include <cstdint>

#include "../block.hpp"
#include "../kernels/table.hpp"
#include "tensors/factored.hpp"

namespace fastopt {

// Takes the elements in the order of memory, run by run. All elements of a run are of one row, or
// all of one column, or neither. Such a sum is open, and in lanes, as long as runs of the same row
// follow, and is folded when another one begins.
class SquareSums {
 public:
  SquareSums(const KernelTable& table, const FactorSums& to, bool has_columns)
      : table_(table), to_(to), has_columns_(has_columns) {}

  // Of the next n elements, the first of which is of this row and this column.
  template <class T>
  void add(std::int64_t n, const T* g, std::int64_t row, std::int64_t by_row, std::int64_t column,
           std::int64_t by_column) {
    double *of_row = to_.rows + row, *of_column = to_.columns + column;
    if (has_columns_ && by_row == 0 && by_column == 1) return add_both(n, g, of_row, of_column);
    if (has_columns_ && by_row == 1 && by_column == 0) return add_both(n, g, of_column, of_row);
    add_to(of_row, by_row, n, g);
    if (has_columns_) add_to(of_column, by_column, n, g);
  }

  // How many of them take part, where not all do.
  void count(std::int64_t n, const std::uint8_t* takes_part, std::int64_t row, std::int64_t by_row,
             std::int64_t column, std::int64_t by_column) {
    for (std::int64_t i = 0; i < n; ++i) to_.row_counts[row + i * by_row] += takes_part[i] != 0;
    for (std::int64_t i = 0; i < n && has_columns_; ++i)
      to_.column_counts[column + i * by_column] += takes_part[i] != 0;
  }

  // To be called after the last run.
  void close() { open(nullptr); }

 private:
  void open(double* next) {
    if (next == open_) return;
    if (open_)  // the sum of as many numbers as there are lanes is what these fold to
      *open_ += table_.float64.sums.plain(in_lanes_, /*scale=*/1, lanes);
    open_ = next;
    elements_ = 0;
    std::fill_n(in_lanes_, lanes, 0.0);
  }

  template <class T>
  void add_both(std::int64_t n, const T* g, double* one, double* each) {
    open(one);
    table_.loops(T()).add_squares(n, g, elements_, in_lanes_, each);
    elements_ += n;
  }

  template <class T>
  void add_to(double* sum, std::int64_t stride, std::int64_t n, const T* g) {
    if (stride == 0) {
      open(sum);
      table_.loops(T()).sum_squares(n, g, elements_, in_lanes_);
      elements_ += n;
      return;
    }
    double squares[block_size];
    table_.loops(T()).square(n, g, squares);
    if (stride == 1) return table_.add(n, squares, sum);
    for (std::int64_t i = 0; i < n; ++i) sum[i * stride] += squares[i];
  }

  const KernelTable& table_;
  FactorSums to_;
  bool has_columns_;
  double* open_ = nullptr;
  std::int64_t elements_ = 0;  // of the open sum, so far
  double in_lanes_[lanes];
};

}  // namespace fastopt
