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
    batch_ = y.width;
    hidden_ = y.channels;
    const bool is_lstm = spec_.kind == RecurrenceKind::lstm, is_gru = spec_.kind == RecurrenceKind::gru;
    gates_ = is_lstm ? 4 : is_gru ? 3 : 1;
    const auto is = [&](TensorId id, int32_t rows, int32_t channels) {
        const TensorSpec& t = program.tensors.at(id);
        return t.offset >= 0 && t.rows == rows && t.width == batch_ && t.channels == channels &&
               t.stride == channels;
    };
    const auto is_state = [&](TensorId id, bool needed) { return id < 0 ? !needed : is(id, 1, hidden_); };
    bool fits = is(spec_.y, steps_, hidden_) && is(spec_.p, steps_, gates_ * hidden_) &&
                is_state(spec_.h, false) && is_state(spec_.c, false) && is_state(spec_.last_h, true) &&
                is_state(spec_.last_c, is_lstm) &&
                spec_.activations.size() == size_t(is_lstm ? 3 : is_gru ? 2 : 1) &&
                (spec_.peepholes.empty() || spec_.peepholes.size() == size_t(3 * hidden_)) &&
                (spec_.lengths.empty() || spec_.lengths.size() == size_t(batch_)) &&
                spec_.layers.size() == (is_gru && !spec_.reset_after ? 2 : 1);
    for (size_t i = 0; fits && i < spec_.layers.size(); ++i) {
        const LayerSpec& one = program.layers.at(spec_.layers[i]);
        const int32_t outputs = !resets_before() ? gates_ : i ? 1 : 2;
        fits = one.time_steps == steps_ && is(one.y, 1, outputs * hidden_) &&
               is(program.quantized[one.input].x, steps_, hidden_);
    }
    if (!fits) throw std::invalid_argument("the tensors of a recurrence do not fit together");
}

const float* RecurrenceStep::product(Context& context, size_t which, int32_t k) const {
    const QuantizedSpec& q = program_.quantized[layer(which).input];
    if (!context.keep_held) quantize_time_step(context, q, context.tensor(q.x), k);
    float* y = context.tensor(layer(which).y).data;
    compute_time_step(context, spec_.layers[which], k, y);
    return y;
}

float* RecurrenceStep::input_row(const Context& context, size_t which, int32_t row) const {
    return context.tensor(program_.quantized[layer(which).input].x).pixel(row, 0);
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

void RecurrenceStep::gru_state(const Context& context, float* sums, float* h) const {
    const int32_t n = hidden_;
    float *update = sums, *fresh = sums + 2 * n;
    clamp(fresh, spec_.clip, n);
    activate(context, 1, fresh);
    for (int32_t i = 0; i < n; ++i) h[i] = (1.0f - update[i]) * fresh[i] + update[i] * h[i];
}

float* RecurrenceStep::begin(const Context& context, TensorId from, TensorId to) const {
    float* state = context.tensor(to).data;
    const int64_t size = int64_t(batch_) * hidden_;
    if (from < 0)
        std::fill_n(state, size, 0.0f);
    else
        std::copy_n(context.tensor(from).data, size, state);
    context.mask(to).fill();
    return state;
}

void RecurrenceStep::advance(Context& context, const TimeStep& step) const {
    std::copy_n(step.h, int64_t(batch_) * hidden_, input_row(context, 0, step.row));
    const float* recurrent = product(context, 0, step.k);
    const int32_t outputs = layer(0).shape.out_channels;
    const TensorView p = context.tensor(spec_.p);
    for (int32_t sample = 0; sample < batch_; ++sample) {
        if (!runs(sample, step.row)) continue;
        const float *in = p.pixel(step.row, sample), *from = recurrent + int64_t(sample) * outputs;
        float *h = step.h + int64_t(sample) * hidden_, *sums = sums_of(step, sample);
        if (spec_.kind == RecurrenceKind::lstm) {
            lstm(context, in, from, sums, h, step.c + int64_t(sample) * hidden_);
        } else if (spec_.kind == RecurrenceKind::gru) {
            gru_gates(context, in, from, sums);
            if (!resets_before()) gru_state(context, sums, h);
        } else {
            add(in, from, h, hidden_);
            clamp(h, spec_.clip, hidden_);
            activate(context, 0, h);
        }
    }
}

void RecurrenceStep::advance_after_reset(Context& context, const TimeStep& step) const {
    float* reset = input_row(context, 1, step.row);
    for (int32_t sample = 0; sample < batch_; ++sample) {
        const int64_t at = int64_t(sample) * hidden_;
        const float* gate = sums_of(step, sample) + hidden_;
        std::fill_n(reset + at, hidden_, 0.0f);
        if (runs(sample, step.row)) add_product(gate, step.h + at, reset + at, hidden_);
    }
    const float* recurrent = product(context, 1, step.k);
    for (int32_t sample = 0; sample < batch_; ++sample) {
        if (!runs(sample, step.row)) continue;
        const int64_t at = int64_t(sample) * hidden_;
        float *sums = sums_of(step, sample), *fresh = sums + 2 * hidden_;
        add(fresh, recurrent + at, fresh, hidden_);
        gru_state(context, sums, step.h + at);
    }
}

void RecurrenceStep::write(const Context& context, const TimeStep& step) const {
    const TensorView y = context.tensor(spec_.y);
    for (int32_t sample = 0; sample < batch_; ++sample)
        if (runs(sample, step.row))
            std::copy_n(step.h + int64_t(sample) * hidden_, hidden_, y.pixel(step.row, sample));
        else
            std::fill_n(y.pixel(step.row, sample), hidden_, 0.0f);
}

void RecurrenceStep::run(Context& context) const {
    std::vector<float> sums(int64_t(batch_) * gates_ * hidden_);
    float* h = begin(context, spec_.h, spec_.last_h);
    float* c = spec_.last_c < 0 ? nullptr : begin(context, spec_.c, spec_.last_c);
    const QuantizedSpec& q = program_.quantized[layer(0).input];
    for (int32_t k = 0; k < steps_; ++k) {
        const TimeStep step{k, q.row_at(k), h, c, sums.data()};
        advance(context, step);
        if (resets_before()) advance_after_reset(context, step);
        write(context, step);
    }
    context.mask(spec_.y).fill();
}

}  // namespace mquans
