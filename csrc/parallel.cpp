#include "parallel.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#ifndef _WIN32
#include <pthread.h>
#include <signal.h>
#endif

namespace fastopt {
namespace {

// A worker that has just worked expects more: steps come in loops. Waking a sleeper takes about as
// long as this.
constexpr std::chrono::microseconds spin_time{50};

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

class Pool {
 public:
  // The one region at a time; forks and changes of size wait for it too.
  std::mutex region;

  void run(std::int64_t total, std::int64_t chunk, int helpers, RangeBody body,
           const void* context) {
    grow(helpers);
    total_ = total;
    chunk_ = chunk;
    body_ = body;
    context_ = context;
    next_.store(0, std::memory_order_relaxed);
    door_.store(static_cast<std::uint64_t>(helpers) << seats_shift);
    if (sleepers_.load() > 0) {
      // Taking the mutex once makes sure that a worker on its way to sleep has seen the door open
      // or is asleep by now.
      {
        std::lock_guard<std::mutex> lock(mutex_);
      }
      wake_.notify_all();
    }
    work();
    // Close the door; who is not inside now missed this region. Wait for those who are.
    door_.fetch_and(inside_mask, std::memory_order_acq_rel);
    while (door_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
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
    stopping_.store(false);
  }

 private:
  // The door holds two numbers, so that entering is one atomic act: how many workers may still
  // enter (zero means closed) and how many are inside.
  static constexpr int seats_shift = 32;
  static constexpr std::uint64_t inside_mask = 0xffffffffu;
  static constexpr std::uint64_t one_seat = std::uint64_t(1) << seats_shift;

  void grow(int helpers) {
    if (static_cast<int>(workers_.size()) >= helpers) return;
    BlockSignals blocked;
    try {
      while (static_cast<int>(workers_.size()) < helpers)
        workers_.emplace_back([this] { serve(); });
    } catch (const std::system_error&) {
      // No more threads to be had: the ones that are there do the work.
    }
  }

  bool open() const { return (door_.load() >> seats_shift) != 0; }

  bool enter() {
    std::uint64_t door = door_.load(std::memory_order_relaxed);
    while ((door >> seats_shift) != 0)
      if (door_.compare_exchange_weak(door, door - one_seat + 1, std::memory_order_acq_rel))
        return true;
    return false;
  }

  void work() {
    for (;;) {
      const std::int64_t begin = next_.fetch_add(chunk_, std::memory_order_relaxed);
      if (begin >= total_) return;
      body_(context_, begin, std::min(begin + chunk_, total_));
    }
  }

  void serve() {
    while (!stopping_.load(std::memory_order_relaxed)) {
      if (enter()) {
        work();
        door_.fetch_sub(1, std::memory_order_release);
      } else if (!spin()) {
        sleep();
      }
    }
  }

  // True if there is something to do before spin_time has passed.
  bool spin() {
    const auto until = std::chrono::steady_clock::now() + spin_time;
    while (std::chrono::steady_clock::now() < until) {
      if (open() || stopping_.load(std::memory_order_relaxed)) return true;
      std::this_thread::yield();
    }
    return false;
  }

  void sleep() {
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1);
    wake_.wait(lock, [this] { return open() || stopping_.load(); });
    sleepers_.fetch_sub(1);
  }

  // The region; written only while the door is closed and nobody is inside.
  std::int64_t total_ = 0, chunk_ = 1;
  RangeBody body_ = nullptr;
  const void* context_ = nullptr;

  // On cache lines of their own: the first two are what threads contend for.
  alignas(64) std::atomic<std::int64_t> next_{0};
  alignas(64) std::atomic<std::uint64_t> door_{0};
  alignas(64) std::atomic<bool> stopping_{false};
  std::atomic<int> sleepers_{0};
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
                  const void* context) {
  const std::int64_t pieces = (total + chunk - 1) / chunk;
  const int helpers = static_cast<int>(std::min<std::int64_t>(threads, pieces)) - 1;
  if (helpers > 0) {
    std::unique_lock<std::mutex> lock(pool().region, std::try_to_lock);
    if (lock.owns_lock()) {
      pool().run(total, chunk, helpers, body, context);
      return;
    }
  }
  for (std::int64_t begin = 0; begin < total; begin += chunk)
    body(context, begin, std::min(begin + chunk, total));
}

void set_num_threads(int threads) {
  num_threads.store(threads);
  std::lock_guard<std::mutex> lock(pool().region);
  pool().shrink(threads - 1);
}

int get_num_threads() { return num_threads.load(std::memory_order_relaxed); }

}  // namespace fastopt
