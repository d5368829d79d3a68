// The recurrent half of an LSTM, GRU or RNN in one direction, as graph/operators.py defines it.
#pragma once

#include <vector>

#include "mquans/program.h"

namespace mquans {

enum class RecurrenceKind : int32_t { lstm, gru, rnn };

struct Activation {
    UnaryKind kind;
    float a, b;
};

struct RecurrenceSpec {
    RecurrenceKind kind;
    bool reset_after;                     // gru
    float clip;                           // infinite: none
    std::vector<Activation> activations;  // f, g, h of ONNX
    std::vector<float> peepholes;         // [3 * hidden]: i, o, f; or empty
    std::vector<int32_t> lengths;         // per sample, or empty
    // The recurrent product; of a gru that resets before it two: z and r, then h. Of each the input
    // tensor has a row per time step, in p's order, and the output tensor one row.
    std::vector<int32_t> layers;
    TensorId p;                           // [steps][batch][gates * hidden]
    TensorId h, c;                        // before the first time step, [batch][hidden]; -1: zeros
    TensorId y;                           // [steps][batch][hidden]
    TensorId last_h, last_c;              // last_c: -1 but for lstm
};

class RecurrenceStep : public Step {
public:
    // Throws std::invalid_argument when tensors and layers do not fit together.
    RecurrenceStep(const Program& program, RecurrenceSpec spec);
    void run(Context& context) const override;

private:
    struct TimeStep {
        int32_t k, row;
        float *h, *c;  // [batch][hidden]; c: lstm
        float* sums;   // [batch][gates * hidden], then the gates themselves
    };

    // A state of its own for this frame, from the one before.
    float* begin(const Context& context, TensorId from, TensorId to) const;
    // h and c from those before the time step; of a gru that resets before its product only the gates,
    // which that product waits for.
    void advance(Context& context, const TimeStep& step) const;
    void advance_after_reset(Context& context, const TimeStep& step) const;
    void write(const Context& context, const TimeStep& step) const;

    // What the recurrent products of a time step come to, [batch][outputs].
    const float* product(Context& context, size_t which, int32_t k) const;
    float* input_row(const Context& context, size_t which, int32_t row) const;
    void activate(const Context& context, size_t which, float* values) const;
    // Of one sample.
    void lstm(const Context& context, const float* p, const float* product, float* sums, float* h,
              float* c) const;
    void gru_gates(const Context& context, const float* p, const float* product, float* sums) const;
    void gru_state(const Context& context, float* sums, float* h) const;

    const LayerSpec& layer(size_t which) const { return program_.layers[spec_.layers[which]]; }
    float* sums_of(const TimeStep& step, int32_t sample) const {
        return step.sums + int64_t(sample) * gates_ * hidden_;
    }
    bool runs(int32_t sample, int32_t row) const { return spec_.lengths.empty() || row < spec_.lengths[sample]; }
    bool resets_before() const { return spec_.layers.size() == 2; }

    const Program& program_;
    RecurrenceSpec spec_;
    int32_t steps_, batch_, hidden_, gates_;
};

}  // namespace mquans
