// The memory of tensors of other libraries, as DLPack tells of it:
// https://dmlc.github.io/dlpack/latest/
#pragma once
#include <cstdint>
#include <string>

#include "numpy_array.hpp"

namespace fastopt {

// Where the elements of a tensor lie, and how. Shape and strides belong to the tensor.
struct DLTensor {
  void* data;
  struct {
    std::int32_t type, id;
  } device;
  std::int32_t axes;
  struct {
    std::uint8_t code, bits;
    std::uint16_t lanes;
  } dtype;
  std::int64_t *shape, *strides;  // strides count elements; null where the shape tells them
  std::uint64_t byte_offset;

  void* begin() const { return static_cast<char*>(data) + byte_offset; }
};

// Whether the class of an object says that it can be exchanged. Runs no code of the user's.
bool offers_dlpack(PyObject* object);

// Reads a tensor whose class has DLPack's table for C, in a fraction of the time that a view takes.
// False where it has none, or the tensor is not one of plain memory on the CPU. Runs no code of the
// user's.
bool read_tensor(PyObject* object, DLTensor& to);

// Whether a tensor still has the memory, dtype, shape and strides of an array that was made as its
// view. Without that table nobody can tell, and it is taken to be so.
bool lies_as(PyObject* object, PyArrayObject* view);

// Whether a tensor that was read has this dtype, and this shape with its elements in order.
bool is_contiguous_like(const DLTensor& tensor, PyArrayObject* array);

// Another tensor for the same memory, which holds it: it stays even where the object gets other
// memory. (Only a storage of torch's that is resized frees it.) Null where its class makes none.
// May run code of the user's.
Object alias_of(PyObject* object);

// An array that shares the memory of an object that offers DLPack, and holds it likewise. Null
// where there can be none; `why` then says what the object is. May run code of the user's.
Object view_of(PyObject* object, std::string& why);

// Whether an array is such a view.
bool is_lent_by_dlpack(PyArrayObject* array);

}  // namespace fastopt
