// The two steps of a layer computed value by value: its input onto the grid, then its
// outputs.
#pragma once

#include "mquans/program.h"

namespace mquans {

// How rows [begin, end) of a quantized tensor are updated with x.
QuantizeArgs quantize_args(const Context& context, const QuantizedSpec& q, const TensorView& x,
                           int32_t begin, int32_t end);

// Notes that no value of a quantized tensor moved in this frame.
void quantize_nothing(const Context& context, const QuantizedSpec& q);

// Lists what rows [begin, end) hold as if it had changed from zero: what recomputing begins with.
void list_held(const Context& context, const QuantizedSpec& q, int32_t begin, int32_t end);

class QuantizeStep : public Step {
public:
    QuantizeStep(const Program& program, QuantizedId id) : program_(program), id_(id) {}
    void run(Context& context) const override;

private:
    const Program& program_;
    QuantizedId id_;
};

class ReuseStep : public Step {
public:
    ReuseStep(const Program& program, int32_t layer) : program_(program), layer_(layer) {}
    void run(Context& context) const override;

private:
    const Program& program_;
    int32_t layer_;
};

}  // namespace mquans
