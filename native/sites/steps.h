// What adds a step over sites to a program.
#pragma once

#include "mquans/sites.h"

namespace mquans {

// A ConvPhase before its weights are packed. Taps are offsets of single taps, or of lines of pixels whose
// channels follow each other.
struct ConvPhaseSpec {
    std::vector<int32_t> row_at, column_at, tap;
    int32_t inputs;                // of a group, per tap
    std::vector<int16_t> weights;  // [outputs][taps][inputs]
    std::vector<int32_t> bias, shift;
    int64_t macs;                  // of one site; the weights of a line hold padding too
};

void add_conv_sites(Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach,
                    std::vector<ConvPhaseSpec> phases, ActivationSpec activation, GateSpec gate, int32_t groups,
                    int64_t macs);

// narrow: bias is in output codes and shift is empty; else bias holds the rounding.
void add_depthwise_sites(Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach,
                         std::vector<int32_t> row_at, std::vector<int32_t> column_at, std::vector<int32_t> tap,
                         const std::vector<int16_t>& weights, const std::vector<int32_t>& bias,
                         const std::vector<int32_t>& shift, ActivationSpec activation, GateSpec gate, int64_t macs);

// Floats to codes, rounded to nearest even and clamped to +-limit.
struct EncodeSpec {
    std::vector<float> inverse;  // [channels] codes per unit
    int16_t limit;
};

// A graph input, read where the caller has it.
void add_input_sites(Program& program, const std::string& name, int32_t input, CodesId y, EncodeSpec encode,
                     GateSpec gate);
void add_encode_sites(Program& program, const std::string& name, TensorId x, CodesId y, EncodeSpec encode,
                      GateSpec gate);
// unit: [channels] of a code.
void add_decode_sites(Program& program, const std::string& name, CodesId x, TensorId y, std::vector<float> unit);

}  // namespace mquans
