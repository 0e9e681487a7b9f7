// The sums of gradients that an optimizer keeps for a step that comes later.
#include "../python/errors.hpp"
#include "../python/gil.hpp"
#include "../python/numbers.hpp"
#include "plan.hpp"

namespace fastopt {

void Plan::use_sums(PyObject* tree, Added added) {
  const ArrayArgument argument{{"params", "", tree}, Streams::param, true};
  added.has.resize(parts_.group_of_entry.size());
  added.frozen.resize(parts_.group_of_entry.size());
  sums_.reset(new Sums{Object::borrow(tree),
                       KnownArrays({function(), &argument, 1}, parts_.group_of_entry),
                       std::move(added)});
}

// How a step runs holds for it too; what it does to gradients comes when the sums are used.
Shared Plan::sum_options(const char* function) const {
  const CriticalSection lock(parts_.shared.holder.ptr());
  ScheduleValues schedules(parts_.count.steps());
  Shared shared{};
  shared.grad_scale = shared.keep_prob = 1;
  shared.clip_norm = shared.clip_tensor_norm = Terms::never;
  shared.ema_decay = Shared::not_given;
  const OptionTable& table = *parts_.shared.table;
  shared.threads = table.number_at(OptionTable::threads, function, schedules);
  shared.flush_denormals = table.number_at(OptionTable::flush_denormals, function, schedules);
  return shared;
}

Object Plan::accumulate(PyObject* grads, PyObject* given_weight, PyObject* skip_nonfinite) {
  const char* function = sum_function_.c_str();
  const Turn turn(*this, function);
  check_not_swapped(function);
  if (!sums_) raise_runtime_error(std::string(function) + ": there is nothing to add to");
  const double weight = to_number(function, "weight", Range::positive, given_weight);
  // Within what float32 can multiply by, and divide by again.
  constexpr double least = 1e-30, most = 1e30;
  if (weight < least || weight > most)
    raise_value_error(std::string(function) + ": 1e-30 <= weight <= 1e30 must hold, it is " +
                      repr_of(given_weight));
  Shared shared = sum_options(function);
  shared.skip_nonfinite =
      read_option(function, step_options[first_shared + shared_skip_nonfinite], skip_nonfinite);

  const Rule& sgd = *find_rule("sgd");
  Step step(function, sgd, shared, groups());
  for (int number = 0; number < groups(); ++number) {
    if (is_frozen(number)) {
      step.freeze(number);
      continue;
    }
    StepGroup& group = step.group(number);
    group.options[0] = weight;  // lr
    group.variant = &sgd.variants[0];
    step.terms(number) = {};
    step.terms(number).maximize = 1;
    step.terms(number).clip_value = Terms::never;
  }
  Added& added = sums_->added;
  if (added.count > 0)
    check_frozen_as_before(function, step);
  else
    added.frozen = frozen_entries(step);
  step.leave_out(frozen_);
  step.take({sums_->tree.ptr(), grads, nullptr, nullptr, nullptr, nullptr}, &sums_->arrays);
  step.allow_large_squares();  // only the step knows how they will be scaled
  if (!step.run(nullptr)) {
    ++added.skipped;
    return step.result();
  }
  for (std::size_t entry = 0; entry < added.has.size(); ++entry)
    if (step.took_part(static_cast<int>(entry), parts_.group_of_entry[entry])) added.has[entry] = 1;
  ++added.count;
  added.weight += weight;
  return step.result();
}

void Plan::discard_sums(const char* function) {
  const Turn turn(*this, function);
  if (!sums_) return;
  sums_->arrays.clear_params();
  clear_added();
}

void Plan::clear_added() {
  Added& added = sums_->added;
  added.count = added.skipped = 0;
  added.weight = 0;
  std::fill(added.has.begin(), added.has.end(), 0);
}

std::vector<unsigned char> Plan::frozen_entries(const Step& step) const {
  std::vector<unsigned char> all(parts_.group_of_entry.size());
  for (std::size_t entry = 0; entry < all.size(); ++entry) all[entry] = is_frozen_in(step, entry);
  return all;
}

bool Plan::is_frozen_in(const Step& step, std::size_t entry) const {
  return step.is_frozen(parts_.group_of_entry[entry]) || (!frozen_.empty() && frozen_[entry] != 0);
}

// Sums of another selection of arrays have another count.
void Plan::check_frozen_as_before(const char* function, const Step& step) const {
  for (std::size_t entry = 0; entry < sums_->added.frozen.size(); ++entry) {
    const bool frozen = is_frozen_in(step, entry);
    if (frozen == (sums_->added.frozen[entry] != 0)) continue;
    const NamedTree params{"params", "", parts_.params.ptr()};
    raise_value_error(std::string(function) + ": params" +
                      path_of_leaf(params, static_cast<int>(entry)) + " " +
                      (frozen ? "is frozen, and was not" : "is not frozen, and was") +
                      " when gradients were accumulated; discard_accumulated() forgets them");
  }
}

}  // namespace fastopt
