#include "parallel.hpp"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "processor.hpp"

#ifndef _WIN32
#include <pthread.h>
#include <signal.h>
#endif

namespace fastopt {
namespace {

// A worker that has just worked expects more: steps come in loops. Waking a sleeper takes about as
// long as this.
constexpr std::chrono::microseconds spin_time{50};

// In a training loop it would wait in vain. It yields while it waits, and where other threads want
// the processor (the idle threads of BLAS spin, too), it would come back some milliseconds later;
// a sleeper that is woken gets the processor at once. So after a wait in vain the worker goes to
// sleep without waiting: once, after the next in vain three times, and so on up to this number.
constexpr int max_waits_left_out = 255;

// Calls this far apart are a loop that does little else. (Longer than spin_time, because the time
// of the call itself counts.)
constexpr std::chrono::microseconds quick_succession{200};

// Signals belong to the threads of the program: workers are born with all of them blocked.
class BlockSignals {
#ifndef _WIN32
 public:
  BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
#endif
};

void run_alone(std::int64_t total, std::int64_t chunk, RangeBody body, const void* context) {
  for (std::int64_t begin = 0; begin < total; begin += chunk)
    body(context, begin, std::min(begin + chunk, total));
}

class Pool {
 public:
  // The one region at a time; forks and changes of size wait for it too.
  std::mutex region;

  void run(std::int64_t total, std::int64_t chunk, int threads, RangeBody body,
           const void* context) {
    if (!prepare(threads)) {
      run_alone(total, chunk, body, context);
      return;
    }
    total_ = total;
    chunk_ = chunk;
    body_ = body;
    context_ = context;
    std::fegetenv(&float_mode_);
    processor_ = current_processor();
    deal(threads);
    const std::uint64_t door = door_.load(std::memory_order_relaxed);
    door_.store(((door >> 32) + 1) << 32 | static_cast<std::uint64_t>(threads) << 16);
    if (sleepers_.load() > 0) {
      // Taking the mutex once makes sure that a worker on its way to sleep has seen the door open
      // or is asleep by now.
      {
        std::lock_guard<std::mutex> lock(mutex_);
      }
      wake_.notify_all();
    }
    work(0);
    // Close the door; who is not inside now missed this region. Wait for those who are.
    door_.fetch_and(~limit_mask, std::memory_order_acq_rel);
    while (door_.load(std::memory_order_acquire) & inside_mask) std::this_thread::yield();
  }

  // Whether a worker is awake, or has been asked for a moment ago.
  bool expect_workers() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const auto before = last_asked_.exchange(now, std::memory_order_relaxed);
    return now - before < quick_succession || alive_.load() > sleepers_.load();
  }

  void shrink(int helpers) {
    if (static_cast<int>(workers_.size()) > helpers) stop();
  }

  void stop() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_.store(true);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    alive_.store(0);
    stopping_.store(false);
  }

 private:
  // A thread's share of the chunks of a region. Every thread begins with its own share, the same in
  // every region of this size, so that it finds its part of the arrays in its own cache; then it
  // helps with the shares of others.
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };

  // The door is three numbers in one, so that entering is one atomic act: the count of regions so
  // far, how many threads the region is for (zero means closed), and how many workers are inside.
  static constexpr std::uint64_t limit_mask = 0xffff0000u, inside_mask = 0xffffu;
  static std::uint64_t region_of(std::uint64_t door) { return door >> 32; }
  static int limit_of(std::uint64_t door) { return static_cast<int>((door & limit_mask) >> 16); }

  // Makes room for the shares and starts workers. Returns false where there is no memory for
  // either, or nobody to help; the work is done all the same.
  bool prepare(int threads) {
    try {
      if (static_cast<int>(shares_.size()) < threads) shares_ = std::vector<Share>(threads);
      grow(threads - 1);
    } catch (const std::bad_alloc&) {
      return false;
    }
    return !workers_.empty();
  }

  void grow(int helpers) {
    if (static_cast<int>(workers_.size()) >= helpers) return;
    workers_.reserve(helpers);
    [[maybe_unused]] const BlockSignals blocked;  // which is nothing on Windows
    const std::uint64_t served = region_of(door_.load(std::memory_order_relaxed));
    try {
      while (static_cast<int>(workers_.size()) < helpers) {
        const int slot = static_cast<int>(workers_.size()) + 1;
        workers_.emplace_back([this, slot, served] { serve(slot, served); });
      }
    } catch (const std::system_error&) {
      // No more threads to be had: the ones that are there do the work.
    }
    alive_.store(static_cast<int>(workers_.size()));
  }

  void deal(int threads) {
    const std::int64_t chunks = (total_ + chunk_ - 1) / chunk_;
    for (int slot = 0; slot < threads; ++slot) {
      shares_[slot].next.store(chunks * slot / threads, std::memory_order_relaxed);
      shares_[slot].end = chunks * (slot + 1) / threads;
    }
    threads_ = threads;
  }

  void work(int slot) {
    for (int i = 0; i < threads_; ++i) {
      Share& share = shares_[(slot + i) % threads_];
      for (;;) {
        const std::int64_t index = share.next.fetch_add(1, std::memory_order_relaxed);
        if (index >= share.end) break;
        const std::int64_t begin = index * chunk_;
        body_(context_, begin, std::min(begin + chunk_, total_));
      }
    }
  }

  // A worker may enter a region that has a slot for it, once.
  bool may_enter(int slot, std::uint64_t served, std::uint64_t door) const {
    return slot < limit_of(door) && region_of(door) != served;
  }

  void serve(int slot, std::uint64_t served) {
    int waits_to_leave_out = 0, left_out = 0;
    while (!stopping_.load(std::memory_order_relaxed)) {
      std::uint64_t door = door_.load(std::memory_order_relaxed);
      if (may_enter(slot, served, door)) {
        if (!door_.compare_exchange_weak(door, door + 1, std::memory_order_acq_rel)) continue;
        served = region_of(door);
        // Linux may wake a worker on the processor of the thread that woke it, where it only takes
        // the place of that thread.
        if (current_processor() == processor_) leave_processor(processor_);
        std::fesetenv(&float_mode_);
        work(slot);
        door_.fetch_sub(1, std::memory_order_release);
      } else if (left_out < waits_to_leave_out) {
        ++left_out;
        sleep(slot, served);
      } else if (spin(slot, served)) {
        waits_to_leave_out = 0;
      } else {
        waits_to_leave_out = std::min(2 * waits_to_leave_out + 1, max_waits_left_out);
        left_out = 0;
        sleep(slot, served);
      }
    }
  }

  bool has_news(int slot, std::uint64_t served) const {
    return may_enter(slot, served, door_.load()) || stopping_.load();
  }

  // True if there is something to do before spin_time has passed.
  bool spin(int slot, std::uint64_t served) const {
    const auto until = std::chrono::steady_clock::now() + spin_time;
    while (std::chrono::steady_clock::now() < until) {
      if (has_news(slot, served)) return true;
      std::this_thread::yield();
    }
    return false;
  }

  void sleep(int slot, std::uint64_t served) {
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1);
    wake_.wait(lock, [&] { return has_news(slot, served); });
    sleepers_.fetch_sub(1);
  }

  // The region; written only while the door is closed and nobody is inside.
  std::int64_t total_ = 0, chunk_ = 1;
  RangeBody body_ = nullptr;
  const void* context_ = nullptr;
  int threads_ = 0;
  int processor_ = -1;      // of the calling thread
  std::fenv_t float_mode_;  // of the calling thread: rounding, denormals
  std::vector<Share> shares_;

  alignas(64) std::atomic<std::uint64_t> door_{0};
  alignas(64) std::atomic<bool> stopping_{false};
  std::atomic<int> sleepers_{0};
  std::atomic<int> alive_{0};
  std::atomic<std::chrono::steady_clock::duration> last_asked_{};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

// Never destroyed: at exit, workers may still be waiting in it.
Pool& pool() {
  static Pool& the_pool = *[] {
    Pool* made = new Pool;
#ifndef _WIN32
    // A forked child has no threads but the one that forked. So there are no workers while a fork
    // happens, and none is inside a region; both sides start new ones when they need them.
    pthread_atfork(
        [] {
          pool().region.lock();
          pool().stop();
        },
        [] { pool().region.unlock(); }, [] { pool().region.unlock(); });
#endif
    return made;
  }();
  return the_pool;
}

std::atomic<int> num_threads{1};

}  // namespace

void parallel_for(std::int64_t total, std::int64_t chunk, int threads, RangeBody body,
                  const void* context) noexcept {
  const std::int64_t pieces = (total + chunk - 1) / chunk;
  threads = static_cast<int>(std::min<std::int64_t>(threads, pieces));
  if (threads > 1) {
    std::unique_lock<std::mutex> lock(pool().region, std::try_to_lock);
    if (lock.owns_lock()) {
      pool().run(total, chunk, threads, body, context);
      return;
    }
  }
  run_alone(total, chunk, body, context);
}

bool expect_workers() { return pool().expect_workers(); }

void set_num_threads(int threads) {
  num_threads.store(threads);
  std::lock_guard<std::mutex> lock(pool().region);
  pool().shrink(threads - 1);
}

int get_num_threads() { return num_threads.load(std::memory_order_relaxed); }

}  // namespace fastopt
