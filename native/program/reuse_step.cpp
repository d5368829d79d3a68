// A reuse layer in one frame, band of output rows by band: which outputs are touched, change by change
// or afresh; then, while the band is still in cache, scale, bias, activation, and the grids of the
// layers that read it.
#include <algorithm>
#include <atomic>

#include "mquans/stream.h"
#include "program/steps.h"
#include "program/touch.h"
#include "program/work.h"

namespace mquans {
namespace {

// Tensors of up to this many values are likely still in cache from the last frame.
constexpr int64_t cached_values = 32 * 1024;

// Touched pixels are scattered, so the hardware does not foresee them: ask for all of a band at once.
void prefetch_row(const uint64_t* touched, int32_t words, const void* row, int64_t pixel_bytes) {
    const char* base = static_cast<const char*>(row);
    for_each_pixel(touched, words, [&](int32_t x) {
        for (int64_t line = 0; line < pixel_bytes; line += 64)
            __builtin_prefetch(base + x * pixel_bytes + line, 1, 2);
    });
}

// What a layer's frame cost as it was done, and what it would have cost the other way; picoseconds.
struct Costs {
    std::atomic<int64_t> afresh{0};  // with accumulators in scratch memory
    std::atomic<int64_t> kept{0};    // with accumulators brought up to date, by the cheaper way band by band
};

// Frames in a row in which keeping accumulators must have been dearer for it to end, and after which
// a layer computed afresh is asked whether it would pay.
constexpr int32_t patience = 4, interval = 8;

// Counting what changes would cost is work too: where nothing is kept, only now and then.
bool weighs(const Habit& habit) { return habit.keeps || habit.frames + 1 >= interval; }

void reconsider(Habit& habit, const Costs& costs) {
    if (habit.keeps) {
        habit.frames = costs.kept > costs.afresh ? habit.frames + 1 : 0;
        if (habit.frames >= patience) habit = {false, false, 0};
    } else if (++habit.frames >= interval) {
        // To begin costs a dense frame of the layer, so it must pay clearly.
        habit = {4 * costs.kept < 3 * costs.afresh, false, 0};
    }
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
    if (layer.codes_for >= 0) {
        const QuantizedSpec& q = program.quantized[layer.codes_for];
        return context.kernels.codes({epilogue, q.inverse_delta.data(), q.limit, context.stream.codes(layer.y)});
    }
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

    if (!context.keep_held)
        for (int32_t r = 0; r < s.in_rows; ++r) report.changed += stream.row_changed(input)[r];
    Habit& habit = stream.habits[layer_];
    const Mode mode = context.snap ? Mode::dense : program_.mode();
    // With one output pixel either way reads a weight row at most once: changes cost no more than all inputs.
    const bool single = s.out_rows * s.out_width * s.row_taps * s.col_taps == 1;
    const bool adapts = mode == Mode::automatic && layer.keeps_accumulators && !single;
    const bool keeps = layer.keeps_accumulators && habit.keeps;
    const bool count = keeps ? mode != Mode::dense : adapts && weighs(habit);
    const std::vector<Work> by_row = count ? work_by_row(layer, changes) : std::vector<Work>();
    // Accumulators that were not kept so far are computed wherever they are.
    std::vector<uint64_t> everywhere;
    MaskView computed = touched;
    if (keeps && !habit.filled && !context.snap) {
        everywhere.resize(int64_t(s.out_rows) * touched.words());
        computed.bits = everywhere.data();
        computed.fill();
    }
    const bool afresh_only = !keeps || mode == Mode::dense || !everywhere.empty();

    const bool stored = program_.tensors[layer.y].floats();
    const int64_t row_floats = int64_t(s.out_width) * s.out_channels;
    const int64_t row_acc = int64_t(s.out_width) * layer.pixel_stride;
    const CostModel& model = program_.costs();
    Costs costs;
    std::atomic<int64_t> macs_done{0};
    std::atomic<int32_t> delta_rows{0}, dense_rows{0};

    auto accumulate = [&](const Accumulators& acc, int32_t begin, int32_t end, int16_t* lines) {
        const Work work = work_of(layer, computed, by_row, begin, end);
        const int64_t afresh = model.afresh(s, work), by_change = model.by_change(s, work);
        const bool dense = afresh_only || (adapts && afresh < by_change);
        if (dense) {
            const DenseArgs args{&s,  layer.weights(), stream.held(input), program_.zeros.data(), computed,
                                 acc, begin,           end,                lines};
            (layer.depthwise ? context.kernels.depthwise : context.kernels.dense_conv)(args);
        } else {
            context.kernels.delta_conv({&s, layer.weights(), &changes, touched, acc, begin, end});
        }
        macs_done += dense ? work.taps * s.in_channels / s.groups * s.out_channels
                           : work.products * s.group_out();
        (dense ? dense_rows : delta_rows) += end - begin;
        if (!count) return;
        costs.afresh += afresh;
        costs.kept += std::min(by_change, afresh + model.keeping(s, work));
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
        if (!keeps) acc.data = room.acc.data() - begin * row_acc;
        bool any = false;
        for (int32_t r = begin; r < end && !any; ++r) any = computed.row_any(r);
        if (any) {
            for (int32_t r = begin; r < end && !context.snap; ++r) {
                if (keeps && layer.acc_size() > cached_values)
                    prefetch_row(touched.row(r), touched.words(), acc.data + r * row_acc,
                                 4 * layer.pixel_stride);
                if (stored && s.out_rows * row_floats > cached_values)
                    prefetch_row(touched.row(r), touched.words(), y.pixel(r, 0), 4 * y.stride);
            }
            accumulate(acc, begin, end, room.lines.data());
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
    if (keeps) habit.filled = true;
    if (adapts && everywhere.empty()) reconsider(habit, costs);
    report.macs_done = macs_done;
    report.delta_rows = delta_rows;
    report.dense_rows = dense_rows;
}

}  // namespace mquans
