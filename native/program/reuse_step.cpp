// A reuse layer in one frame, band of output rows by band: which outputs are touched, change by change
// or afresh; then, while the band is still in cache, scale, bias, activation, and the grids of the
// layers that read it.
#include <algorithm>
#include <atomic>

#include "mquans/stream.h"
#include "program/steps.h"

namespace mquans {
namespace {

// Accumulators and outputs of one band stay in the second-level cache until they have been read.
constexpr int64_t band_bytes = 128 * 1024;

struct Frame {
    const LayerSpec& layer;
    const QuantizedSpec& input;
    ChangeList changes;
    MaskView touched;
    Accumulators acc;
    const int16_t* held;
    const int16_t* zeros;
    // MACs that the changes of one input row cause per row tap, for every input row.
    const int64_t* row_macs;
};

// Marks the outputs that any changed input of the band's taps reaches.
void touch_rows(const Frame& f, int32_t begin, int32_t end) {
    const LayerShape& s = f.layer.shape;
    const int32_t words = f.changes.pixels.words();
    const AxisTaps& cols = s.cols;
    const bool pointwise = s.col_taps == 1 && s.in_width == s.out_width;
    for (int32_t r = begin; r < end; ++r) {
        f.touched.clear_row(r);
        uint64_t* out = f.touched.row(r);
        for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i) {
            const uint64_t* in = f.changes.pixels.row(s.rows.taps[i].input);
            if (pointwise) {
                for (int32_t w = 0; w < words; ++w) out[w] |= in[w];
                continue;
            }
            for_each_pixel(in, words, [&](int32_t x) {
                for (int32_t k = cols.reach_begin[x]; k < cols.reach_begin[x + 1]; ++k)
                    out[cols.reach[k] >> 6] |= uint64_t(1) << (cols.reach[k] & 63);
            });
        }
    }
}

// Dense work of the touched outputs of a band.
int64_t dense_macs(const Frame& f, int32_t begin, int32_t end) {
    const LayerShape& s = f.layer.shape;
    int64_t total = 0;
    for (int32_t r = begin; r < end; ++r) {
        int64_t taps = 0;
        for_each_pixel(f.touched.row(r), f.touched.words(),
                       [&](int32_t x) { taps += s.cols.begin[x + 1] - s.cols.begin[x]; });
        total += taps * (s.rows.begin[r + 1] - s.rows.begin[r]);
    }
    return total * s.group_in() * s.out_channels;
}

int64_t delta_macs(const Frame& f, int32_t begin, int32_t end) {
    const LayerShape& s = f.layer.shape;
    int64_t total = 0;
    for (int32_t r = begin; r < end; ++r)
        for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i)
            total += f.row_macs[s.rows.taps[i].input];
    return total;
}

void count_row_macs(const Frame& f, int64_t* row_macs) {
    const LayerShape& s = f.layer.shape;
    const int32_t groups = f.input.groups;
    for (int32_t r = 0; r < s.in_rows; ++r) {
        int64_t total = 0;
        for_each_pixel(f.changes.pixels.row(r), f.changes.pixels.words(), [&](int32_t x) {
            const int64_t segment = (int64_t(r) * s.in_width + x) * groups;
            int64_t changed = 0;
            for (int32_t g = 0; g < groups; ++g) changed += f.changes.count[segment + g];
            total += changed * (s.cols.reach_begin[x + 1] - s.cols.reach_begin[x]);
        });
        row_macs[r] = total * s.group_out();
    }
}

}  // namespace

void ReuseStep::run(Context& context) const {
    const LayerSpec& layer = program_.layers[layer_];
    const QuantizedSpec& input = program_.quantized[layer.input];
    const LayerShape& s = layer.shape;
    Stream& stream = context.stream;
    LayerReport& report = stream.reports[layer_];
    report = {};

    const ChangeList changes = context.changes(input);
    const MaskView touched = context.mask(layer.y);
    if (!context.snap && !changes.pixels.any()) {
        touched.clear();
        for (QuantizedId id : layer.readers) quantize_nothing(context, program_.quantized[id]);
        return;
    }

    std::vector<int64_t> row_macs(s.in_rows);
    const std::vector<int16_t> zeros(s.in_channels + 64);
    const Frame f{layer, input, changes, touched, stream.accumulators(layer), stream.held(input),
                  zeros.data(), row_macs.data()};
    if (!context.keep_held)
        for (int32_t r = 0; r < s.in_rows; ++r) report.changed += stream.row_changed(input)[r];
    if (!context.snap && !layer.depthwise) count_row_macs(f, row_macs.data());

    const bool stored = program_.tensors[layer.y].offset >= 0;
    const int64_t row_floats = int64_t(s.out_width) * s.out_channels;
    const int64_t row_bytes = 4 * (int64_t(s.out_width) * layer.pixel_stride + row_floats);
    const int32_t band = int32_t(std::clamp<int64_t>(band_bytes / row_bytes, 1, s.out_rows));
    const Mode mode = context.snap ? Mode::dense : program_.mode();
    std::atomic<int64_t> macs_done{0};
    std::atomic<int32_t> delta_rows{0}, dense_rows{0};

    auto outputs = [&](int32_t begin, int32_t end) {
        const int64_t afresh = dense_macs(f, begin, end);
        const int64_t by_change = layer.depthwise ? 0 : delta_macs(f, begin, end);
        const bool dense = layer.depthwise || mode == Mode::dense ||
                           (mode == Mode::automatic && by_change > program_.break_even() * afresh);
        if (dense) {
            const DenseArgs args{&s, layer.weights(), f.held, f.zeros, touched, f.acc, begin, end};
            (layer.depthwise ? context.kernels.depthwise : context.kernels.dense_conv)(args);
        } else {
            context.kernels.delta_conv({&s, layer.weights(), &f.changes, touched, f.acc, begin, end});
        }
        macs_done += dense ? afresh : by_change;
        (dense ? dense_rows : delta_rows) += end - begin;
    };
    auto bring_up_to_date = [&](int32_t begin, int32_t end, float* scratch) {
        if (context.snap)
            for (int32_t r = begin; r < end; ++r) touched.fill_row(r);
        else
            touch_rows(f, begin, end);
        TensorView y = context.tensor(layer.y);
        // A scratch band is addressed like the whole tensor, of which only its rows exist.
        if (!stored) y.data = scratch - begin * row_floats;
        bool any = false;
        for (int32_t r = begin; r < end && !any; ++r) any = touched.row_any(r);
        if (any) {
            outputs(begin, end);
            const int32_t groups = layer.depthwise ? 1 : s.groups;
            context.kernels.epilogue({f.acc, groups, s.out_channels / groups, layer.scale.data(),
                                      layer.bias.data(), layer.activated, layer.activation, layer.a,
                                      layer.b, touched, y, begin, end});
        }
        for (QuantizedId id : layer.readers) {
            const QuantizedSpec& q = program_.quantized[id];
            if (!context.keep_held) quantize_rows(context, q, y, begin, end);
        }
    };
    const int32_t grain = std::max(1, int32_t(8192 / row_bytes));
    context.pool.for_rows(s.out_rows, grain, [&](int32_t begin, int32_t end) {
        const int64_t floats = stored ? 0 : band * row_floats + 64;
        const std::unique_ptr<float[]> scratch(new float[floats]);
        for (int32_t r = begin; r < end; r += band)
            bring_up_to_date(r, std::min(end, r + band), scratch.get());
    });
    if (context.keep_held)
        for (QuantizedId id : layer.readers) quantize_nothing(context, program_.quantized[id]);
    report.macs_done = macs_done;
    report.delta_rows = delta_rows;
    report.dense_rows = dense_rows;
}

}  // namespace mquans
