#include "dlpack.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "../python/attribute.hpp"
#include "../python/errors.hpp"

namespace fastopt {

namespace {

struct DLManagedTensorVersioned {
  std::uint32_t major, minor;
  void* manager;
  void (*deleter)(DLManagedTensorVersioned*);
  std::uint64_t flags;
  DLTensor tensor;

  static constexpr std::uint64_t read_only = 1, is_copy = 2;
};

// What a class offers to C under __dlpack_c_exchange_api__. Functions return 0, or set an error.
struct ExchangeTable {
  std::uint32_t major, minor;
  const void* previous;
  void* allocate;
  int (*managed_from_object)(void* object, DLManagedTensorVersioned** to);
  void* to_object;
  int (*read)(void* object, DLTensor* to);
  void* stream;
};

constexpr int on_cpu = 1;
constexpr const char* capsule_name = "fastopt_dltensor";
enum Code : std::uint8_t { of_uint = 1, of_float = 2, of_bool = 6 };

PyObject* interned(const char* text) { return PyUnicode_InternFromString(text); }

const ExchangeTable* find_table(PyTypeObject* type) {
  static PyObject* name = interned("__dlpack_c_exchange_api__");
  const Object found = in_class(type, name);
  if (!found || !PyCapsule_CheckExact(found.ptr())) return nullptr;
  const void* table = PyCapsule_GetPointer(found.ptr(), "dlpack_exchange_api");
  if (!table) PyErr_Clear();
  const auto* known = static_cast<const ExchangeTable*>(table);
  return known && known->major == 1 ? known : nullptr;
}

// The same, remembered for two classes: parameters and gradients may have one each. No other class
// will ever have the version of one.
const ExchangeTable* table_of(PyTypeObject* type) {
  struct Known {
    PyTypeObject* type;
    unsigned version;
    const ExchangeTable* table;
  };
  static thread_local Known latest[2];
  const auto is_it = [&](const Known& known) {
    return known.type == type && known.version == type->tp_version_tag && known.version != 0;
  };
  if (is_it(latest[0])) return latest[0].table;
  if (!is_it(latest[1])) latest[1] = {type, 0, find_table(type)};
  latest[1].version = type->tp_version_tag;  // looking it up may have given it one
  std::swap(latest[0], latest[1]);
  return latest[0].table;
}

std::int64_t byte_stride(const DLTensor& tensor, int axis) {
  return tensor.strides[axis] * tensor.dtype.bits / 8;
}

// Takes Python's error away, and returns its text; what must not be taken goes on.
std::string take_error() {
  if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError))
    throw PythonError{};
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  const Object held[] = {Object::steal(type), Object::steal(value), Object::steal(traceback)};
  return value ? text_of(value) : "";
}

// NumPy's number of a dtype, or -1.
int type_number(const DLTensor& tensor) {
  const auto& dtype = tensor.dtype;
  if (dtype.lanes != 1) return -1;
  switch (dtype.code) {
    case of_float:
      return dtype.bits == 32 ? NPY_FLOAT32 : dtype.bits == 64 ? NPY_FLOAT64 : -1;
    case of_bool:
      return dtype.bits == 8 ? NPY_BOOL : -1;
    case of_uint:
      return dtype.bits == 8 ? NPY_UINT8 : -1;
    default:
      return -1;
  }
}

bool has_memory(const DLTensor& tensor) {
  if (tensor.device.type != on_cpu) return false;
  return tensor.data || std::any_of(tensor.shape, tensor.shape + tensor.axes,
                                    [](std::int64_t length) { return length == 0; });
}

bool has_shape_of(const DLTensor& tensor, PyArrayObject* array) {
  return tensor.axes == PyArray_NDIM(array) &&
         std::equal(tensor.shape, tensor.shape + tensor.axes, PyArray_DIMS(array));
}

// str() of an attribute, or "".
std::string text_of_attribute(PyObject* object, const char* name) {
  const Object value = attribute_or_null(object, name);
  return value ? text_of(value.ptr()) : "";
}

std::string a_type(PyObject* object) { return "a " + type_of(object); }

// What is said of a tensor of which DLPack has nothing to tell.
std::string why_not_read(PyObject* object) {
  const std::string device = text_of_attribute(object, "device");
  const std::string layout = text_of_attribute(object, "layout");
  if (layout != "" && layout != "torch.strided")
    return a_type(object) + " of layout " + layout + "; a step takes dense ones";
  if (device != "" && device != "cpu")
    return a_type(object) + " on the device " + device + "; a step takes memory of the host";
  return a_type(object) + " without plain memory on the CPU";
}

std::string why_not_viewed(PyObject* object, const DLTensor& tensor) {
  if (!has_memory(tensor)) return why_not_read(object);
  if (tensor.axes > NPY_MAXDIMS)
    return a_type(object) + " of " + std::to_string(tensor.axes) + " axes; NumPy has at most " +
           std::to_string(NPY_MAXDIMS);
  const std::string dtype = text_of_attribute(object, "dtype");
  if (type_number(tensor) < 0)
    return a_type(object) + " of " + (dtype.empty() ? "another dtype" : "dtype " + dtype) +
           "; a step takes float32 and float64, and masks of bool and uint8";
  static PyObject* is_negative = interned("is_neg");
  if (!in_class(Py_TYPE(object), is_negative)) return "";
  const Object answer = Object::made(PyObject_CallMethodNoArgs(object, is_negative));
  return answer.ptr() == Py_False ? ""
                                  : a_type(object) +
                                        " whose sign is still to be changed; .resolve_neg() "
                                        "returns one with memory of its own";
}

void release(PyObject* capsule) {
  const ErrorAside aside;  // the deleter may run code of Python's
  auto* managed =
      static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(capsule, capsule_name));
  managed->deleter(managed);
}

Object owner_of(DLManagedTensorVersioned* managed) {
  Object owner = Object::steal(PyCapsule_New(managed, capsule_name, release));
  if (owner) return owner;
  managed->deleter(managed);
  throw PythonError{};
}

Object view_of_managed(const DLManagedTensorVersioned& managed, const Object& owner) {
  const DLTensor& tensor = managed.tensor;
  PyArray_Descr* dtype = PyArray_DescrFromType(type_number(tensor));
  npy_intp strides[NPY_MAXDIMS];
  for (int axis = 0; tensor.strides && axis < tensor.axes; ++axis)
    strides[axis] = byte_stride(tensor, axis);
  const int flags = managed.flags & DLManagedTensorVersioned::read_only ? 0 : NPY_ARRAY_WRITEABLE;
  Object array = Object::made(PyArray_NewFromDescr(
      &PyArray_Type, dtype, tensor.axes, reinterpret_cast<npy_intp*>(tensor.shape),
      tensor.strides ? strides : nullptr, tensor.begin(), flags, nullptr));
  if (PyArray_SetBaseObject(as_array(array.ptr()), Py_NewRef(owner.ptr())) < 0) throw PythonError{};
  return array;
}

// Through Python, for classes without the table.
Object view_by_numpy(PyObject* object, std::string& why) {
  Object array = array_from_dlpack(object);
  if (array) return array;
  why = a_type(object) + ", which numpy.from_dlpack refuses: " + take_error();
  return {};
}

}  // namespace

bool offers_dlpack(PyObject* object) {
  if (table_of(Py_TYPE(object))) return true;
  static PyObject* name = interned("__dlpack__");
  return static_cast<bool>(in_class(Py_TYPE(object), name));
}

bool read_tensor(PyObject* object, DLTensor& to) {
  const ExchangeTable* table = table_of(Py_TYPE(object));
  if (!table) return false;
  if (table->read(object, &to) == 0) return has_memory(to);
  take_error();
  return false;
}

bool lies_as(PyObject* object, PyArrayObject* view) {
  if (!table_of(Py_TYPE(object))) return true;
  DLTensor tensor;
  if (!read_tensor(object, tensor)) return false;
  if (type_number(tensor) != PyArray_TYPE(view) || !has_shape_of(tensor, view)) return false;
  if (PyArray_SIZE(view) == 0) return true;  // without memory
  if (tensor.begin() != PyArray_DATA(view)) return false;
  for (int axis = 0; tensor.strides && axis < tensor.axes; ++axis)
    if (byte_stride(tensor, axis) != PyArray_STRIDE(view, axis) && tensor.shape[axis] != 1)
      return false;
  return tensor.strides || PyArray_IS_C_CONTIGUOUS(view);
}

bool is_contiguous_like(const DLTensor& tensor, PyArrayObject* array) {
  if (type_number(tensor) != PyArray_TYPE(array) || !has_shape_of(tensor, array)) return false;
  std::int64_t stride = 1;
  for (int axis = tensor.axes; tensor.strides && axis-- > 0;) {
    if (tensor.strides[axis] != stride && tensor.shape[axis] != 1) return false;
    stride *= tensor.shape[axis];
  }
  return true;
}

Object alias_of(PyObject* object) {
  static PyObject* detach = interned("detach");
  if (!in_class(Py_TYPE(object), detach)) return {};
  return Object::made(PyObject_CallMethodNoArgs(object, detach));
}

Object view_of(PyObject* object, std::string& why) {
  if (!table_of(Py_TYPE(object))) return view_by_numpy(object, why);
  // What is lent belongs to the object that it is asked of, and goes where that gets other memory.
  Object alias = alias_of(object);
  if (!alias) alias = Object::borrow(object);
  const ExchangeTable* table = table_of(Py_TYPE(alias.ptr()));
  DLManagedTensorVersioned* managed = nullptr;
  if (!table || table->managed_from_object(alias.ptr(), &managed) != 0) {
    if (table) take_error();
    why = why_not_read(object);
    return {};
  }
  const Object owner = owner_of(managed);
  if (managed->major != 1 || managed->flags & DLManagedTensorVersioned::is_copy) {
    why = a_type(object) + " that DLPack lends as a copy, or in a version unknown here";
    return {};
  }
  why = why_not_viewed(object, managed->tensor);
  return why.empty() ? view_of_managed(*managed, owner) : Object();
}

// NumPy's capsules have such names too.
bool is_lent_by_dlpack(PyArrayObject* array) {
  PyObject* base = PyArray_BASE(array);
  const char* name = base && PyCapsule_CheckExact(base) ? PyCapsule_GetName(base) : nullptr;
  return name && std::strstr(name, "dltensor");
}

}  // namespace fastopt
