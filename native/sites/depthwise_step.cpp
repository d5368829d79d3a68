// Depthwise convolutions of listed sites.
#include "sites/active.h"
#include "sites/marks.h"
#include "sites/steps.h"

namespace mquans {
namespace {

class DepthwiseStep final : public Step {
public:
    CodesId x;
    AxisReach reach;
    std::vector<int32_t> row_at, column_at, tap;
    std::vector<DepthwiseSums> sums;
    std::vector<int16_t> weights, narrow_bias, twice;
    std::vector<int32_t> bias, shift;
    bool scaled = false;
    int64_t site_macs = 0;
    int32_t window = 0, tap_row = 0, tap_column = 0;  // see DepthwiseArgs
    SiteTarget target_;

    explicit DepthwiseStep(SiteTarget where) : target_(std::move(where)) {}

    void run(Context& context) const override {
        const MaskView marks = context.codes_mask(target_.y);
        SiteReport& report = context.stream.site_reports[target_.layer];
        if (!mark_layer(context, reach, x, marks, report)) return;
        const CodesView in = context.codes(x);
        const int32_t taps = int32_t(tap.size());
        compute_marked(context, target_, marks, nullptr, nullptr, int64_t(taps) * in.channels / 16 + 64,
                       [&](const SiteList& list, int16_t* fresh) {
                           int32_t at[listed_sites];
                           windows_of(list, row_at.data(), column_at.data(), at);
                           context.sites.depthwise({in.data, at, list.count, tap.data(), taps, window, tap_row,
                                                    tap_column, sums.data(), weights.data(), narrow_bias.data(),
                                                    twice.data(), bias.data(), shift.data(), in.channels, fresh,
                                                    target_.fresh_stride, list.held(), scaled});
                       });
        report.macs = report.active * site_macs;
    }

    SiteTarget* target() override { return &target_; }

    void find_window() {
        for (const int32_t size : {3, 5}) {
            if (int32_t(tap.size()) != size * size) continue;
            tap_row = tap[size] - tap[0];
            tap_column = tap[1] - tap[0];
            window = size;
            for (int32_t t = 0; t < size * size; ++t)
                if (tap[t] != tap[0] + t / size * tap_row + t % size * tap_column) window = 0;
        }
    }
};

}  // namespace

void add_depthwise_sites(Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach,
                         std::vector<int32_t> row_at, std::vector<int32_t> column_at, std::vector<int32_t> tap,
                         const std::vector<int16_t>& weights, const std::vector<int32_t>& bias,
                         const std::vector<int32_t>& shift, const std::vector<uint8_t>& narrow,
                         ActivationSpec activation, GateSpec gate, bool scaled, int64_t macs) {
    const CodesSpec &in = program.code_tensors.at(x), &out = program.code_tensors.at(y);
    reach.settle(in.rows, in.width, out.rows, out.width);
    const int32_t channels = out.channels, taps = int32_t(tap.size());
    require(in.channels == channels && int32_t(row_at.size()) == out.rows && int32_t(column_at.size()) == out.width &&
                int64_t(weights.size()) == int64_t(taps) * channels && int32_t(bias.size()) == channels &&
                int32_t(shift.size()) == channels &&
                int32_t(narrow.size()) == padded(channels, depthwise_block) / depthwise_block,
            "weights do not fit their layer");
    const int32_t layer = program.add_site_layer({name, x, y, macs, int64_t(in.rows) * in.width * channels});
    auto step = std::make_unique<DepthwiseStep>(
        SiteTarget(program, y, std::move(gate), std::move(activation), layer));
    const SiteKernels& kernels = program.site_kernels();
    const int32_t unit = kernels.conv_outputs, stride = padded(channels, unit);
    const int32_t size = (taps + 1) / 2 * 2;
    step->weights.assign(int64_t(size) * stride, 0);
    for (auto* values : {&step->narrow_bias, &step->twice}) values->assign(stride, 0);
    for (auto* values : {&step->bias, &step->shift}) values->assign(stride, 0);
    for (const uint8_t is_narrow : narrow)
        step->sums.push_back(is_narrow ? DepthwiseSums::narrow : DepthwiseSums::wide);
    for (int32_t position = 0; position < stride; ++position) {
        const int32_t block = position / unit * unit, within = position % unit;
        DepthwiseSums& sums = step->sums[block / depthwise_block];
        const bool wide = sums == DepthwiseSums::wide;
        const int32_t c = block + (wide ? kernels.order(within, unit) : within);
        if (c >= channels) continue;
        if (wide) {
            step->bias[position] = bias[c];
            step->shift[position] = shift[c];
        } else {
            require(shift[c] == 0 || shift[c] == 1, "sums that round are at most doubled");
            step->narrow_bias[position] = int16_t(bias[c]);
            step->twice[position] = int16_t(-shift[c]);
            if (shift[c]) sums = DepthwiseSums::doubled;
        }
        int16_t* packed = step->weights.data() + int64_t(block) * size;
        for (int32_t t = 0; t < taps; ++t)
            packed[wide ? 2 * (t / 2 * unit + within) + t % 2 : t * unit + within] = weights[int64_t(t) * channels + c];
    }
    program.site_weights += int64_t(step->weights.size());
    step->x = x;
    step->scaled = scaled;
    step->reach = std::move(reach);
    step->row_at = std::move(row_at);
    step->column_at = std::move(column_at);
    step->tap = std::move(tap);
    step->site_macs = macs / (int64_t(out.rows) * out.width);
    step->find_window();
    step->target_.allow_straight(channels, 1);
    program.add_step(name, std::move(step));
}

}  // namespace mquans
