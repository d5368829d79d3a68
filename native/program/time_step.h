// A reuse layer whose rows are time steps: each is compared with the one before it, the first of a frame
// with the last of the frame before, and one row of accumulators goes along.
#pragma once

#include "mquans/program.h"

namespace mquans {

// Brings the k-th time step of x onto the grid; x may hold only its row.
void quantize_time_step(const Context& context, const QuantizedSpec& q, const TensorView& x, int32_t k);

// Brings the accumulators of a layer from time step k - 1 to k, then writes what follows from them to
// y: one row [batch][outputs].
void compute_time_step(const Context& context, int32_t layer, int32_t k, float* y);

// A Linear over the time steps of a sequence. Where many values changed, accumulators are computed from all
// that is held, many time steps at once: more multiplications, of several times the speed, and the same bits.
class SequenceStep : public Step {
public:
    SequenceStep(const Program& program, int32_t layer) : program_(program), layer_(layer) {}
    void run(Context& context) const override;

private:
    // Of time steps [begin, end).
    bool mostly_changed(const Context& context, int32_t begin, int32_t end) const;
    void compute_whole(Context& context, int32_t begin, int32_t end) const;

    const Program& program_;
    int32_t layer_;
};

}  // namespace mquans
