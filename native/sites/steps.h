// What adds a step over sites to a program.
#pragma once

#include <optional>

#include "mquans/sites.h"

namespace mquans {

// A ConvPhase before its weights are packed. Taps are offsets of single taps, or of lines of pixels whose
// channels follow each other.
struct ConvPhaseSpec {
    std::vector<int32_t> row_at, column_at, tap;
    int32_t inputs;                // of a group, per tap
    std::vector<int16_t> weights;  // [outputs][taps][inputs]
    std::vector<int32_t> bias, shift;  // see ConvBlock
    int64_t macs;                  // of one site; the weights of a line hold padding too
};

// scaled: see ConvBlock. tiled: codes and sums are small enough for WinogradArgs, and the taps are a window of three by three in steps of one.
// least: of the input's codes, which lie within 255 of it; none where they may lie elsewhere.
void add_conv_sites(Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach,
                    std::vector<ConvPhaseSpec> phases, ActivationSpec activation, GateSpec gate, int32_t groups,
                    bool tiled, bool scaled, std::optional<int16_t> least, int64_t macs);

// narrow: of every depthwise_block channels, whether their products round. Their bias is in codes of the sums, and shift is
// 1 where these are doubled; else bias holds the rounding.
void add_depthwise_sites(Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach,
                         std::vector<int32_t> row_at, std::vector<int32_t> column_at, std::vector<int32_t> tap,
                         const std::vector<int16_t>& weights, const std::vector<int32_t>& bias,
                         const std::vector<int32_t>& shift, const std::vector<uint8_t>& narrow,
                         ActivationSpec activation, GateSpec gate, bool scaled, int64_t macs);

// Which input every output row, column and channel is a copy of; empty: its own. Sites without an input (-1)
// hold `fill`.
struct MoveSpec {
    std::vector<int32_t> row, column, channel;
    std::vector<int16_t> fill;  // [channels]
};

// Parts that lie in the concatenation, or the whole that a slice lies in.
void add_join_sites(Program& program, const std::string& name, const std::vector<CodesId>& parts, CodesId y);
void add_move_sites(Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach, MoveSpec spec);

// The inputs that outputs read along one axis.
struct WindowAxis {
    std::vector<int32_t> grid;  // [outputs][taps]; -1: none
    int32_t taps;
    std::vector<int32_t> weight;  // [outputs][taps] in 1/2**15; empty: all 1
    std::vector<float> scale;     // [outputs]
};

struct WindowSpec {
    bool largest;  // else the sum of weight * x, times scales and factor
    WindowAxis rows, columns;
    std::vector<float> factor;  // [channels]
    int16_t limit;
};

void add_window_sites(Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach,
                      WindowSpec spec, GateSpec gate);

// See OperandArgs.
struct CombineOperand {
    CodesId x = -1;                 // -1: the constant, or there is no such operand
    std::vector<int16_t> constant;  // [channels]
    std::vector<int16_t> limit, left, right;
    bool one_site = false, one_channel = false;
};

struct CombineSpec {
    CombineKind kind;
    CombineOperand a, b;
    std::vector<int32_t> start, shift;  // [channels] of products
    WholeFactors factors = {};
};

void add_combine_sites(Program& program, const std::string& name, CodesId y, CombineSpec spec,
                       ActivationSpec activation, GateSpec gate);

// Floats to codes, rounded to nearest even and clamped.
struct EncodeSpec {
    std::vector<float> inverse;  // [channels] codes per unit
    int16_t least, largest;
};

// x * factor + offset, rounded after each; empty where there is none.
struct AffineSpec {
    std::vector<float> factor, offset;  // [channels]
};

// A graph input, read where the caller has it. Of pictures of up to four channels, two by two pixels are
// compared together; pixels: what bytes stand for; values: what codes are made of; motion: what a motion gate
// counts as moved.
void add_input_sites(Program& program, const std::string& name, int32_t input, CodesId y, EncodeSpec encode,
                     GateSpec gate);
void add_picture_sites(Program& program, const std::string& name, int32_t input, CodesId y, EncodeSpec encode,
                       AffineSpec pixels, AffineSpec values, GateSpec gate, GateSpec motion);
void add_encode_sites(Program& program, const std::string& name, TensorId x, CodesId y, EncodeSpec encode,
                      GateSpec gate);
// unit: [channels] of a code.
void add_decode_sites(Program& program, const std::string& name, CodesId x, TensorId y, std::vector<float> unit);

}  // namespace mquans
