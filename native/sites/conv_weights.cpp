#include "sites/conv_weights.h"

#include <algorithm>
#include <cstring>

#include "ops/common.h"

namespace mquans {
namespace {

// Taps that follow each other are one run.
std::vector<WindowRun> runs_of(const ConvPhaseSpec& spec) {
    std::vector<WindowRun> runs;
    for (int32_t tap : spec.tap) {
        if (!runs.empty() && runs.back().at + runs.back().length == tap)
            runs.back().length += spec.inputs;
        else
            runs.push_back({tap, spec.inputs});
    }
    return runs;
}

bool fit_bytes(const std::vector<int16_t>& weights) {
    return std::all_of(weights.begin(), weights.end(), [](int16_t w) { return w >= INT8_MIN && w <= INT8_MAX; });
}

}  // namespace

ConvPhase pack_phase(const SiteKernels& kernels, const ConvPhaseSpec& spec, int32_t groups,
                     std::optional<int16_t> least) {
    ConvPhase phase;
    phase.row_at = spec.row_at;
    phase.column_at = spec.column_at;
    phase.macs = spec.macs;
    phase.bytes = least && groups == 1 && kernels.conv_bytes && fit_bytes(spec.weights);
    phase.least = least.value_or(0);
    phase.runs = runs_of(spec);
    // Where the values of a window lie among those that are multiplied, so many at once.
    const int32_t unit = phase.bytes ? 4 : 2;
    int32_t units = 0;
    std::vector<int32_t> place;
    for (const WindowRun& run : phase.runs) {
        for (int32_t k = 0; k < run.length; ++k) place.push_back(units * unit + k);
        units += (run.length + unit - 1) / unit;
    }
    if (phase.bytes) phase.depth = unit * units;
    const int32_t outputs = int32_t(spec.bias.size()) / groups;
    std::vector<int64_t> begin;
    for (int32_t g = 0; g < groups; ++g)
        for (int32_t first = 0; first < outputs;) {
            const int32_t left = outputs - first;
            const int32_t size = left <= kernels.conv_half ? kernels.conv_half : kernels.conv_outputs;
            begin.push_back(int64_t(phase.weights.size()));
            phase.blocks.push_back({nullptr, nullptr, nullptr, g * spec.inputs, g * outputs + first, size});
            phase.weights.resize(phase.weights.size() + int64_t(units) * size * 2);
            int16_t* packed = phase.weights.data() + begin.back();
            for (int32_t position = 0; position < size; ++position) {
                const int32_t o = first + kernels.order(position, size), at = g * outputs + o;
                const bool exists = o < outputs;
                phase.bias.push_back(exists ? spec.bias[at] : 0);
                phase.shift.push_back(exists ? spec.shift[at] : 0);
                const int16_t* weight = spec.weights.data() + int64_t(at) * int64_t(place.size());
                for (size_t k = 0; exists && k < place.size(); ++k) {
                    const int64_t to = (int64_t(place[k] / unit) * size + position) * unit + place[k] % unit;
                    if (phase.bytes) {
                        reinterpret_cast<int8_t*>(packed)[to] = int8_t(weight[k]);
                        phase.bias.back() += phase.least * weight[k];
                    } else {
                        packed[to] = weight[k];
                    }
                }
            }
            first += size;
        }
    int64_t done = 0;
    for (size_t k = 0; k < phase.blocks.size(); ++k) {
        phase.blocks[k].weights = phase.weights.data() + begin[k];
        phase.blocks[k].bias = phase.bias.data() + done;
        phase.blocks[k].shift = phase.shift.data() + done;
        done += phase.blocks[k].outputs;
    }
    return phase;
}

ConvPhaseSpec transformed(const ConvPhaseSpec& spec, bool scaled) {
    // Twice Winograd's G.
    constexpr int32_t matrix[4][3] = {{2, 0, 0}, {1, 1, 1}, {1, -1, 1}, {0, 0, 2}};
    ConvPhaseSpec result{{}, {}, std::vector<int32_t>(16, spec.tap.at(0)), spec.inputs, {}, spec.bias, spec.shift,
                         spec.macs};
    for (int32_t& bias : result.bias) {
        require(bias >= INT32_MIN / 4 && bias <= INT32_MAX / 4, "a fourfold bias overflows");
        bias *= 4;
    }
    for (int32_t& shift : result.shift) {
        if (!scaled) {
            shift += 2;
            continue;
        }
        float factor;
        std::memcpy(&factor, &shift, sizeof factor);
        factor /= 4;
        std::memcpy(&shift, &factor, sizeof factor);
    }
    const int64_t outputs = int64_t(spec.bias.size());
    result.weights.reserve(outputs * 16 * spec.inputs);
    for (int64_t o = 0; o < outputs; ++o)
        for (int32_t place = 0; place < 16; ++place)
            for (int32_t c = 0; c < spec.inputs; ++c) {
                int32_t sum = 0;
                for (int32_t tap = 0; tap < 9; ++tap)
                    sum += matrix[place / 4][tap / 3] * matrix[place % 4][tap % 3] *
                           spec.weights[(o * 9 + tap) * spec.inputs + c];
                require(sum >= INT16_MIN && sum <= INT16_MAX, "a transformed weight overflows");
                result.weights.push_back(int16_t(sum));
            }
    return result;
}

}  // namespace mquans
