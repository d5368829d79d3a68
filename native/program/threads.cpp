#include "mquans/threads.h"

#include <immintrin.h>
#include <pthread.h>

namespace mquans {
namespace {

// Steps of one frame follow each other within microseconds; waking a thread costs tens of them.
constexpr int spins_before_sleep = 20000;
constexpr int chunks_per_thread = 4;

std::atomic<int32_t> fork_count{0};
const int fork_handler = pthread_atfork(nullptr, nullptr, [] { ++fork_count; });

}  // namespace

int32_t forks() { return fork_count; }

ThreadPool::ThreadPool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { loop(i); });
}

ThreadPool::~ThreadPool() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(int32_t n, int32_t grain, Call call, void* self) {
    const int32_t parts = threads() * chunks_per_thread;
    call_ = call;
    self_ = self;
    rows_ = n;
    chunk_ = (n + parts - 1) / parts;
    if (chunk_ < grain) chunk_ = grain;
    const int32_t chunks = (n + chunk_ - 1) / chunk_;
    open_.store(chunks, std::memory_order_relaxed);
    unclaimed_.store(chunks, std::memory_order_seq_cst);
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (sleeping_ > 0) wake_.notify_all();
    }
    while (claim_one(0)) {
    }
    while (open_.load(std::memory_order_acquire) > 0) _mm_pause();
}

bool ThreadPool::claim_one(int worker) {
    int32_t left = unclaimed_.load(std::memory_order_acquire);
    while (left > 0 && !unclaimed_.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel)) {
    }
    if (left <= 0) return false;
    const int32_t begin = (left - 1) * chunk_;
    const int32_t end = begin + chunk_ < rows_ ? begin + chunk_ : rows_;
    call_(self_, begin, end, worker);
    open_.fetch_sub(1, std::memory_order_acq_rel);
    return true;
}

void ThreadPool::loop(int worker) {
    for (;;) {
        int idle = 0;
        while (idle < spins_before_sleep) {
            if (claim_one(worker)) {
                idle = 0;
            } else {
                ++idle;
                _mm_pause();
            }
        }
        std::unique_lock<std::mutex> lock(mutex_);
        ++sleeping_;
        wake_.wait(lock, [this] { return stop_ || unclaimed_.load(std::memory_order_seq_cst) > 0; });
        --sleeping_;
        if (stop_) return;
    }
}

}  // namespace mquans
