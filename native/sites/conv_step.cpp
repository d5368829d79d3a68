// Convolutions, transposed ones and linear layers over sites: a sum over taps and channels of listed sites.
#include "sites/active.h"
#include "sites/marks.h"
#include "sites/steps.h"

namespace mquans {
namespace {

class ConvStep final : public Step {
public:
    ConvStep(CodesId x, AxisReach reach, std::vector<ConvPhase> phases, SiteTarget target)
        : x_(x),
          reach_(std::move(reach)),
          phases_(std::move(phases)),
          target_(std::move(target)) {
        for (const ConvPhase& phase : phases_) {
            std::vector<uint64_t> mask(MaskView::words_for(int32_t(phase.column_at.size())));
            for (size_t x = 0; x < phase.column_at.size(); ++x)
                if (phase.column_at[x] >= 0) mask[x >> 6] |= uint64_t(1) << (x & 63);
            columns_.push_back(std::move(mask));
        }
    }

    void run(Context& context) const override {
        const MaskView marks = context.codes_mask(target_.y);
        SiteReport& report = context.stream.site_reports[target_.layer];
        if (!mark_layer(context, reach_, x_, marks, report)) return;
        const CodesView x = context.codes(x_);
        for (size_t k = 0; k < phases_.size(); ++k) {
            const ConvPhase& phase = phases_[k];
            const int64_t before = report.active;
            const bool whole = phases_.size() == 1;
            compute_marked(context, target_, marks, whole ? nullptr : phase.row_at.data(),
                           whole ? nullptr : columns_[k].data(), phase.macs / 16 + 64,
                           [&](const SiteList& list, int16_t* fresh) {
                               int32_t at[listed_sites];
                               for (int32_t i = 0; i < list.count; ++i)
                                   at[i] = phase.row_at[list.row[i]] + phase.column_at[list.x[i]];
                               context.sites.conv({x.data, at, list.count, phase.pair_at.data(),
                                                   int32_t(phase.pair_at.size()), phase.blocks.data(),
                                                   int32_t(phase.blocks.size()), fresh,
                                                   target_.fresh_stride});
                           });
            report.macs += (report.active - before) * phase.macs;
        }
    }

    SiteTarget* target() override { return &target_; }

private:
    CodesId x_;
    AxisReach reach_;
    std::vector<ConvPhase> phases_;
    std::vector<std::vector<uint64_t>> columns_;
    SiteTarget target_;
};

// Weights [outputs][taps][inputs of a group] and what follows them, in the order of the kernels.
void pack(ConvPhase& phase, const SiteKernels& kernels, const ConvPhaseSpec& spec, int32_t groups) {
    const int32_t outputs = int32_t(spec.bias.size()) / groups, inputs = spec.inputs;
    const int32_t taps = int32_t(spec.tap.size()), pairs = (inputs + 1) / 2;
    for (int32_t tap : spec.tap)
        for (int32_t p = 0; p < pairs; ++p) phase.pair_at.push_back(tap + 2 * p);
    std::vector<int64_t> begin;
    for (int32_t g = 0; g < groups; ++g)
        for (int32_t first = 0; first < outputs;) {
            const int32_t left = outputs - first;
            const int32_t size = left <= kernels.conv_half ? kernels.conv_half : kernels.conv_outputs;
            begin.push_back(int64_t(phase.weights.size()));
            phase.blocks.push_back({nullptr, nullptr, nullptr, g * inputs, g * outputs + first, size});
            phase.weights.resize(phase.weights.size() + int64_t(taps) * pairs * size * 2);
            int16_t* packed = phase.weights.data() + begin.back();
            for (int32_t position = 0; position < size; ++position) {
                const int32_t o = first + kernels.order(position, size), at = g * outputs + o;
                phase.bias.push_back(o < outputs ? spec.bias[at] : 0);
                phase.shift.push_back(o < outputs ? spec.shift[at] : 0);
                if (o >= outputs) continue;
                for (int32_t t = 0; t < taps; ++t)
                    for (int32_t c = 0; c < inputs; ++c)
                        packed[((int64_t(t) * pairs + c / 2) * size + position) * 2 + c % 2] =
                            spec.weights[(int64_t(at) * taps + t) * inputs + c];
            }
            first += size;
        }
    int64_t done = 0;
    for (size_t k = 0; k < phase.blocks.size(); ++k) {
        phase.blocks[k].weights = phase.weights.data() + begin[k];
        phase.blocks[k].bias = phase.bias.data() + done;
        phase.blocks[k].shift = phase.shift.data() + done;
        done += phase.blocks[k].outputs;
    }
}

}  // namespace

void add_conv_sites(Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach,
                    std::vector<ConvPhaseSpec> specs, ActivationSpec activation, GateSpec gate, int32_t groups,
                    int64_t macs) {
    const CodesSpec &in = program.code_tensors.at(x), &out = program.code_tensors.at(y);
    reach.settle(in.rows, in.width, out.rows, out.width);
    const SiteKernels& kernels = program.site_kernels();
    const int32_t layer = program.add_site_layer({name, x, y, macs, int64_t(in.rows) * in.width * in.channels});
    // The last block of a group writes over the next group's outputs, which follow; nothing follows the last.
    const int32_t outputs = out.channels / std::max(groups, 1);
    const int32_t written = groups > 1 ? out.channels - outputs + padded(outputs, kernels.conv_outputs) : 0;
    SiteTarget target(program, y, std::move(gate), std::move(activation), layer, written);
    std::vector<ConvPhase> phases;
    for (ConvPhaseSpec& spec : specs) {
        ConvPhase phase;
        require(int32_t(spec.row_at.size()) == out.rows && int32_t(spec.column_at.size()) == out.width,
                "a phase does not fit its output");
        require(groups >= 1 && out.channels % groups == 0 && int32_t(spec.bias.size()) == out.channels &&
                    spec.shift.size() == spec.bias.size() &&
                    int64_t(spec.weights.size()) == int64_t(out.channels) * int64_t(spec.tap.size()) * spec.inputs,
                "weights do not fit their layer");
        phase.row_at = std::move(spec.row_at);
        phase.column_at = std::move(spec.column_at);
        phase.macs = spec.macs;
        pack(phase, kernels, spec, groups);
        program.site_weights += int64_t(phase.weights.size());
        phases.push_back(std::move(phase));
    }
    program.add_step(name, std::make_unique<ConvStep>(x, std::move(reach), std::move(phases), std::move(target)));
}

}  // namespace mquans
