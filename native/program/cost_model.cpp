#include "mquans/cost_model.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "mquans/program.h"

namespace mquans {
namespace {

constexpr int32_t side = 64;  // rows and width of the layers that are timed
constexpr int repeats = 5;

template <class F>
double fastest_ns(F&& f) {
    double best = 1e18;
    for (int i = 0; i < repeats; ++i) {
        const auto start = std::chrono::steady_clock::now();
        f();
        const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
        best = std::min(best, spent.count());
    }
    return best;
}

// A pointwise layer with everything touched.
class Sample {
public:
    Sample(const KernelTable& kernels, int32_t inputs, int32_t outputs)
        : kernels_(kernels), axis_(pixels_in_order(), 1, side), weights_(int64_t(inputs) * outputs + 64, 3),
          held_(int64_t(side) * side * inputs + 64, 5), zeros_(inputs + 64),
          acc_(int64_t(side) * side * outputs + 64), touched_(side, ~uint64_t(0)) {
        shape_ = {side, side, inputs, side, side, outputs, 1, 1, 1, axis_.view(), axis_.view()};
    }

    double afresh_ns() {
        const DenseArgs args{&shape_, weights(), held_.data(), zeros_.data(), mask(), accumulators(), 0, side};
        return fastest_ns([&] { kernels_.dense_conv(args); });
    }

    // With 1 to 2 * mean - 1 changes per pixel.
    double by_change_ns(int32_t mean) {
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
        std::vector<int16_t> delta(channel.size(), 1);
        const ChangeList changes{begin.data(), count.data(), channel.data(), delta.data(), mask()};
        const DeltaArgs args{&shape_, weights(), &changes, mask(), accumulators(), 0, side};
        return fastest_ns([&] { kernels_.delta_conv(args); });
    }

private:
    static std::vector<int32_t> pixels_in_order() {
        std::vector<int32_t> grid(side);
        for (int32_t i = 0; i < side; ++i) grid[i] = i;
        return grid;
    }
    Weights weights() const {
        return {weights_.data(), 16, shape_.out_channels, shape_.in_channels, shape_.in_channels, false};
    }
    MaskView mask() { return {touched_.data(), side, side}; }
    Accumulators accumulators() { return {acc_.data(), shape_.out_channels, shape_.out_channels}; }

    const KernelTable& kernels_;
    Axis axis_;
    LayerShape shape_;
    std::vector<int16_t> weights_, held_, zeros_;
    std::vector<int32_t> acc_;
    std::vector<uint64_t> touched_;
};

int64_t picoseconds(double ns) { return std::max<int64_t>(1, int64_t(ns * 1000)); }

}  // namespace

CostModel measure_costs(const KernelTable& kernels) {
    constexpr double pixels = side * side;
    constexpr int32_t few = 2, many = 12;
    CostModel costs;
    const double short_sum = Sample(kernels, 16, 64).afresh_ns() / pixels / 4;
    const double long_sum = Sample(kernels, 128, 64).afresh_ns() / pixels / 4;
    const double product = (long_sum - short_sum) / (64 - 8);
    costs.product = picoseconds(product);
    costs.tile = picoseconds(short_sum - 8 * product);

    // Per pixel: base(units) + pairs * slope(units), both linear in the units. A list of n changes is
    // (n + 1) / 2 pairs on average.
    const auto line = [&](int32_t outputs, double& base, double& slope) {
        Sample sample(kernels, 64, outputs);
        const double at_few = sample.by_change_ns(few) / pixels, at_many = sample.by_change_ns(many) / pixels;
        slope = (at_many - at_few) / (0.5 * (many - few));
        base = at_few - 0.5 * (few + 1) * slope;
    };
    double base1, slope1, base4, slope4;
    line(16, base1, slope1);
    line(64, base4, slope4);
    costs.change = picoseconds((slope4 - slope1) / 3);
    costs.pair = picoseconds(slope1 - (slope4 - slope1) / 3);
    costs.update = picoseconds((base4 - base1) / 3);
    costs.list = picoseconds(base1 - (base4 - base1) / 3);
    return costs;
}

}  // namespace mquans
