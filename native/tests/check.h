// What the kernel tests share: random numbers, buffers that end at a page that cannot be read, and
// the comparison of an instruction set's results with the scalar ones.
#pragma once

#include <sys/mman.h>

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <type_traits>
#include <vector>

#include "mquans/codes.h"
#include "mquans/kernels.h"
#include "mquans/op_loops.h"

namespace mquans::test {

// Both tables of one run.
struct Tables {
    const KernelTable& scalar;
    const KernelTable& tested;
};

struct SiteTables {
    const SiteKernels& scalar;
    const SiteKernels& tested;
};

// Returns the number of kernels with a mismatch.
int test_convolutions(const Tables& tables);
int test_quantize(const Tables& tables);
int test_op_loops(const Tables& tables);
int test_conv_kernels(const SiteTables& tables);
int test_site_kernels(const SiteTables& tables);
int test_gate_kernels(const SiteTables& tables);

constexpr int32_t odd_channels[] = {1, 3, 5, 16, 17, 24, 33, 48, 64, 96};
constexpr double shares[] = {0.0, 0.05, 0.5, 1.0};  // of pixels that are active
constexpr int64_t slack = 128;                      // behind a stream's arrays

inline int32_t padded(int32_t n, int32_t unit) { return (n + unit - 1) / unit * unit; }

class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}

    uint64_t bits() {
        uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    int32_t integer(int32_t low, int32_t high) {
        return int32_t(low + int64_t(bits() % uint64_t(int64_t(high) - low + 1)));
    }
    float real(float low, float high) { return low + (high - low) * (float(bits() >> 40) * 0x1p-24f); }
    bool chance(double share) { return double(bits() >> 11) * 0x1p-53 < share; }

private:
    uint64_t state_;
};

constexpr int32_t vector_codes = 32;  // of the widest instruction set

inline int16_t any_code(Random& random) {
    constexpr int16_t extremes[] = {-32768, -32767, -1, 0, 1, 32767};
    return random.chance(0.1) ? extremes[random.integer(0, 5)] : int16_t(random.integer(-32768, 32767));
}

// Whole pages with one behind them that faults. They are kept for the next taker of the same size, as
// an emulated system call is slow.
class Pages {
public:
    static constexpr size_t page = 4096;

    static char* take(size_t count) {
        std::vector<char*>& free = free_[count];
        if (free.empty()) free.push_back(map(count));
        char* const at = free.back();
        free.pop_back();
        return at;
    }
    static void give_back(char* at, size_t count) { free_[count].push_back(at); }

private:
    static char* map(size_t count) {
        const size_t size = count * page;
        void* at = mmap(nullptr, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED || mprotect(static_cast<char*>(at) + size, page, PROT_NONE)) {
            std::perror("mmap");
            std::exit(2);
        }
        return static_cast<char*>(at);
    }
    static inline std::map<size_t, std::vector<char*>> free_;
};

// `size` elements and the `slack` behind them that kernels may read; the next byte is a fault.
template <class T>
class Buffer {
public:
    explicit Buffer(int64_t size, int64_t slack = 0, T value = T())
        : size_(size), slack_(slack), pages_((bytes() + Pages::page - 1) / Pages::page),
          at_(Pages::take(pages_)), data_(reinterpret_cast<T*>(at_ + pages_ * Pages::page - bytes())) {
        for (int64_t i = 0; i < size + slack; ++i) data_[i] = value;
    }
    Buffer(const Buffer& other) : Buffer(other.size_, other.slack_) {
        std::memcpy(data_, other.data_, bytes());
    }
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { Pages::give_back(at_, pages_); }

    T* data() const { return data_; }
    int64_t size() const { return size_; }
    T& operator[](int64_t i) const { return data_[i]; }
    template <class F>
    void fill(F&& value) {
        for (int64_t i = 0; i < size_; ++i) data_[i] = T(value());
    }

private:
    size_t bytes() const { return size_t(size_ + slack_) * sizeof(T); }

    int64_t size_, slack_;
    size_t pages_;
    char* at_;
    T* data_;
};

// A mask whose pixels are set with the given probability.
struct Mask {
    Mask(int32_t rows, int32_t width, double share, Random& random)
        : bits(int64_t(rows) * MaskView::words_for(width)), view{bits.data(), rows, width} {
        for (int32_t r = 0; r < rows; ++r)
            for (int32_t x = 0; x < width; ++x)
                if (random.chance(share)) view.set(r, x);
    }
    Mask(const Mask& other) : bits(other.bits), view{bits.data(), other.view.rows, other.view.width} {}

    Buffer<uint64_t> bits;
    MaskView view;
};

// The cases of one kernel.
class Report {
public:
    explicit Report(const char* kernel) : kernel_(kernel) {}

    // Prints the kernel's line; returns whether it is wrong.
    bool close() const {
        std::printf("%-4s %-16s %6d cases\n", wrong_ ? "FAIL" : "ok", kernel_, cases_);
        std::fflush(stdout);
        return wrong_ > 0;
    }

    // Names the case that the following comparisons belong to.
    __attribute__((format(printf, 2, 3))) void begin(const char* format, ...) {
        std::va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(text_, sizeof(text_), format, arguments);
        va_end(arguments);
        ++cases_;
        failed_ = false;
    }

    void check(bool holds, const char* what, int64_t at) {
        if (!holds) fail("%s at %lld", what, static_cast<long long>(at));
    }

    // Floats are equal when their bits are; a NaN equals every NaN, as its payload depends on the order
    // of the operands that the compiler chose.
    template <class T>
    void same(const T* expected, const T* actual, int64_t n, const char* what) {
        for (int64_t i = 0; i < n; ++i) {
            if (!std::memcmp(expected + i, actual + i, sizeof(T))) continue;
            if constexpr (std::is_floating_point_v<T>) {
                if (expected[i] != expected[i] && actual[i] != actual[i]) continue;
                fail("%s[%lld]: %a, should be %a", what, static_cast<long long>(i), double(actual[i]),
                     double(expected[i]));
            } else {
                fail("%s[%lld]: %lld, should be %lld", what, static_cast<long long>(i),
                     static_cast<long long>(actual[i]), static_cast<long long>(expected[i]));
            }
            return;
        }
    }
    template <class T>
    void same(const Buffer<T>& expected, const Buffer<T>& actual, const char* what) {
        same(expected.data(), actual.data(), expected.size(), what);
    }

private:
    __attribute__((format(printf, 2, 3))) void fail(const char* format, ...) {
        if (failed_) return;
        failed_ = true;
        if (++wrong_ > 5) return;
        std::va_list arguments;
        va_start(arguments, format);
        std::printf("     %s, %s: ", kernel_, text_);
        std::vprintf(format, arguments);
        std::printf("\n");
        va_end(arguments);
    }

    const char* kernel_;
    char text_[256] = "";
    int cases_ = 0, wrong_ = 0;
    bool failed_ = false;
};

}  // namespace mquans::test
