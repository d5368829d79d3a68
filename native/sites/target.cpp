// What computed sites go through, laid out for the kernels.
#include <algorithm>

#include "sites/active.h"

namespace mquans {
namespace {

// Sites of up to 16 channels share registers of 32 codes.
int32_t fresh_stride_of(int32_t channels) {
    return channels <= 8 ? 8 : channels <= 16 ? 16 : padded(channels, 32);
}

void lay_out(std::vector<int16_t>& values, int32_t stride) {
    values.resize(stride + 64);
    if (stride < 32)
        for (int32_t i = stride; i < 64; ++i) values[i] = values[i - stride];
}

}  // namespace

void ActivationSpec::pad(int32_t stride) {
    if (low.empty()) return;
    for (auto* values : {&low, &high, &slope, &limit, &left, &right, &gain, &bound, &rounding}) lay_out(*values, stride);
}

ActivationArgs ActivationSpec::args() const {
    ActivationArgs args;
    args.kind = kind;
    if (low.empty()) return args;
    args.low = low.data();
    args.high = high.data();
    args.slope = slope.data();
    args.limit = limit.data();
    args.left = left.data();
    args.right = right.data();
    args.gain = gain.data();
    args.bound = bound.data();
    args.rounding = rounding.data();
    args.table = table.get();
    args.line_slope = line_slope;
    args.line_start = line_start;
    args.scale = scale;
    args.start = start;
    args.coarser = coarser;
    args.finer = finer;
    args.lookup = lookup.data();
    args.first = first;
    return args;
}

SiteTarget::SiteTarget(Program& program, CodesId y, GateSpec spec, ActivationSpec activation_, int32_t layer,
                       int32_t reach)
    : y(y), activation(std::move(activation_)), layer(layer) {
    const int32_t channels = program.code_tensors.at(y).channels;
    fresh_stride = fresh_stride_of(std::max(channels, reach));
    at_once = listed_at_once(fresh_stride);
    set_gate(program, std::move(spec));
    const auto bounds = [](int16_t most) { return most < INT16_MAX; };
    capped = std::any_of(activation.high.begin(), activation.high.end(), bounds);
    activation.pad(fresh_stride);
    // Kernels write whole blocks of up to 32 codes.
    program.need_codes_scratch(int64_t(listed_sites) * fresh_stride + 128);
}

void SiteTarget::allow_straight(int32_t channels, int32_t unit) {
    straight = channels % unit == 0 && activation.kind == ActivationKind::none && !activation.low.empty();
}

void SiteTarget::set_gate(const Program& program, GateSpec spec) {
    require(spec.weight.empty() || int32_t(spec.weight.size()) == program.code_tensors.at(y).channels,
            "a gate has one weight per channel");
    gate = std::move(spec);
    if (!gate.weight.empty()) mquans::lay_out(gate.weight, fresh_stride);
}

}  // namespace mquans
