#include "mquans/program.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "mquans/padded.h"
#include "mquans/stream.h"
#include "program/steps.h"
#include "program/time_step.h"

namespace mquans {
namespace {

// All but one part of so many, taken anew, make a keyframe.
constexpr int64_t keyframe_parts = 5;

// A frame that leaves all but one part of so many of the MACs to do costs as much as a keyframe, or more.
constexpr int64_t busy_parts = 4;

// Frames like a busy one are keyframes: those that take as many pixels but one part of so many, until they have raised
// the mark above them. Then gates are tried again.
constexpr int64_t alike_parts = 8;
constexpr int64_t busy_steps = 64;

// Pixels each way of a block that a motion gate looks at.
constexpr int32_t motion_block = 32;

// The largest share of a block that is marked.
double fullest_block(MaskView marks) {
    double fullest = 0;
    for (int32_t row = 0; row < marks.rows; row += motion_block) {
        const int32_t rows = std::min(motion_block, marks.rows - row);
        for (int32_t x = 0; x < marks.width; x += motion_block) {
            int32_t marked = 0;
            for (int32_t r = row; r < row + rows; ++r)
                marked += __builtin_popcount(uint32_t(marks.row(r)[x >> 6] >> (x & 63)));
            fullest = std::max(fullest, double(marked) / (rows * std::min(motion_block, marks.width - x)));
        }
    }
    return fullest;
}

// What the frame cost that has been run through its gates.
bool was_busy(const Stream& stream) {
    const int64_t all = stream.program().site_macs;
    int64_t done = 0;
    for (const SiteReport& report : stream.site_reports) done += report.macs;
    return all && busy_parts * done >= (busy_parts - 1) * all;
}

}  // namespace

Axis::Axis(const std::vector<int32_t>& grid, int32_t tap_count, int32_t inputs) {
    const int32_t outputs = int32_t(grid.size()) / tap_count;
    std::vector<std::vector<int32_t>> reached(inputs);
    begin.push_back(0);
    for (int32_t o = 0; o < outputs; ++o) {
        for (int32_t t = 0; t < tap_count; ++t) {
            const int32_t i = grid[int64_t(o) * tap_count + t];
            if (i < 0) continue;
            if (i >= inputs) throw std::invalid_argument("tap outside the input");
            taps.push_back({t, i});
            reached[i].push_back(o);
        }
        begin.push_back(int32_t(taps.size()));
    }
    reach_begin.push_back(0);
    for (const auto& outputs_of : reached) {
        reach.insert(reach.end(), outputs_of.begin(), outputs_of.end());
        reach_begin.push_back(int32_t(reach.size()));
    }
}

AxisTaps Axis::view() const { return {begin.data(), taps.data(), reach_begin.data(), reach.data()}; }

Program::Program(const KernelTable& kernels, const SiteKernels& sites, int threads)
    : kernels_(kernels), sites_(sites), workplace_(new Workplace(threads)) {}

void Program::follow_fork() {
    if (!workplace_->usable()) workplace_.reset(new Workplace(pool().threads()));
}

TensorId Program::list(TensorSpec spec) {
    spec.mask_offset = mask_words;
    mask_words += int64_t(spec.rows) * MaskView::words_for(spec.width);
    tensors.push_back(spec);
    return TensorId(tensors.size()) - 1;
}

TensorId Program::add_tensor(int32_t rows, int32_t width, int32_t channels, bool stored) {
    const int64_t offset = stored ? floats_size : -1;
    if (stored) floats_size += padded<int64_t>(int64_t(rows) * width * channels, 16);
    return list({rows, width, channels, channels, offset, 0});
}

TensorId Program::add_view(TensorId base, int32_t first_channel, int32_t channels) {
    TensorSpec view = tensors.at(base);
    if (first_channel < 0 || first_channel + channels > view.channels)
        throw std::invalid_argument("view outside its tensor");
    view.offset += first_channel;
    view.channels = channels;
    return list(view);
}

TensorId Program::add_part(TensorId base, int64_t first, int32_t rows, int32_t width) {
    TensorSpec part = tensors.at(base);
    if (first < 0 || first + int64_t(rows) * width > int64_t(part.rows) * part.width)
        throw std::invalid_argument("part outside its tensor");
    part.rows = rows;
    part.width = width;
    part.offset += first * part.stride;
    return list(part);
}

TensorId Program::add_reshaped(TensorId base, int32_t rows, int32_t width, int32_t channels) {
    const TensorSpec& from = tensors.at(base);
    if (from.stride != from.channels ||
        int64_t(rows) * width * channels != int64_t(from.rows) * from.width * from.channels)
        throw std::invalid_argument("reshaped tensors must be compact and of equal size");
    return list({rows, width, channels, channels, from.offset, 0, from.constant});
}

TensorId Program::add_windows(TensorId base, int32_t count, int32_t taps, int32_t step) {
    const TensorSpec& from = tensors.at(base);
    if (from.rows != 1 || from.stride != from.channels || from.offset < 0 || count < 1 || taps < 1 || step < 1 ||
        int64_t(count - 1) * step + taps > from.width)
        throw std::invalid_argument("windows outside their tensor");
    return list({1, count, taps * from.channels, step * from.channels, from.offset, 0, from.constant});
}

TensorId Program::add_constant(int32_t rows, int32_t width, int32_t channels, const float* values) {
    const auto offset = int64_t(constants.size());
    constants.insert(constants.end(), values, values + int64_t(rows) * width * channels);
    constants.resize(padded<int64_t>(int64_t(constants.size()), 16));
    return list({rows, width, channels, channels, offset, 0, true});
}

QuantizedId Program::add_quantized(QuantizedSpec q, bool externally_clocked) {
    const int64_t pixels = int64_t(q.rows) * q.width;
    q.hold = true;
    for (int32_t c = 0; c < q.channels; ++c) q.hold = q.hold && q.offset[c] == 0 && q.mask[c] == -1;
    const auto repeat = [&](auto& table) {
        for (int32_t i = 0; i < 2 * q.channels + 64; ++i) table.push_back(table[i]);
    };
    repeat(q.inverse_delta);
    repeat(q.offset);
    repeat(q.mask);
    repeat(q.threshold);
    q.zero_threshold.assign(q.threshold.size(), 0);
    // Whole vectors are stored at the end of a list: the surplus must not reach the next row's.
    q.row_capacity = int64_t(q.width) * q.groups * padded(q.channels / q.groups, 2) + 32;
    if (q.row_capacity * q.rows > INT32_MAX) throw std::invalid_argument("tensor too large");
    q.held_offset = held_size;
    held_size += padded<int64_t>(q.held_size(), 32);
    q.segment_offset = segments;
    segments += pixels * q.groups;
    q.pixel_mask_offset = mask_words;
    mask_words += int64_t(q.rows) * MaskView::words_for(q.width);
    q.row_offset = quantized_rows;
    quantized_rows += q.rows;
    quantized.push_back(std::move(q));
    const QuantizedId id = QuantizedId(quantized.size()) - 1;
    quantized[id].step = int32_t(steps_.size());
    if (!externally_clocked) add_step("quantize", std::make_unique<QuantizeStep>(*this, id));
    return id;
}

int32_t Program::add_layer(LayerSpec layer, const int16_t* weights, bool externally_clocked) {
    LayerShape& s = layer.shape;
    if (quantized.at(layer.input).groups != s.groups) throw std::invalid_argument("groups of input and layer differ");
    const int32_t taps = s.row_taps * s.col_taps, outputs = s.group_out(), inputs = s.group_in();
    layer.row_stride = layer.group_stride = padded(outputs, 16);
    layer.pixel_stride = layer.group_stride * s.groups;
    const int64_t size = int64_t(s.groups) * taps * inputs * layer.row_stride;
    if (layer.weight_bits == 8)
        layer.weights8.assign(size + 64, 0);
    else
        layer.weights16.assign(size + 64, 0);
    std::vector<int16_t> row16(layer.row_stride);
    std::vector<int8_t> row8(layer.row_stride);
    int64_t at = 0;
    for (int32_t g = 0; g < s.groups; ++g)
        for (int32_t t = 0; t < taps; ++t)
            for (int32_t c = 0; c < inputs; ++c, at += layer.row_stride) {
                for (int32_t o = 0; o < outputs; ++o)
                    row16[o] = weights[((int64_t(g) * outputs + o) * inputs + c) * taps + t];
                if (layer.weight_bits == 8) {
                    for (int32_t o = 0; o < outputs; ++o) row8[o] = int8_t(row16[o]);
                    kernels_.permute_row8(row8.data(), layer.weights8.data() + at, outputs);
                } else {
                    kernels_.permute_row16(row16.data(), layer.weights16.data() + at, outputs);
                }
            }
    auto spread = [&](std::vector<float>& values) {
        const int32_t groups = layer.pixel_stride / layer.group_stride;
        const int32_t per_group = s.out_channels / groups;
        std::vector<float> out(layer.pixel_stride + 32);
        for (int32_t o = 0; o < s.out_channels; ++o)
            out[o / per_group * layer.group_stride + o % per_group] = values[o];
        values = std::move(out);
    };
    spread(layer.scale);
    spread(layer.bias);
    layer.acc_offset = acc_size;
    acc_size += layer.acc_size();
    const int64_t row_taps = layer.rows.begin.back(), col_taps = layer.cols.begin.back();
    layer.macs = row_taps * col_taps * s.group_in() * s.out_channels * std::max(1, layer.time_steps);
    layers.push_back(std::move(layer));
    LayerSpec& kept = layers.back();
    const int32_t id = int32_t(layers.size()) - 1;
    kept.shape.rows = kept.rows.view();
    kept.shape.cols = kept.cols.view();
    kept.step = int32_t(steps_.size());
    if (externally_clocked) return id;
    if (kept.time_steps)
        add_step(kept.name, std::make_unique<SequenceStep>(*this, id));
    else
        add_step(kept.name, std::make_unique<ReuseStep>(*this, id));
    return id;
}

void Program::add_step(std::string name, std::unique_ptr<Step> step) {
    steps_.push_back(std::move(step));
    step_names.push_back(std::move(name));
}

int32_t Program::add_input(Port port) {
    inputs.push_back(std::move(port));
    return int32_t(inputs.size()) - 1;
}

int32_t Program::add_output(Port port) {
    outputs.push_back(std::move(port));
    return int32_t(outputs.size()) - 1;
}

void Program::finish() {
    compares.resize(inputs.size());
    constants.resize(constants.size() + 64);  // vectors may be read past the end
    struct Span {
        int64_t first_step, last_step, offset, size;
    };
    std::vector<Span> placed;
    for (size_t id = 0; id < quantized.size(); ++id) {
        QuantizedSpec& q = quantized[id];
        Span span{q.step, q.step, 0, q.row_capacity * q.rows};
        for (const auto& layer : layers)
            if (layer.input == QuantizedId(id)) span.last_step = std::max<int64_t>(span.last_step, layer.step);
        std::vector<Span> alive;
        for (const Span& other : placed)
            if (other.last_step >= span.first_step && other.first_step <= span.last_step)
                alive.push_back(other);
        std::sort(alive.begin(), alive.end(),
                  [](const Span& a, const Span& b) { return a.offset < b.offset; });
        for (const Span& other : alive)
            if (span.offset < other.offset + other.size && other.offset < span.offset + span.size)
                span.offset = other.offset + other.size;
        q.list_offset = span.offset;
        lists_size_ = std::max(lists_size_, span.offset + span.size);
        placed.push_back(span);
    }
}

std::unique_ptr<FrameScratch> Program::take_scratch() {
    {
        std::lock_guard<std::mutex> lock(workplace_->scratch_mutex);
        if (!workplace_->free_scratch.empty()) {
            auto scratch = std::move(workplace_->free_scratch.back());
            workplace_->free_scratch.pop_back();
            return scratch;
        }
    }
    auto scratch = std::make_unique<FrameScratch>();
    scratch->channel.resize(lists_size_ + 64);
    scratch->delta.resize(lists_size_ + 64);
    scratch->bands.resize(pool().threads());
    for (FrameScratch::Band& band : scratch->bands) {
        band.codes.resize(codes_scratch_ + 64);  // vectors may be written a little past the end
    }
    return scratch;
}

void Program::give_back(std::unique_ptr<FrameScratch> scratch) {
    std::lock_guard<std::mutex> lock(workplace_->scratch_mutex);
    workplace_->free_scratch.push_back(std::move(scratch));
}

bool Program::begin_frame(Stream& stream, const std::vector<FrameInput>& given, bool keyframe) {
    std::unique_lock<std::mutex> pool_lock(workplace_->pool_mutex, std::defer_lock);
    if (pool().threads() > 1) pool_lock.lock();
    for (size_t i = 0; i < inputs.size(); ++i)
        if (!compares[i] && !Stream::finite(given[i].values, inputs[i].size)) return false;
    std::unique_ptr<FrameScratch>& scratch = stream.scratch.held;
    if (!scratch) scratch = take_scratch();
    Context context{stream, pool(), kernels_, sites_, keyframe, false, *scratch};
    std::vector<const InputCompare*> pictures;
    for (size_t i = 0; i < inputs.size(); ++i) {
        if (!compares[i]) continue;
        stream.set_input(int32_t(i), given[i]);
        pictures.push_back(compares[i]);
    }
    bool still = !keyframe && motion_gate > 0;
    for (size_t i = 0; i < pictures.size() && still; ++i) {
        if (!pictures[i]->compare_motion(context)) return false;
        still = fullest_block(pictures[i]->marks(context)) < motion_gate;
    }
    int64_t taken = 0, pixels = 0;
    for (const InputCompare* picture : pictures) {
        const MaskView marks = picture->marks(context);
        pixels += int64_t(marks.rows) * marks.width;
        if (still) {
            marks.clear();
            continue;
        }
        if (!picture->compare(context)) return false;
        taken += marks.count();
    }
    const bool busy = !keyframe && taken >= stream.busy_from;
    if (busy) stream.busy_from += stream.busy_from / busy_steps + 1;
    stream.taken = taken;
    stream.keyframe = keyframe || busy || (pixels && keyframe_parts * taken >= (keyframe_parts - 1) * pixels);
    for (size_t i = 0; i < inputs.size(); ++i) {
        if (!compares[i])
            stream.set_input(int32_t(i), given[i]);
        else if (stream.keyframe)
            compares[i]->marks(context).fill();
    }
    return true;
}

void Program::run(Stream& stream, int32_t first, int32_t last, bool dense, bool keep_held) {
    std::unique_lock<std::mutex> pool_lock(workplace_->pool_mutex, std::defer_lock);
    if (pool().threads() > 1) pool_lock.lock();
    // Lists made before a fallback subgraph are read after it, so the stream keeps them until its frame ends.
    std::unique_ptr<FrameScratch>& scratch = stream.scratch.held;
    if (!scratch) scratch = take_scratch();
    Context context{stream, pool(), kernels_, sites_, dense || (stream.keyframe && !keep_held), keep_held, *scratch};
    if (context.dense && first == 0)
        for (const Port& port : inputs) stream.mask(port.tensor).fill();
    for (int32_t i = first; i < last; ++i) {
        if (!stream.profile) {
            steps_[i]->run(context);
            continue;
        }
        const auto start = std::chrono::steady_clock::now();
        steps_[i]->run(context);
        const auto spent = std::chrono::steady_clock::now() - start;
        stream.step_ns[i] += std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count();
    }
    if (last < int32_t(steps_.size())) return;
    if (!context.dense && !keep_held && stream.taken && was_busy(stream))
        stream.busy_from = stream.taken - stream.taken / alike_parts;
    // Recomputing listed what is held as changes; nothing has changed.
    for (size_t i = 0; keep_held && i < quantized.size(); ++i) quantize_nothing(context, quantized[i]);
    give_back(std::move(scratch));
}

int64_t Program::weights_bytes() const {
    int64_t total = 2 * site_weights + int64_t(sizeof(float)) * int64_t(constants.size());
    for (const auto& layer : layers)
        total += int64_t(layer.weights8.size()) + 2 * int64_t(layer.weights16.size());
    return total;
}

}  // namespace mquans
