#include "program/recurrence.h"

#include <algorithm>
#include <stdexcept>

#include "mquans/stream.h"
#include "program/time_step.h"

namespace mquans {
namespace {

void add(const float* a, const float* b, float* sum, int32_t n) {
    for (int32_t i = 0; i < n; ++i) sum[i] = a[i] + b[i];
}

void add_product(const float* a, const float* b, float* sum, int32_t n) {
    for (int32_t i = 0; i < n; ++i) sum[i] += a[i] * b[i];
}

void clamp(float* values, float bound, int32_t n) {
    for (int32_t i = 0; i < n; ++i) values[i] = std::max(-bound, std::min(bound, values[i]));
}

}  // namespace

RecurrenceStep::RecurrenceStep(const Program& program, RecurrenceSpec spec)
    : program_(program), spec_(std::move(spec)) {
    const TensorSpec& y = program.tensors.at(spec_.y);
    steps_ = y.rows;
    lanes_ = y.width;
    hidden_ = y.channels;
    const bool is_lstm = spec_.kind == RecurrenceKind::lstm, is_gru = spec_.kind == RecurrenceKind::gru;
    gates_ = is_lstm ? 4 : is_gru ? 3 : 1;
    const auto is = [&](TensorId id, int32_t rows, int32_t channels) {
        const TensorSpec& t = program.tensors.at(id);
        return t.offset >= 0 && t.rows == rows && t.width == lanes_ && t.channels == channels &&
               t.stride == channels;
    };
    const auto is_state = [&](TensorId id, bool wanted) { return id < 0 ? !wanted : is(id, 1, hidden_); };
    bool fits = is(spec_.y, steps_, hidden_) && is(spec_.p, steps_, gates_ * hidden_) &&
                is_state(spec_.h, false) && is_state(spec_.c, false) && is_state(spec_.last_h, true) &&
                is_state(spec_.last_c, is_lstm) &&
                spec_.activations.size() == size_t(is_lstm ? 3 : is_gru ? 2 : 1) &&
                (spec_.peepholes.empty() || spec_.peepholes.size() == size_t(3 * hidden_)) &&
                (spec_.lengths.empty() || spec_.lengths.size() == size_t(lanes_)) &&
                spec_.layers.size() == (is_gru && !spec_.reset_after ? 2 : 1);
    for (size_t i = 0; fits && i < spec_.layers.size(); ++i) {
        const LayerSpec& layer = program.layers.at(spec_.layers[i]);
        const int32_t outputs = !resets_before() ? gates_ : i ? 1 : 2;
        fits = layer.time_steps == steps_ && is(layer.y, 1, outputs * hidden_) &&
               is(program.quantized[layer.input].x, steps_, hidden_);
    }
    if (!fits) throw std::invalid_argument("the tensors of a recurrence do not fit together");
}

const float* RecurrenceStep::product(Context& context, size_t which, int32_t k) const {
    const int32_t index = spec_.layers[which];
    const LayerSpec& layer = program_.layers[index];
    const QuantizedSpec& q = program_.quantized[layer.input];
    if (!context.keep_held) quantize_time_step(context, q, context.tensor(q.x), k);
    float* y = context.tensor(layer.y).data;
    compute_time_step(context, index, k, y);
    return y;
}

void RecurrenceStep::activate(const Context& context, size_t which, float* values) const {
    const Activation& f = spec_.activations[which];
    context.kernels.unary({f.kind, f.a, f.b, values, values, hidden_});
}

void RecurrenceStep::lstm(const Context& context, const float* p, const float* product, float* sums,
                          float* h, float* c) const {
    const int32_t n = hidden_;
    float *in = sums, *out = in + n, *forget = out + n, *fresh = forget + n;
    const float* peepholes = spec_.peepholes.empty() ? nullptr : spec_.peepholes.data();
    add(p, product, sums, 4 * n);
    if (peepholes) {
        add_product(peepholes, c, in, n);
        add_product(peepholes + 2 * n, c, forget, n);
    }
    for (float* gate : {in, forget, fresh}) {
        clamp(gate, spec_.clip, n);
        activate(context, gate == fresh, gate);
    }
    for (int32_t i = 0; i < n; ++i) c[i] = forget[i] * c[i] + in[i] * fresh[i];
    if (peepholes) add_product(peepholes + n, c, out, n);
    clamp(out, spec_.clip, n);
    activate(context, 0, out);
    std::copy(c, c + n, h);
    activate(context, 2, h);
    for (int32_t i = 0; i < n; ++i) h[i] *= out[i];
}

void RecurrenceStep::gru_gates(const Context& context, const float* p, const float* product,
                               float* sums) const {
    const int32_t n = hidden_;
    add(p, product, sums, 2 * n);
    clamp(sums, spec_.clip, 2 * n);
    for (int32_t gate = 0; gate < 2; ++gate) activate(context, 0, sums + gate * n);
    std::copy(p + 2 * n, p + 3 * n, sums + 2 * n);
    if (spec_.reset_after) add_product(sums + n, product + 2 * n, sums + 2 * n, n);
}

void RecurrenceStep::gru(const Context& context, float* sums, float* h) const {
    const int32_t n = hidden_;
    float *update = sums, *fresh = sums + 2 * n;
    clamp(fresh, spec_.clip, n);
    activate(context, 1, fresh);
    for (int32_t i = 0; i < n; ++i) h[i] = (1.0f - update[i]) * fresh[i] + update[i] * h[i];
}

void RecurrenceStep::run(Context& context) const {
    const int64_t lane_size = hidden_, state_size = lanes_ * lane_size;
    const auto begin = [&](TensorId from, TensorId to) {
        float* state = context.tensor(to).data;
        if (from < 0)
            std::fill(state, state + state_size, 0.0f);
        else
            std::copy_n(context.tensor(from).data, state_size, state);
        context.mask(to).fill();
        return state;
    };
    float* h = begin(spec_.h, spec_.last_h);
    float* c = spec_.last_c < 0 ? nullptr : begin(spec_.c, spec_.last_c);
    const TensorView y = context.tensor(spec_.y), p = context.tensor(spec_.p);
    context.mask(spec_.y).fill();
    const auto input_row = [&](size_t which, int32_t row) {
        return context.tensor(program_.quantized[program_.layers[spec_.layers[which]].input].x).pixel(row, 0);
    };
    const QuantizedSpec& q = program_.quantized[program_.layers[spec_.layers[0]].input];
    std::vector<float> sums(gates_ * state_size);
    for (int32_t k = 0; k < steps_; ++k) {
        const int32_t row = q.row_at(k);
        const auto runs = [&](int32_t lane) { return spec_.lengths.empty() || row < spec_.lengths[lane]; };
        std::copy_n(h, state_size, input_row(0, row));
        const float* product0 = product(context, 0, k);
        const int32_t outputs = program_.layers[spec_.layers[0]].shape.out_channels;
        for (int32_t lane = 0; lane < lanes_; ++lane) {
            if (!runs(lane)) continue;
            const float *in = p.pixel(row, lane), *from = product0 + int64_t(lane) * outputs;
            float *sum = sums.data() + gates_ * lane * lane_size, *state = h + lane * lane_size;
            if (spec_.kind == RecurrenceKind::lstm) {
                lstm(context, in, from, sum, state, c + lane * lane_size);
            } else if (spec_.kind == RecurrenceKind::gru) {
                gru_gates(context, in, from, sum);
                if (!resets_before()) gru(context, sum, state);
            } else {
                add(in, from, state, hidden_);
                clamp(state, spec_.clip, hidden_);
                activate(context, 0, state);
            }
        }
        if (resets_before()) {
            float* reset_h = input_row(1, row);
            for (int64_t i = 0; i < state_size; ++i) {
                const float* sum = sums.data() + gates_ * (i / lane_size) * lane_size;
                reset_h[i] = runs(int32_t(i / lane_size)) ? sum[lane_size + i % lane_size] * h[i] : 0.0f;
            }
            const float* product1 = product(context, 1, k);
            for (int32_t lane = 0; lane < lanes_; ++lane) {
                if (!runs(lane)) continue;
                float* sum = sums.data() + gates_ * lane * lane_size;
                add(sum + 2 * hidden_, product1 + lane * lane_size, sum + 2 * hidden_, hidden_);
                gru(context, sum, h + lane * lane_size);
            }
        }
        for (int32_t lane = 0; lane < lanes_; ++lane)
            if (runs(lane))
                std::copy_n(h + lane * lane_size, lane_size, y.pixel(row, lane));
            else
                std::fill_n(y.pixel(row, lane), lane_size, 0.0f);
    }
}

}  // namespace mquans
