// The law, tested: accumulators against the product of weights and held values, by plain loops that share
// nothing with the kernels.
#include "mquans/program.h"
#include "mquans/stream.h"

namespace mquans {

std::vector<int16_t> LayerSpec::natural_weights(const KernelTable& kernels) const {
    // Where the kernels keep each output is read off a row of indices.
    std::vector<int16_t> index(row_stride), place(row_stride, -1);
    for (int32_t o = 0; o < row_stride; ++o) index[o] = int16_t(o);
    kernels.permute_row16(index.data(), place.data(), shape.group_out());
    const int64_t size = int64_t(shape.row_taps) * shape.col_taps * shape.in_channels * row_stride;
    std::vector<int16_t> natural(size);
    for (int64_t row = 0; row < size; row += row_stride)
        for (int32_t i = 0; i < row_stride; ++i)
            if (place[i] >= 0)
                natural[row + place[i]] = weights16.empty() ? weights8[row + i] : weights16[row + i];
    return natural;
}

namespace {

// What the accumulators stand for: of a sequence the last time step.
const int16_t* held_of(const Stream& stream, const LayerSpec& layer) {
    const QuantizedSpec& q = stream.program().quantized[layer.input];
    const int32_t row = layer.time_steps ? q.row_at(layer.time_steps - 1) : 0;
    return stream.held(q) + int64_t(row) * q.width * q.channels;
}

// W @ q of one output pixel and group.
void add_products(const LayerSpec& layer, const std::vector<int16_t>& weights, const int16_t* held, int32_t row,
                  int32_t x, int32_t group, std::vector<int32_t>& sums) {
    const LayerShape& s = layer.shape;
    for (int32_t i = s.rows.begin[row]; i < s.rows.begin[row + 1]; ++i)
        for (int32_t j = s.cols.begin[x]; j < s.cols.begin[x + 1]; ++j) {
            const Tap rt = s.rows.taps[i], ct = s.cols.taps[j];
            const int16_t* q = held + (int64_t(rt.input) * s.in_width + ct.input) * s.in_channels + group * s.group_in();
            const int64_t tap = (int64_t(group) * s.row_taps + rt.tap) * s.col_taps + ct.tap;
            const int16_t* w = weights.data() + tap * s.group_in() * layer.row_stride;
            for (int32_t c = 0; c < s.group_in(); ++c, w += layer.row_stride)
                for (int32_t o = 0; q[c] && o < s.group_out(); ++o) sums[o] += int32_t(w[o]) * q[c];
        }
}

}  // namespace

Violation Program::check(const Stream& stream) const {
    for (size_t i = 0; i < layers.size(); ++i) {
        const LayerSpec& layer = layers[i];
        const LayerShape& s = layer.shape;
        const std::vector<int16_t> weights = layer.natural_weights(kernels_);
        const int16_t* held = held_of(stream, layer);
        const int32_t* found = stream.accumulators(layer).data;
        for (int64_t p = 0; p < int64_t(s.out_rows) * s.out_width; ++p)
            for (int32_t g = 0; g < s.groups; ++g, found += layer.group_stride) {
                std::vector<int32_t> expected(s.group_out());
                add_products(layer, weights, held, int32_t(p / s.out_width), int32_t(p % s.out_width), g, expected);
                for (int32_t o = 0; o < s.group_out(); ++o)
                    if (found[o] != expected[o])
                        return {int32_t(i), p, g * s.group_out() + o, expected[o], found[o]};
            }
    }
    return {};
}

}  // namespace mquans
