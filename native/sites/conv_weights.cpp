#include "sites/conv_weights.h"

#include <cstring>

#include "ops/common.h"

namespace mquans {

ConvPhase pack_phase(const SiteKernels& kernels, const ConvPhaseSpec& spec, int32_t groups) {
    ConvPhase phase;
    phase.row_at = spec.row_at;
    phase.column_at = spec.column_at;
    phase.macs = spec.macs;
    const int32_t outputs = int32_t(spec.bias.size()) / groups, inputs = spec.inputs;
    const int32_t taps = int32_t(spec.tap.size()), pairs = (inputs + 1) / 2;
    for (int32_t tap : spec.tap)
        for (int32_t p = 0; p < pairs; ++p) phase.pair_at.push_back(tap + 2 * p);
    std::vector<int64_t> begin;
    for (int32_t g = 0; g < groups; ++g)
        for (int32_t first = 0; first < outputs;) {
            const int32_t left = outputs - first;
            const int32_t size = left <= kernels.conv_half ? kernels.conv_half : kernels.conv_outputs;
            begin.push_back(int64_t(phase.weights.size()));
            phase.blocks.push_back({nullptr, nullptr, nullptr, g * inputs, g * outputs + first, size});
            phase.weights.resize(phase.weights.size() + int64_t(taps) * pairs * size * 2);
            int16_t* packed = phase.weights.data() + begin.back();
            for (int32_t position = 0; position < size; ++position) {
                const int32_t o = first + kernels.order(position, size), at = g * outputs + o;
                phase.bias.push_back(o < outputs ? spec.bias[at] : 0);
                phase.shift.push_back(o < outputs ? spec.shift[at] : 0);
                if (o >= outputs) continue;
                for (int32_t t = 0; t < taps; ++t)
                    for (int32_t c = 0; c < inputs; ++c)
                        packed[((int64_t(t) * pairs + c / 2) * size + position) * 2 + c % 2] =
                            spec.weights[(int64_t(at) * taps + t) * inputs + c];
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
