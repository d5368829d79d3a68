// The law, tested: accumulators against the product of weights and held values.
#include "mquans/program.h"
#include "mquans/stream.h"

namespace mquans {

std::vector<int16_t> LayerSpec::natural_weights(const KernelTable& kernels) const {
    if (depthwise) return weights16;
    // Where the kernels keep each output is read off a row of indices.
    std::vector<int16_t> index(row_stride), place(row_stride, -1);
    for (int32_t o = 0; o < row_stride; ++o) index[o] = int16_t(o);
    kernels.permute_row16(index.data(), place.data(), shape.group_out());
    const int64_t size = int64_t(shape.groups) * shape.row_taps * line_rows * row_stride;
    std::vector<int16_t> natural(size);
    if (paired) {
        for (int64_t row = 0; row < size / row_stride; ++row)
            for (int32_t o = 0; o < row_stride; ++o)
                natural[row * row_stride + o] = weights16[weights().at(row) + 2 * o];
        return natural;
    }
    for (int64_t row = 0; row < size; row += row_stride)
        for (int32_t i = 0; i < row_stride; ++i)
            if (place[i] >= 0)
                natural[row + place[i]] = weights16.empty() ? weights8[row + i] : weights16[row + i];
    return natural;
}

namespace {

// acc = W @ q of a whole layer by one instruction set's kernels.
std::vector<int32_t> product(const KernelTable& kernels, const LayerSpec& layer, const Weights& weights,
                             const int16_t* held, const int16_t* zeros) {
    const LayerShape& s = layer.shape;
    std::vector<int32_t> acc(layer.acc_size() + 64);
    std::vector<uint64_t> bits(int64_t(s.out_rows) * MaskView::words_for(s.out_width));
    const MaskView all{bits.data(), s.out_rows, s.out_width};
    all.fill();
    const DenseArgs args{&s,  weights,    held, zeros, all,
                         {acc.data(), layer.pixel_stride, layer.group_stride}, 0, s.out_rows};
    (layer.depthwise ? kernels.depthwise : kernels.dense_conv)(args);
    return acc;
}

// What the accumulators stand for: of a sequence the last time step.
const int16_t* held_of(const Stream& stream, const LayerSpec& layer) {
    const QuantizedSpec& q = stream.program().quantized[layer.input];
    const int32_t row = layer.time_steps ? q.row_at(layer.time_steps - 1) : 0;
    return stream.held(q) + int64_t(row) * q.width * q.channels;
}

}  // namespace

std::vector<int32_t> Program::accumulators(const Stream& stream, int32_t index) const {
    const LayerSpec& layer = layers.at(index);
    if (!stream.keeps(index))
        return product(kernels_, layer, layer.weights(), held_of(stream, layer), zeros.data());
    const int32_t* acc = stream.accumulators(layer).data;
    return {acc, acc + layer.acc_size()};
}

Violation Program::check(const Stream& stream) const {
    for (size_t i = 0; i < layers.size(); ++i) {
        const LayerSpec& layer = layers[i];
        const LayerShape& s = layer.shape;
        const std::vector<int16_t> natural = layer.natural_weights(kernels_);
        Weights weights = layer.weights();
        weights.data = natural.data();
        weights.bits = 16;
        weights.paired = false;
        const std::vector<int32_t> found = accumulators(stream, int32_t(i));
        const std::vector<int32_t> expected =
            product(kernels_scalar(), layer, weights, held_of(stream, layer), zeros.data());
        const int32_t groups = layer.pixel_stride / layer.group_stride;
        const int32_t per_group = s.out_channels / groups;
        for (int64_t p = 0; p < int64_t(s.out_rows) * s.out_width; ++p)
            for (int32_t o = 0; o < s.out_channels; ++o) {
                const int64_t at = p * layer.pixel_stride + o / per_group * layer.group_stride + o % per_group;
                if (found[at] != expected[at]) return {int32_t(i), p, o, expected[at], found[at]};
            }
    }
    return {};
}

}  // namespace mquans
