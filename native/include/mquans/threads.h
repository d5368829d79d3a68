// A small fixed pool. Work is split by row, so results never depend on the number of threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace mquans {

// How many forks lie between the first process and this one. Threads and locks of before a fork do not
// work in the child.
int32_t forks();

class ThreadPool {
public:
    explicit ThreadPool(int threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int threads() const { return int(workers_.size()) + 1; }

    // Calls f(begin, end), or f(begin, end, worker) with the worker's index, for chunks that cover
    // [0, n); returns when all are done. `grain` is the smallest chunk worth handing to another thread.
    // One caller at a time.
    template <class F>
    void for_rows(int32_t n, int32_t grain, F&& f) {
        if (workers_.empty() || n <= grain) {
            if (n > 0) apply(f, 0, n, 0);
            return;
        }
        using Function = std::remove_reference_t<F>;
        auto call = [](void* self, int32_t begin, int32_t end, int worker) {
            apply(*static_cast<Function*>(self), begin, end, worker);
        };
        run(n, grain, call, &f);
    }

private:
    using Call = void (*)(void*, int32_t, int32_t, int);

    template <class F>
    static void apply(F& f, int32_t begin, int32_t end, int worker) {
        if constexpr (std::is_invocable_v<F&, int32_t, int32_t, int>)
            f(begin, end, worker);
        else
            f(begin, end);
    }
    void run(int32_t n, int32_t grain, Call call, void* self);
    bool claim_one(int worker);
    void loop(int worker);

    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    int sleeping_ = 0;  // guarded by mutex_
    bool stop_ = false; // guarded by mutex_
    // Chunks not yet claimed. A claim holds the call open (open_ > 0 until the chunk is done), so the
    // fields below cannot change under a worker that holds one.
    std::atomic<int32_t> unclaimed_{0};
    std::atomic<int32_t> open_{0};
    Call call_ = nullptr;
    void* self_ = nullptr;
    int32_t rows_ = 0;
    int32_t chunk_ = 1;
};

}  // namespace mquans
