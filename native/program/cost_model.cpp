#include "mquans/cost_model.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "mquans/program.h"

namespace mquans {
namespace {

constexpr int32_t side = 64;  // rows and width of the layers that are timed
constexpr int repeats = 3, rounds = 4;

// Shortest time of a call, kept over rounds: whatever else the machine does comes in bursts.
class Timer {
public:
    template <class F>
    void time(F&& f) {
        for (int i = 0; i < repeats; ++i) {
            const auto start = std::chrono::steady_clock::now();
            f();
            const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
            best_ = std::min(best_, spent.count());
        }
    }
    double ns_per_pixel() const { return best_ / (side * side); }

private:
    double best_ = 1e18;
};

// A layer with everything touched; its kernel is one line of taps.
class Sample {
public:
    Sample(const KernelTable& kernels, int32_t taps, int32_t inputs, int32_t outputs)
        : kernels_(kernels), rows_(grid(1), 1, side), cols_(grid(taps), taps, side),
          weights_(int64_t(taps) * inputs * outputs + 64, 3), held_(int64_t(side) * side * inputs + 64, 5),
          zeros_(inputs + 64), acc_(int64_t(side) * side * outputs + 64), touched_(side, ~uint64_t(0)) {
        shape_ = {side, side, inputs, side, side, outputs, 1, 1, taps, rows_.view(), cols_.view()};
    }

    void afresh(Timer& timer) {
        const DenseArgs args{&shape_, weights(), held_.data(), zeros_.data(), mask(), accumulators(), 0, side};
        timer.time([&] { kernels_.dense_conv(args); });
    }

    // With 1 to 2 * mean - 1 changes per pixel.
    void by_change(int32_t mean, Timer& timer) {
        const int64_t pixels = int64_t(side) * side;
        std::vector<uint32_t> begin(pixels);
        std::vector<uint16_t> count(pixels), channel;
        uint32_t random = 1;
        for (int64_t p = 0; p < pixels; ++p) {
            random = random * 1664525u + 1013904223u;
            const int32_t n = 1 + int32_t((random >> 16) % uint32_t(2 * mean - 1));
            begin[p] = uint32_t(channel.size());
            count[p] = uint16_t(n);
            for (int32_t i = 0; i < n + (n & 1); ++i)
                channel.push_back(uint16_t((i * 7 + (random >> 8)) % uint32_t(shape_.in_channels)));
        }
        channel.resize(channel.size() + 64);
        std::vector<int16_t> delta(channel.size(), 1);
        const ChangeList changes{begin.data(), count.data(), channel.data(), delta.data(), mask()};
        const DeltaArgs args{&shape_, weights(), &changes, mask(), accumulators(), 0, side};
        timer.time([&] { kernels_.delta_conv(args); });
    }

private:
    static std::vector<int32_t> grid(int32_t taps) {
        std::vector<int32_t> grid;
        for (int32_t o = 0; o < side; ++o)
            for (int32_t t = 0; t < taps; ++t) {
                const int32_t i = o + t - taps / 2;
                grid.push_back(i >= 0 && i < side ? i : -1);
            }
        return grid;
    }
    Weights weights() const {
        return {weights_.data(), 16, shape_.out_channels, shape_.in_channels,
                shape_.col_taps * shape_.in_channels, false};
    }
    MaskView mask() { return {touched_.data(), side, side}; }
    Accumulators accumulators() { return {acc_.data(), shape_.out_channels, shape_.out_channels}; }

    const KernelTable& kernels_;
    Axis rows_, cols_;
    LayerShape shape_;
    std::vector<int16_t> weights_, held_, zeros_;
    std::vector<int32_t> acc_;
    std::vector<uint64_t> touched_;
};

// What noise could make of a time is bounded by what is usual.
void fit(int64_t& picoseconds, double ns) {
    const auto usual = double(picoseconds);
    picoseconds = int64_t(std::clamp(1000 * ns, usual / 3, usual * 3));
}

}  // namespace

CostModel measure_costs(const KernelTable& kernels) {
    constexpr int32_t few = 2, many = 12, taps = 3;
    Sample thin(kernels, 1, 16, 64), thick(kernels, 1, 128, 64);
    Sample narrow(kernels, taps, 64, 16), wide(kernels, taps, 64, 64);
    Timer short_sum, long_sum, narrow_few, narrow_many, wide_few, wide_many;
    for (int i = 0; i < rounds; ++i) {
        thin.afresh(short_sum);
        thick.afresh(long_sum);
        narrow.by_change(few, narrow_few);
        narrow.by_change(many, narrow_many);
        wide.by_change(few, wide_few);
        wide.by_change(many, wide_many);
    }
    CostModel costs;
    const double product = (long_sum.ns_per_pixel() - short_sum.ns_per_pixel()) / 4 / (64 - 8);
    fit(costs.product, product);
    fit(costs.tile, short_sum.ns_per_pixel() / 4 - 8 * product);

    // Per pixel: base(units) + pairs * slope(units), both linear in the units. A list of n changes is
    // (n + 1) / 2 pairs on average.
    const auto slope = [](const Timer& at_few, const Timer& at_many) {
        return (at_many.ns_per_pixel() - at_few.ns_per_pixel()) / (0.5 * taps * (many - few));
    };
    const double slope1 = slope(narrow_few, narrow_many), slope4 = slope(wide_few, wide_many);
    const double base1 = narrow_few.ns_per_pixel() - 0.5 * taps * (few + 1) * slope1;
    const double base4 = wide_few.ns_per_pixel() - 0.5 * taps * (few + 1) * slope4;
    fit(costs.change, (slope4 - slope1) / 3);
    fit(costs.pair, slope1 - (slope4 - slope1) / 3);
    fit(costs.update, (base4 - base1) / 3);
    fit(costs.list, (base1 - (base4 - base1) / 3) / taps);
    return costs;
}

}  // namespace mquans
