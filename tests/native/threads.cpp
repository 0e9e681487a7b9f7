// Whether there really are other threads that work.
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "../../csrc/engine/parallel.hpp"
#include "checksums.hpp"

namespace native {
namespace {

struct Meeting {
  std::mutex mutex;
  std::condition_variable all_here;
  std::set<std::thread::id> present;
  std::size_t expected;
};

// Waits until all have come: nobody does two pieces.
void attend(const void* context, std::int64_t /*begin*/, std::int64_t /*end*/) {
  Meeting& meeting = **static_cast<Meeting* const*>(context);
  std::unique_lock<std::mutex> lock(meeting.mutex);
  meeting.present.insert(std::this_thread::get_id());
  meeting.all_here.notify_all();
  meeting.all_here.wait_for(lock, std::chrono::seconds(60),
                            [&] { return meeting.present.size() == meeting.expected; });
}

}  // namespace

void check_threads() {
  for (int threads = 1; threads <= most_threads; ++threads) {
    Meeting meeting;
    meeting.expected = static_cast<std::size_t>(threads);
    Meeting* const context = &meeting;
    fastopt::parallel_for(threads, 1, threads, attend, &context);
    require(meeting.present.size() == meeting.expected,
            std::to_string(threads) + " threads were asked for, " +
                std::to_string(meeting.present.size()) + " worked");
  }
}

}  // namespace native
