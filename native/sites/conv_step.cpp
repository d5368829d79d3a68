// Convolutions, transposed ones and linear layers over sites: a sum over taps and channels of listed sites.
#include "sites/conv_weights.h"
#include "sites/marks.h"
#include "sites/tiles.h"

namespace mquans {
namespace {

class ConvStep final : public Step {
public:
    ConvStep(CodesId x, AxisReach reach, std::vector<ConvPhase> phases, SiteTarget target, bool scaled)
        : x_(x),
          reach_(std::move(reach)),
          phases_(std::move(phases)),
          target_(std::move(target)),
          scaled_(scaled) {
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
        const int16_t* x = context.codes(x_).data;
        for (size_t k = 0; k < phases_.size(); ++k) {
            const ConvPhase& phase = phases_[k];
            const int64_t before = report.active;
            const bool whole = phases_.size() == 1;
            compute_marked(context, target_, marks, whole ? nullptr : phase.row_at.data(),
                           whole ? nullptr : columns_[k].data(), site_cost(phase),
                           [&](const SiteList& list, int16_t* fresh) {
                               compute_sites(context, phase, x, list, fresh, target_.fresh_stride, scaled_);
                           });
            report.macs += (report.active - before) * phase.macs;
        }
    }

    SiteTarget* target() override { return &target_; }

    static int64_t site_cost(const ConvPhase& phase) { return phase.macs / 16 + 64; }

    static void compute_sites(const Context& context, const ConvPhase& phase, const int16_t* x, const SiteList& list,
                              int16_t* fresh, int32_t fresh_stride, bool scaled) {
        int32_t at[listed_sites];
        windows_of(list, phase.row_at.data(), phase.column_at.data(), at);
        ConvArgs args{x, at, list.count, phase.runs.data(), int32_t(phase.runs.size()), phase.blocks.data(),
                      int32_t(phase.blocks.size()), fresh, fresh_stride, list.held(), scaled};
        if (!phase.bytes) return context.sites.conv(args);
        int16_t* const behind = fresh + bytes_behind(fresh_stride);
        context.sites.take_bytes({x, at, list.count, args.runs, args.run_count, phase.least, phase.depth,
                                  reinterpret_cast<uint8_t*>(behind)});
        const WindowRun whole{0, phase.depth / 2};
        for (int32_t i = 0; i < list.count; ++i) at[i] = i * whole.length;
        args.x = behind;
        args.runs = &whole;
        args.run_count = 1;
        context.sites.conv_bytes(args);
    }

    // Where windows lie as bytes, behind what comes of them.
    static int64_t bytes_behind(int32_t fresh_stride) { return int64_t(listed_sites) * fresh_stride + 128; }

private:
    CodesId x_;
    AxisReach reach_;
    std::vector<ConvPhase> phases_;
    std::vector<std::vector<uint64_t>> columns_;
    SiteTarget target_;
    bool scaled_;
};

// A 3x3 convolution by tiles of two by two sites where most of them are active, by single sites elsewhere.
class TiledConvStep final : public Step {
public:
    // tiles: the phase by transformed weights.
    TiledConvStep(CodesId x, AxisReach reach, const ConvPhaseSpec& spec, ConvPhase phase, ConvPhase tiles,
                  SiteTarget target, bool scaled)
        : x_(x), reach_(std::move(reach)), phase_(std::move(phase)), tiles_(std::move(tiles)),
          target_(std::move(target)), inputs_(spec.inputs), first_(spec.tap[0]), row_(spec.tap[3] - first_),
          column_(spec.tap[1] - first_), scaled_(scaled) {
        for (int32_t tap = 0; tap < 9; ++tap)
            require(spec.tap[tap] == first_ + tap / 3 * row_ + tap % 3 * column_, "taps are no window");
        for (size_t x = 1; x < phase_.column_at.size(); ++x)
            require(phase_.column_at[x] == phase_.column_at[x - 1] + column_, "windows lie apart");
        for (size_t r = 0; r + 1 < phase_.row_at.size(); r += 2)
            paired_.push_back(phase_.row_at[r + 1] == phase_.row_at[r] + row_);
    }

    void run(Context& context) const override {
        const MaskView marks = context.codes_mask(target_.y);
        SiteReport& report = context.stream.site_reports[target_.layer];
        if (!mark_layer(context, reach_, x_, marks, report)) return;
        const int16_t* x = context.codes(x_).data;
        compute_tiled(
            context, target_, marks, paired_, ConvStep::site_cost(phase_),
            [&](const TileList& list, const SiteList& sites, int16_t* fresh, int16_t* scratch) {
                int32_t at[TileList::most], y_at[4 * TileList::most];
                int64_t held_at[4 * TileList::most];
                for (int32_t i = 0; i < list.count; ++i)
                    at[i] = phase_.row_at[list.row[i]] + phase_.column_at[list.x[i]] + first_;
                for (int32_t i = 0; i < 4 * list.count; ++i) {
                    y_at[i] = list.fresh[i] * target_.fresh_stride;
                    held_at[i] = list.fresh[i] < sites.count ? sites.held_at[list.fresh[i]] : -1;
                }
                context.sites.winograd({x, at, list.count, row_, column_, inputs_, tiles_.blocks.data(),
                                        int32_t(tiles_.blocks.size()), fresh, y_at, scratch,
                                        {sites.codes, held_at, sites.low, sites.high, sites.capped}, scaled_});
            },
            [&](const SiteList& list, int16_t* fresh) {
                ConvStep::compute_sites(context, phase_, x, list, fresh, target_.fresh_stride, scaled_);
            });
        report.macs += report.active * phase_.macs;
    }

    SiteTarget* target() override { return &target_; }

private:
    CodesId x_;
    AxisReach reach_;
    ConvPhase phase_, tiles_;
    SiteTarget target_;
    int32_t inputs_, first_, row_, column_;
    bool scaled_;
    std::vector<bool> paired_;
};

}  // namespace

void add_conv_sites(Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach,
                    std::vector<ConvPhaseSpec> specs, ActivationSpec activation, GateSpec gate, int32_t groups,
                    bool tiled, bool scaled, std::optional<int16_t> least, int64_t macs) {
    const CodesSpec &in = program.code_tensors.at(x), &out = program.code_tensors.at(y);
    reach.settle(in.rows, in.width, out.rows, out.width);
    const SiteKernels& kernels = program.site_kernels();
    const int32_t layer = program.add_site_layer({name, x, y, macs, int64_t(in.rows) * in.width * in.channels});
    // The last block of a group writes over the next group's outputs, which follow; nothing follows the last.
    const int32_t outputs = out.channels / std::max(groups, 1);
    const int32_t written = groups > 1 ? out.channels - outputs + padded(outputs, kernels.conv_outputs) : 0;
    SiteTarget target(program, y, std::move(gate), std::move(activation), layer, written);
    target.allow_straight(outputs, kernels.conv_half);
    std::vector<ConvPhase> phases;
    for (const ConvPhaseSpec& spec : specs) {
        require(int32_t(spec.row_at.size()) == out.rows && int32_t(spec.column_at.size()) == out.width,
                "a phase does not fit its output");
        require(groups >= 1 && out.channels % groups == 0 && int32_t(spec.bias.size()) == out.channels &&
                    spec.shift.size() == spec.bias.size() &&
                    int64_t(spec.weights.size()) == int64_t(out.channels) * int64_t(spec.tap.size()) * spec.inputs,
                "weights do not fit their layer");
        phases.push_back(pack_phase(kernels, spec, groups, least));
        program.site_weights += int64_t(phases.back().weights.size());
        program.need_codes_scratch(ConvStep::bytes_behind(target.fresh_stride) +
                                   int64_t(listed_sites) * phases.back().depth / 2 + 32);
        target.at_once = listed_at_once(target.fresh_stride, int64_t(phases.back().weights.size()));
    }
    if (tiled && kernels.winograd && !phases[0].bytes) {
        require(specs.size() == 1 && groups == 1 && specs[0].tap.size() == 9 && out.channels > 8,
                "only 3x3 convolutions of more than 8 outputs are computed by tiles");
        ConvPhase tiles = pack_phase(kernels, transformed(specs[0], scaled), 1);
        program.site_weights += int64_t(tiles.weights.size());
        program.need_codes_scratch(2 * tiled_scratch(target.fresh_stride) + winograd_scratch(specs[0].inputs));
        program.add_step(name, std::make_unique<TiledConvStep>(x, std::move(reach), specs[0], std::move(phases[0]),
                                                               std::move(tiles), std::move(target), scaled));
        return;
    }
    program.add_step(name, std::make_unique<ConvStep>(x, std::move(reach), std::move(phases), std::move(target),
                                                scaled));
}

}  // namespace mquans
