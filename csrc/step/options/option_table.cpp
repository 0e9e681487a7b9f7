#include "option_table.hpp"

#include <algorithm>

#include "../../python/errors.hpp"
#include "../names.hpp"

namespace fastopt {

PyObject* ScheduleValues::of(const Object& schedule) {
  for (int i = 0; i < most; ++i)
    if (schedules_[i].ptr() == schedule.ptr()) return values_[i].ptr();
  const Object held = schedule;  // which may be replaced by what it does
  if (!argument_) argument_ = Object::made(PyLong_FromLongLong(step_));
  Object value = Object::made(PyObject_CallOneArg(held.ptr(), argument_.ptr()));
  const int place = next_;
  next_ = (next_ + 1) % most;
  values_[place] = std::move(value);
  schedules_[place] = held;
  return values_[place].ptr();
}

std::vector<Declared> OptionTable::of_group(const Rule& rule) {
  std::vector<Declared> all{frozen_option};
  for (const Option& option : rule.options) all.push_back({option, Kind::number});
  all.insert(all.end(), step_options, step_options + term_count);
  return all;
}

std::vector<Declared> OptionTable::of_all() {
  std::vector<Declared> all(step_options + first_shared + of_step, step_options + first_object);
  all.insert(all.end(),
             {step_options[first_object + fastopt::drop], debias_option, accumulation_option});
  return all;
}

OptionTable::OptionTable(std::string owner, std::string place, const Rule* rule, PyObject* values,
                         HeldCount count, std::vector<std::string> lacking)
    : owner_(std::move(owner)),
      rule_(rule),
      declared_(rule ? of_group(*rule) : of_all()),
      count_(std::move(count)),
      lacking_(std::move(lacking)) {
  set_place(std::move(place));
  scheduled_.reserve(declared_.size());
  for (const Declared& each : declared_) {
    names_.push_back(Object::made(PyUnicode_InternFromString(each.option.name)));
    given_.push_back(Object::none());
    numbers_.push_back(each.option.otherwise);
  }
  set_all(values);
  made_ = true;
}

void OptionTable::set_place(std::string place) {
  place_ = std::move(place);
  where_ = place_.empty() ? owner_ : owner_ + ": " + place_;
}

int OptionTable::find(PyObject* name) const {
  for (int i = 0; i < size(); ++i)
    if (names_[i].ptr() == name) return i;
  if (PyUnicode_Check(name))  // a string that is not interned
    for (int i = 0; i < size(); ++i)
      if (PyUnicode_Compare(names_[i].ptr(), name) == 0) return i;
  return -1;
}

int OptionTable::find_or_raise(PyObject* name) const {
  const int i = find(name);
  if (i >= 0) return i;
  const std::string instead = instead_of(rule_, name);
  if (!instead.empty())
    raise_type_error(where_ + ": there is no option " + repr_of(name) + instead);
  std::string known;
  for (const Declared& each : declared_)
    known += (known.empty() ? "" : ", ") + std::string(each.option.name);
  raise_type_error(where_ + ": there is no option " + repr_of(name) + "; there are " + known);
}

void OptionTable::raise_cannot_be_removed(PyObject* name) const {
  raise_type_error(where_ + ": options cannot be removed, " + repr_of(name) + " neither");
}

void OptionTable::forget() {
  scheduled_.clear();
  for (Object& each : given_) each = Object::none();
}

bool OptionTable::is_schedule(int i, PyObject* value) const {
  if (PyFloat_CheckExact(value) || !PyCallable_Check(value)) return false;
  if (is_dropout(value)) return false;  // which can be called, and is no schedule
  if (declared_[i].may_change) return true;
  raise_type_error(where_ + ": " + declared_[i].option.name + " cannot be a schedule");
}

namespace {

// What is kept of a number: one of Python's own, since arrays may change.
Object plain(const Declared& declared, PyObject* given, double number) {
  const bool is_number = declared.kind == Kind::number || declared.kind == Kind::number_or_none ||
                         declared.kind == Kind::penalty || declared.kind == Kind::threads ||
                         (declared.kind == Kind::skipping && !PyUnicode_Check(given));
  if (!is_number || PyFloat_CheckExact(given) || PyLong_CheckExact(given) || given == Py_None)
    return Object::borrow(given);
  if (declared.option.range == Range::flag) return Object::borrow(number != 0 ? Py_True : Py_False);
  return Object::made(declared.kind == Kind::threads ? PyLong_FromDouble(number)
                                                     : PyFloat_FromDouble(number));
}

}  // namespace

OptionTable::Change OptionTable::read(int i, PyObject* value) const {
  if (PyFloat_CheckExact(value) || !is_schedule(i, value)) {
    const double number = read_option(where_.c_str(), declared_[i], value);
    return {i, plain(declared_[i], value, number), number, false};
  }
  const Object held = Object::borrow(value);
  ScheduleValues now(count_.steps());
  PyObject* at_present = now.of(held);  // before where_ is looked at, which it may change
  return {i, held, read_option(where_.c_str(), declared_[i], at_present), true};
}

void OptionTable::check_together(const Change* changes, std::size_t count) const {
  if (!rule_) {
    Shared all;
    set_numbers(all, of_step, numbers_.data(), shared_numbers);
    const bool had_averages = all.ema_decay != Shared::not_given;
    for (std::size_t k = 0; k < count; ++k)
      if (changes[k].place < shared_numbers)
        set_numbers(all, of_step + changes[k].place, &changes[k].number, 1);
    check_clipping(where_.c_str(), all);
    if (made_ && had_averages != (all.ema_decay != Shared::not_given))
      raise_value_error(where_ + ": whether there is an ema_decay is fixed when it is made");
  }
  for (std::size_t k = 0; k < count; ++k) {
    const bool is_zero = changes[k].number == 0 && !changes[k].scheduled;
    if (!is_zero) check_needed(where_, changes[k].place, changes[k].given.ptr());
  }
}

void OptionTable::check_needed(const std::string& where, int i, PyObject* given) const {
  const Option& option = declared_[i].option;
  if (option.needs && std::find(lacking_.begin(), lacking_.end(), option.needs) != lacking_.end())
    raise_value_error(where + ": " + option.name + "=" + repr_of(given) + " needs state." +
                      option.needs + ", which the optimizer has only if it is made with " +
                      option.name);
}

// What was there before goes when all is set: its end may run code of the user's.
void OptionTable::take(const Change& change, Object& before) {
  const int i = change.place;
  numbers_[i] = change.number;
  before = std::exchange(given_[i], change.given);
  const auto found = std::find(scheduled_.begin(), scheduled_.end(), i);
  if (change.scheduled && found == scheduled_.end()) scheduled_.push_back(i);
  if (!change.scheduled && found != scheduled_.end()) scheduled_.erase(found);
}

void OptionTable::set(PyObject* name, PyObject* value) {
  const int i = find_or_raise(name);
  const Change change = read(i, value);
  check_together(&change, 1);
  Object before;
  take(change, before);
}

// Held, whatever becomes of the dict.
Object OptionTable::items_of(PyObject* dict) const {
  if (!PyDict_Check(dict))
    raise_type_error(where_ + ": options must be a dict, not " + type_of(dict));
  return Object::made(PyDict_Items(dict));
}

std::vector<OptionTable::Change> OptionTable::read_all(PyObject* items) const {
  std::vector<Change> changes;
  for (Py_ssize_t k = 0; k < PyList_GET_SIZE(items); ++k) {
    PyObject* item = PyList_GET_ITEM(items, k);
    changes.push_back(read(find_or_raise(PyTuple_GET_ITEM(item, 0)), PyTuple_GET_ITEM(item, 1)));
  }
  check_together(changes.data(), changes.size());
  return changes;
}

void OptionTable::set_all(PyObject* dict) {
  const Object items = items_of(dict);
  const std::vector<Change> changes = read_all(items.ptr());
  std::vector<Object> before(changes.size());
  for (std::size_t k = 0; k < changes.size(); ++k) take(changes[k], before[k]);
}

void OptionTable::check(PyObject* dict) const {
  const Object items = items_of(dict);
  read_all(items.ptr());
}

double OptionTable::number_at(int i, const char* function, ScheduleValues& schedules) const {
  if (std::find(scheduled_.begin(), scheduled_.end(), i) == scheduled_.end()) return numbers_[i];
  return read_option(function, declared_[i], schedules.of(given_[i]));
}

// Schedules may set options, themselves among them: what there was before is what counts.
void OptionTable::copy_numbers(const char* function, ScheduleValues& schedules,
                               const NumbersOfStep& of_step, double* to) const {
  std::copy(numbers_.begin(), numbers_.end(), to);
  of_step.copy(to);
  if (scheduled_.empty()) return;
  constexpr int most = first_of_rule + Rule::max_options + term_count;
  static_assert(all_count <= most);
  int places[most];
  Object to_ask[most];
  const int count = static_cast<int>(scheduled_.size());
  for (int k = 0; k < count; ++k) {
    places[k] = scheduled_[k];
    to_ask[k] = given_[places[k]];
  }
  for (int k = 0; k < count; ++k)
    if (!of_step.has(places[k]))
      to[places[k]] = read_option(function, declared_[places[k]], schedules.of(to_ask[k]));
}

void OptionTable::read_for_step(const char* function, PyObject* name, PyObject* value,
                                NumbersOfStep& to) const {
  const int i = find(name);
  if (i < 0) {
    const std::string instead = instead_of(rule_, name);
    raise_type_error(
        std::string(function) + ": there is no option " + repr_of(name) + " of a step" +
        (instead.empty() ? "; there are those of opt.groups and opt.options" : instead));
  }
  const Declared& declared = declared_[i];
  if (!declared.may_change && declared.kind != Kind::threads)
    raise_type_error(std::string(function) + ": " + declared.option.name +
                     " cannot be given for one step");
  const double number = read_option(function, declared, value);
  if (number != 0) check_needed(function, i, value);
  to.set(i, number);
}

}  // namespace fastopt
