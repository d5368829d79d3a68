// A reuse layer in one frame, band of output rows by band: which outputs are touched, change by change
// or afresh; then, while the band is still in cache, scale, bias, activation, and the grids of the
// layers that read it.
#include <algorithm>
#include <atomic>

#include "mquans/stream.h"
#include "program/steps.h"
#include "program/touch.h"

namespace mquans {
namespace {

// Tensors of up to this many values are likely still in cache from the last frame.
constexpr int64_t cached_values = 32 * 1024;

// What the changes of one input row cost each output row that reads it.
struct RowWork {
    int64_t products;  // changed input times tap; each meets all outputs of its group
    int64_t lists;     // changed pixel (of one group) times tap
};

struct Frame {
    const LayerSpec& layer;
    const QuantizedSpec& input;
    ChangeList changes;
    MaskView touched;
    const int16_t* held;
    const RowWork* row_work;  // per input row
};

// Touched pixels are scattered, so the hardware does not foresee them: ask for all of a band at once.
void prefetch_row(const uint64_t* touched, int32_t words, const void* row, int64_t pixel_bytes) {
    const char* base = static_cast<const char*>(row);
    for_each_pixel(touched, words, [&](int32_t x) {
        for (int64_t line = 0; line < pixel_bytes; line += 64)
            __builtin_prefetch(base + x * pixel_bytes + line, 1, 2);
    });
}

// Dense work of the touched outputs of a band.
int64_t dense_macs(const Frame& f, int32_t begin, int32_t end) {
    const LayerShape& s = f.layer.shape;
    int64_t total = 0;
    for (int32_t r = begin; r < end; ++r) {
        int64_t pixels = 0;
        const uint64_t* row = f.touched.row(r);
        for (int32_t w = 0; w < f.touched.words(); ++w) pixels += __builtin_popcountll(row[w]);
        int64_t taps = pixels * s.col_taps;
        for (const auto& [x, missing] : f.layer.cols.partial)
            if (f.touched.get(r, x)) taps -= missing;
        total += taps * (s.rows.begin[r + 1] - s.rows.begin[r]);
    }
    return total * s.group_in() * s.out_channels;
}

RowWork delta_work(const Frame& f, int32_t begin, int32_t end) {
    const LayerShape& s = f.layer.shape;
    RowWork total{};
    for (int32_t r = begin; r < end; ++r)
        for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i) {
            total.products += f.row_work[s.rows.taps[i].input].products;
            total.lists += f.row_work[s.rows.taps[i].input].lists;
        }
    return total;
}

void count_work(const Frame& f, std::vector<RowWork>& row_work) {
    const LayerShape& s = f.layer.shape;
    const int32_t groups = f.input.groups;
    for (int32_t r = 0; r < s.in_rows; ++r) {
        RowWork work{};
        for_each_pixel(f.changes.pixels.row(r), f.changes.pixels.words(), [&](int32_t x) {
            const int64_t segment = (int64_t(r) * s.in_width + x) * groups;
            const int64_t taps = s.cols.reach_begin[x + 1] - s.cols.reach_begin[x];
            for (int32_t g = 0; g < groups; ++g) {
                work.products += taps * f.changes.count[segment + g];
                work.lists += f.changes.count[segment + g] ? taps : 0;
            }
        });
        row_work[r] = work;
    }
}

// Cycles, estimated for Zen 3 with AVX2; one side 40 % off moves no median measurably. By change: to find a list, and per pair of
// changes to broadcast it and to pass over the outputs, 16 at once. Afresh: per pair of inputs.
bool cheaper_afresh(const LayerShape& s, const RowWork& by_change, int64_t macs_afresh) {
    const double units = (s.group_out() + 15) / 16;
    const double pairs = 0.5 * double(by_change.products + by_change.lists);
    const double delta = 10.0 * double(by_change.lists) + pairs * (3.0 + 2.7 * units);
    const double dense = double(macs_afresh) / (2.0 * s.group_out()) * (0.3 + 1.2 * units);
    return dense < delta;
}

// Scale, bias and activation of a band, and the grids of the layers that read it.
void finish(const Context& context, const LayerSpec& layer, const Accumulators& acc, MaskView touched,
            const TensorView& y, int32_t begin, int32_t end) {
    const Program& program = context.stream.program();
    const auto args_of = [&](size_t reader) {
        return quantize_args(context, program.quantized[layer.readers[reader].id], y, begin, end);
    };
    const auto to_grid_of = [&](size_t reader) {
        const LayerSpec::ToGrid& grid = *layer.readers[reader].to_grid;
        return RequantizeArgs{acc, grid.scale.data(), grid.bias.data(), grid.low, grid.high.data()};
    };
    const int32_t groups = layer.depthwise ? 1 : layer.shape.groups;
    const EpilogueArgs epilogue{acc, groups, layer.shape.out_channels / groups, layer.scale.data(),
                                layer.bias.data(), layer.activated, layer.activation, layer.a, layer.b,
                                touched, y, begin, end};
    // A refresh keeps what is held.
    const size_t readers = context.keep_held ? 0 : layer.readers.size();
    size_t done = 0;
    if (layer.needs_y && readers && layer.readers[0].to_grid) {
        context.kernels.finish(epilogue, to_grid_of(0), args_of(0));
        done = 1;
    } else if (layer.needs_y) {
        context.kernels.epilogue(epilogue);
    }
    for (; done < readers; ++done) {
        if (layer.readers[done].to_grid)
            context.kernels.requantize(to_grid_of(done), args_of(done));
        else
            context.kernels.quantize(args_of(done));
    }
}

}  // namespace

void ReuseStep::run(Context& context) const {
    const LayerSpec& layer = program_.layers[layer_];
    const QuantizedSpec& input = program_.quantized[layer.input];
    const LayerShape& s = layer.shape;
    Stream& stream = context.stream;
    // A refresh repeats the last frame: what that one cost stays on record.
    LayerReport unrecorded;
    LayerReport& report = context.keep_held ? unrecorded : stream.reports[layer_];
    report = {};

    const ChangeList changes = context.changes(input);
    const MaskView touched = context.mask(layer.y);
    if (!context.snap && !changes.pixels.any()) {
        touched.clear();
        for (const auto& reader : layer.readers) quantize_nothing(context, program_.quantized[reader.id]);
        return;
    }

    std::vector<RowWork> row_work(s.in_rows);
    const Frame f{layer, input, changes, touched, stream.held(input), row_work.data()};
    if (!context.keep_held)
        for (int32_t r = 0; r < s.in_rows; ++r) report.changed += stream.row_changed(input)[r];
    if (!context.snap && layer.keeps_accumulators) count_work(f, row_work);

    const bool stored = program_.tensors[layer.y].offset >= 0;
    const int64_t row_floats = int64_t(s.out_width) * s.out_channels;
    const int64_t row_acc = int64_t(s.out_width) * layer.pixel_stride;
    const Mode mode = context.snap ? Mode::dense : program_.mode();
    std::atomic<int64_t> macs_done{0};
    std::atomic<int32_t> delta_rows{0}, dense_rows{0};

    auto accumulate = [&](const Accumulators& acc, int32_t begin, int32_t end) {
        const int64_t afresh = dense_macs(f, begin, end);
        const RowWork by_change = layer.keeps_accumulators ? delta_work(f, begin, end) : RowWork{};
        const bool dense = !layer.keeps_accumulators || mode == Mode::dense ||
                           (mode == Mode::automatic && cheaper_afresh(s, by_change, afresh));
        if (dense) {
            const DenseArgs args{&s, layer.weights(), f.held, program_.zeros.data(), touched, acc, begin, end};
            (layer.depthwise ? context.kernels.depthwise : context.kernels.dense_conv)(args);
        } else {
            context.kernels.delta_conv({&s, layer.weights(), &f.changes, touched, acc, begin, end});
        }
        macs_done += dense ? afresh : by_change.products * s.group_out();
        (dense ? dense_rows : delta_rows) += end - begin;
    };
    auto bring_up_to_date = [&](int32_t begin, int32_t end, FrameRoom::Band& room) {
        if (context.snap)
            for (int32_t r = begin; r < end; ++r) touched.fill_row(r);
        else
            touch(layer, changes.pixels, touched, begin, end);
        // A scratch band is addressed like the whole tensor, of which only its rows exist.
        TensorView y = context.tensor(layer.y);
        if (!stored) y.data = room.values.data() - begin * row_floats;
        Accumulators acc = stream.accumulators(layer);
        if (!layer.keeps_accumulators) acc.data = room.acc.data() - begin * row_acc;
        bool any = false;
        for (int32_t r = begin; r < end && !any; ++r) any = touched.row_any(r);
        if (any) {
            for (int32_t r = begin; r < end && !context.snap; ++r) {
                if (layer.keeps_accumulators && layer.acc_size() > cached_values)
                    prefetch_row(touched.row(r), touched.words(), acc.data + r * row_acc,
                                 4 * layer.pixel_stride);
                if (stored && s.out_rows * row_floats > cached_values)
                    prefetch_row(touched.row(r), touched.words(), y.pixel(r, 0), 4 * y.stride);
            }
            accumulate(acc, begin, end);
        }
        if (any || !layer.readers.empty()) finish(context, layer, acc, touched, y, begin, end);
    };
    const int32_t grain = std::max(1, int32_t(2048 / (row_acc + row_floats)));
    context.pool.for_rows(s.out_rows, grain, [&](int32_t begin, int32_t end, int worker) {
        FrameRoom::Band& room = context.room.bands[worker];
        for (int32_t r = begin; r < end; r += layer.band)
            bring_up_to_date(r, std::min(end, r + layer.band), room);
    });
    if (context.keep_held)
        for (const auto& reader : layer.readers) quantize_nothing(context, program_.quantized[reader.id]);
    report.macs_done = macs_done;
    report.delta_rows = delta_rows;
    report.dense_rows = dense_rows;
}

}  // namespace mquans
