// Weight rows, and changes through them.
#include <algorithm>

#include "tests/check.h"

namespace mquans::test {
namespace {

template <class W>
void permuted_rows(void (*permute)(const W*, W*, int32_t), Report& report) {
    for (int32_t outputs = 1; outputs <= 100; ++outputs) {
        const int32_t stride = padded(outputs, 16);
        Buffer<W> natural(stride), packed(stride);
        for (int32_t o = 0; o < outputs; ++o) natural[o] = W(o + 1);
        permute(natural.data(), packed.data(), outputs);
        report.begin("%d outputs", outputs);
        for (int32_t o = 0; o < outputs; ++o)
            report.check(std::count(packed.data(), packed.data() + stride, W(o + 1)) == 1,
                         "an output is missing or twice", o);
        report.check(std::count(packed.data(), packed.data() + stride, W(0)) == stride - outputs,
                     "padding is not zero", outputs);
    }
}

struct Axis {
    std::vector<int32_t> begin, reach_begin, reach;
    std::vector<Tap> taps;
    int32_t inputs, outputs, extent;
    AxisTaps view() const { return {begin.data(), taps.data(), reach_begin.data(), reach.data()}; }
};

// One axis of a convolution, or of a transposed one, repeated for every image of a batch.
Axis make_axis(int32_t inputs, int32_t extent, int32_t stride, int32_t pad, int32_t dilation,
               bool transposed = false, int32_t batch = 1) {
    const int32_t reach = dilation * (extent - 1);
    const int32_t outputs = transposed ? (inputs - 1) * stride - 2 * pad + reach + 1
                                       : (inputs + 2 * pad - reach - 1) / stride + 1;
    Axis axis{{0}, {0}, {}, {}, inputs * batch, outputs * batch, extent};
    std::vector<std::vector<int32_t>> reached(inputs * batch);
    for (int32_t b = 0; b < batch; ++b)
        for (int32_t o = 0; o < outputs; ++o) {
            for (int32_t t = 0; t < extent; ++t) {
                const int32_t scaled = o + pad - t * dilation;
                int32_t i = transposed ? scaled / stride : o * stride - pad + t * dilation;
                if (i < 0 || i >= inputs || (transposed && (scaled < 0 || scaled % stride))) i = -1;
                if (i < 0) continue;
                axis.taps.push_back({t, b * inputs + i});
                reached[b * inputs + i].push_back(b * outputs + o);
            }
            axis.begin.push_back(int32_t(axis.taps.size()));
        }
    for (const std::vector<int32_t>& list : reached) {
        axis.reach.insert(axis.reach.end(), list.begin(), list.end());
        axis.reach_begin.push_back(int32_t(axis.reach.size()));
    }
    return axis;
}

struct Geometry {
    const char* name;
    Axis rows, cols;
};

std::vector<Geometry> geometries() {
    return {
        {"1x1", make_axis(3, 1, 1, 0, 1), make_axis(7, 1, 1, 0, 1)},
        {"1x1 wide", make_axis(1, 1, 1, 0, 1), make_axis(133, 1, 1, 0, 1)},
        {"3x3", make_axis(4, 3, 1, 1, 1), make_axis(15, 3, 1, 1, 1)},
        {"3x3 stride 2", make_axis(5, 3, 2, 1, 1), make_axis(11, 3, 2, 1, 1)},
        {"5x1 dilated", make_axis(7, 5, 1, 4, 2), make_axis(4, 1, 1, 0, 1)},
        {"5x5", make_axis(6, 5, 1, 2, 1), make_axis(22, 5, 1, 2, 1)},
        {"5x3 stride 2, dilated", make_axis(9, 5, 2, 3, 1), make_axis(70, 3, 2, 2, 2)},
        {"4x4 unpadded", make_axis(9, 4, 1, 0, 2), make_axis(14, 4, 1, 0, 1)},
        {"2x4 transposed", make_axis(3, 2, 2, 0, 1, true), make_axis(5, 4, 2, 1, 1, true)},
        {"3x3 batch", make_axis(3, 3, 1, 1, 1, false, 2), make_axis(5, 3, 1, 0, 1)},
        {"12x12", make_axis(13, 12, 1, 3, 1), make_axis(14, 12, 1, 5, 1)},
        {"1x200 stride 90", make_axis(1, 1, 1, 0, 1), make_axis(500, 200, 90, 60, 1)},
        {"all padding", make_axis(2, 1, 1, 2, 1), make_axis(3, 2, 1, 3, 1)},
    };
}

// Weights in natural order and as an instruction set wants them.
template <class W>
struct Packed {
    Packed(const LayerShape& s, Random& random)
        : stride(padded(s.group_out(), 16)),
          natural(int64_t(s.row_taps) * s.col_taps * s.in_channels * stride, 64), packed(natural) {
        const int32_t largest = sizeof(W) == 1 ? INT8_MAX : INT16_MAX;
        for (int64_t row = 0; row < natural.size(); row += stride)
            for (int32_t o = 0; o < s.group_out(); ++o)
                natural[row + o] = W(random.chance(0.02) ? -largest - 1 : random.integer(-largest, largest));
    }
    void pack(void (*permute)(const W*, W*, int32_t), int32_t outputs) {
        for (int64_t at = 0; at < natural.size(); at += stride)
            permute(natural.data() + at, packed.data() + at, outputs);
    }
    Weights view(const Buffer<W>& data) const { return {data.data(), int32_t(8 * sizeof(W)), stride}; }
    int32_t stride;
    Buffer<W> natural, packed;
};

// Changes of random inputs, applied to `held`.
struct Changes {
    Changes(const LayerShape& s, double share, Buffer<int16_t>& held, Random& random)
        : begin(int64_t(s.in_rows) * s.in_width * s.groups), count(begin.size()),
          channel(held.size() + begin.size() + 1, 64), delta(held.size() + begin.size() + 1, 64),
          pixels(s.in_rows, s.in_width, 0.0, random) {
        uint32_t at = 0;
        for (int64_t segment = 0; segment < begin.size(); ++segment) {
            begin[segment] = at;
            for (int32_t c = 0; c < s.group_in(); ++c) {
                if (!random.chance(share)) continue;
                int16_t& value = held[segment * s.group_in() + c];
                const auto moved = int16_t(random.integer(-16383, 16383));
                channel[at] = uint16_t(c);
                delta[at++] = int16_t(moved - value);
                value = moved;
                ++count[segment];
            }
            if (count[segment]) {
                const int64_t pixel = segment / s.groups;
                pixels.view.set(int32_t(pixel / s.in_width), int32_t(pixel % s.in_width));
            }
            if (count[segment] & 1) channel[at] = 0, delta[at++] = 0;
        }
    }
    ChangeList list() const {
        return {begin.data(), count.data(), channel.data(), delta.data(), pixels.view};
    }
    Buffer<uint32_t> begin;
    Buffer<uint16_t> count, channel;
    Buffer<int16_t> delta;
    Mask pixels;
};

LayerShape make_shape(const Geometry& g, int32_t groups, int32_t group_in, int32_t group_out) {
    return {g.rows.inputs, g.cols.inputs, groups * group_in, g.rows.outputs, g.cols.outputs,
            groups * group_out, groups, g.rows.extent, g.cols.extent, g.rows.view(), g.cols.view()};
}

// Compares the outputs of all pixels, not what pads them.
void same_outputs(const Buffer<int32_t>& expected, const Buffer<int32_t>& actual, int32_t group_stride,
                  int32_t group_out, Report& report, const char* what) {
    for (int64_t at = 0; at < expected.size(); at += group_stride)
        report.same(expected.data() + at, actual.data() + at, group_out, what);
}

// W @ held of one output, by plain sums that wrap around as accumulators do.
template <class W>
int32_t sum_of(const LayerShape& s, const Packed<W>& weights, const Buffer<int16_t>& held, int32_t row, int32_t x,
               int32_t group, int32_t output) {
    uint32_t sum = 0;
    for (int32_t i = s.rows.begin[row]; i < s.rows.begin[row + 1]; ++i)
        for (int32_t j = s.cols.begin[x]; j < s.cols.begin[x + 1]; ++j) {
            const Tap rt = s.rows.taps[i], ct = s.cols.taps[j];
            const int64_t tap = (int64_t(group) * s.row_taps + rt.tap) * s.col_taps + ct.tap;
            const int64_t pixel = int64_t(rt.input) * s.in_width + ct.input;
            for (int32_t c = 0; c < s.group_in(); ++c)
                sum += uint32_t(int32_t(weights.natural[(tap * s.group_in() + c) * weights.stride + output]) *
                                held[pixel * s.in_channels + group * s.group_in() + c]);
        }
    return int32_t(sum);
}

template <class W>
Buffer<int32_t> products(const LayerShape& s, const Packed<W>& weights, const Buffer<int16_t>& held) {
    Buffer<int32_t> acc(int64_t(s.out_rows) * s.out_width * s.groups * weights.stride, slack);
    int64_t at = 0;
    for (int32_t row = 0; row < s.out_rows; ++row)
        for (int32_t x = 0; x < s.out_width; ++x)
            for (int32_t g = 0; g < s.groups; ++g, at += weights.stride)
                for (int32_t o = 0; o < s.group_out(); ++o) acc[at + o] = sum_of(s, weights, held, row, x, g, o);
    return acc;
}

template <class W>
void conv_case(const Geometry& g, int32_t groups, int32_t group_in, int32_t group_out, double share,
               const Tables& tables, Random& random, Report& report) {
    const LayerShape s = make_shape(g, groups, group_in, group_out);
    Packed<W> weights(s, random);
    if constexpr (sizeof(W) == 1)
        weights.pack(tables.tested.permute_row8, group_out);
    else
        weights.pack(tables.tested.permute_row16, group_out);
    const Weights natural = weights.view(weights.natural), packed = weights.view(weights.packed);
    Buffer<int16_t> held(int64_t(s.in_rows) * s.in_width * s.in_channels, slack);
    held.fill([&] { return random.integer(-16384, 16383); });
    const Mask active(s.out_rows, s.out_width, share, random), all(s.out_rows, s.out_width, 1.0, random);
    const int32_t group_stride = padded(group_out, 16), pixel_stride = group_stride * groups;
    Buffer<int32_t> expected(int64_t(s.out_rows) * s.out_width * pixel_stride, slack);
    expected.fill([&] { return random.integer(INT32_MIN, INT32_MAX); });
    const int32_t first = s.out_rows > 2 ? 1 : 0;
    const auto acc = [&](const Buffer<int32_t>& of) {
        return Accumulators{of.data(), pixel_stride, group_stride};
    };
    report.begin("%s int%d groups %d of %d to %d, active %g", g.name, natural.bits, groups, group_in, group_out,
                 share);
    const Buffer<int32_t> actual(expected), law = products(s, weights, held);
    const Changes changes(s, share, held, random);
    const ChangeList list = changes.list();
    tables.scalar.delta_conv({&s, natural, &list, active.view, acc(expected), first, s.out_rows});
    tables.tested.delta_conv({&s, packed, &list, active.view, acc(actual), first, s.out_rows});
    same_outputs(expected, actual, group_stride, group_out, report, "accumulators");
    // Applied everywhere, changes must turn the products of what was held into those of what is.
    tables.tested.delta_conv({&s, packed, &list, all.view, acc(law), 0, s.out_rows});
    same_outputs(products(s, weights, held), law, group_stride, group_out, report, "changes against products");
}

// Products of whole rows, in parts of the outputs as threads take them, against those of a convolution of one tap.
template <class W>
void sums_case(int32_t rows, int32_t in, int32_t out, const Tables& tables, Random& random, Report& report) {
    const Geometry one{"rows", make_axis(1, 1, 1, 0, 1), make_axis(rows, 1, 1, 0, 1)};
    const LayerShape s = make_shape(one, 1, in, out);
    Packed<W> weights(s, random);
    if constexpr (sizeof(W) == 1)
        weights.pack(tables.tested.permute_row8, out);
    else
        weights.pack(tables.tested.permute_row16, out);
    Buffer<int16_t> held(int64_t(rows) * in);
    held.fill([&] { return random.integer(-32767, 32767); });
    const Buffer<int32_t> law = products(s, weights, held), expected(law.size(), slack), actual(law.size(), slack);
    report.begin("int%d %d rows, %d to %d", int(8 * sizeof(W)), rows, in, out);
    tables.scalar.held_sums({held.data(), rows, in, weights.view(weights.natural), expected.data(), 0, out});
    const int32_t cut = out > 32 ? random.integer(1, (out - 1) / 32) * 32 : 0;
    const Weights packed = weights.view(weights.packed);
    if (cut) tables.tested.held_sums({held.data(), rows, in, packed, actual.data(), 0, cut});
    tables.tested.held_sums({held.data(), rows, in, packed, actual.data(), cut, out});
    same_outputs(law, expected, weights.stride, out, report, "products");
    same_outputs(expected, actual, weights.stride, out, report, "accumulators");
}

int sums(const Tables& tables) {
    Report report("held_sums");
    Random random(3);
    for (const int32_t rows : {1, 2, 3, 5, 6, 11, 12, 13, 25})
        for (const int32_t in : {1, 2, 3, 17, 127, 128, 129, 300})
            for (const int32_t out : {1, 5, 8, 9, 16, 17, 33, 48, 49, 100}) {
                sums_case<int8_t>(rows, in, out, tables, random, report);
                sums_case<int16_t>(rows, in, out, tables, random, report);
            }
    return report.close();
}

int convolutions(const Tables& tables) {
    Report report("delta_conv");
    Random random(2);
    const std::vector<Geometry> all = geometries();
    const auto both = [&](const Geometry& g, int32_t groups, int32_t group_in, int32_t group_out,
                          double share) {
        conv_case<int8_t>(g, groups, group_in, group_out, share, tables, random, report);
        conv_case<int16_t>(g, groups, group_in, group_out, share, tables, random, report);
    };
    for (const int32_t in : odd_channels)
        for (const int32_t out : odd_channels) both(all[0], 1, in, out, random.chance(0.5) ? 1.0 : 0.5);
    for (const Geometry& g : all)
        for (const double share : shares) {
            both(g, 1, 3, 24, share);
            both(g, 1, 17, 5, share);
            both(g, 2, 5, 33, share);
            both(g, 3, 4, 17, share);
            both(g, 5, 1, 1, share);
        }
    // More outputs than one block of registers holds.
    for (const int32_t out : {65, 72, 80, 112, 128, 129, 144, 152, 160, 200, 272, 288})
        both(all[0], 1, 3, out, 0.5);
    // So many that weight rows are read from end to end, with lists of any length.
    for (const int32_t in : {1, 2, 5, 17, 40})
        for (const int32_t out : {256, 264, 520, 530, 600}) both(all[0], 1, in, out, 0.5);
    return report.close();
}

}  // namespace

int test_convolutions(const Tables& tables) {
    Report row8("permute_row8"), row16("permute_row16");
    permuted_rows(tables.tested.permute_row8, row8);
    permuted_rows(tables.tested.permute_row16, row16);
    int wrong = row8.close();
    wrong += row16.close();
    wrong += convolutions(tables);
    wrong += sums(tables);
    return wrong;
}

}  // namespace mquans::test
