// Pools, means and linear resizing: every output site is made of a grid of input sites.
#include "sites/active.h"
#include "sites/marks.h"
#include "sites/steps.h"

namespace mquans {
namespace {

constexpr int32_t unit = 32;

class WindowStep final : public Step {
public:
    WindowStep(CodesId x, AxisReach reach, WindowSpec spec, SiteTarget target)
        : x_(x), reach_(std::move(reach)), spec_(std::move(spec)), target_(std::move(target)) {}

    void run(Context& context) const override {
        const MaskView marks = context.codes_mask(target_.y);
        if (!mark_reached(context, reach_, x_, marks)) return;
        const CodesView x = context.codes(x_);
        const bool weighted = !spec_.rows.weight.empty();
        const int64_t taps = int64_t(spec_.rows.taps) * spec_.columns.taps;
        compute_marked(context, target_, marks, nullptr, nullptr, taps * x.channels / unit + 16,
                       [&](const SiteList& list, int16_t* fresh) {
                           thread_local std::vector<int64_t> at;
                           thread_local std::vector<int32_t> weight;
                           for (int32_t i = 0; i < list.count; ++i) {
                               find(x, list.row[i], list.x[i], at, weight);
                               const float scale = spec_.rows.scale[list.row[i]] * spec_.columns.scale[list.x[i]];
                               const SiteWindowArgs args{x.data, at.data(), weighted ? weight.data() : nullptr,
                                                     int32_t(at.size()), x.channels, spec_.factor.data(), scale,
                                                     spec_.limit, fresh + int64_t(i) * target_.fresh_stride};
                               spec_.largest ? context.sites.window_largest(args) : context.sites.window_sum(args);
                           }
                       });
    }

    SiteTarget* target() override { return &target_; }

private:
    // The taps of one site; factors of rows and columns are multiplied and rounded to 1/2**15.
    void find(const CodesView& x, int32_t row, int32_t column, std::vector<int64_t>& at,
              std::vector<int32_t>& weight) const {
        const WindowAxis &rows = spec_.rows, &columns = spec_.columns;
        at.clear();
        weight.clear();
        for (int32_t k = row * rows.taps; k < (row + 1) * rows.taps; ++k) {
            if (rows.grid[k] < 0) continue;
            const int64_t line = x.row_at[rows.grid[k]];
            for (int32_t l = column * columns.taps; l < (column + 1) * columns.taps; ++l) {
                if (columns.grid[l] < 0) continue;
                at.push_back(line + int64_t(columns.grid[l]) * x.stride);
                if (!rows.weight.empty()) weight.push_back((rows.weight[k] * columns.weight[l] + 0x4000) >> 15);
            }
        }
    }

    CodesId x_;
    AxisReach reach_;
    WindowSpec spec_;
    SiteTarget target_;
};

void require_axis(const WindowAxis& axis, int32_t outputs, int32_t inputs, bool weighted) {
    require(axis.taps >= 1 && int64_t(axis.grid.size()) == int64_t(outputs) * axis.taps &&
                int32_t(axis.scale.size()) == outputs && axis.weight.size() == (weighted ? axis.grid.size() : 0),
            "windows do not fit their output");
    for (int32_t o = 0; o < outputs; ++o) {
        bool any = false;
        for (int32_t t = 0; t < axis.taps; ++t) {
            const int32_t at = axis.grid[int64_t(o) * axis.taps + t];
            require(at < inputs, "a window reads no such site");
            any = any || at >= 0;
        }
        require(any, "a window reads nothing");
    }
    for (int32_t w : axis.weight) require(w >= -32768 && w <= 32768, "weights of windows are at most 1");
}

}  // namespace

void add_window_sites(Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach,
                      WindowSpec spec, GateSpec gate) {
    const CodesSpec &in = program.code_tensors.at(x), &out = program.code_tensors.at(y);
    reach.settle(in.rows, in.width, out.rows, out.width);
    require(in.channels == out.channels && int32_t(spec.factor.size()) == out.channels, "channels differ");
    const bool weighted = !spec.rows.weight.empty();
    require_axis(spec.rows, out.rows, in.rows, weighted);
    require_axis(spec.columns, out.width, in.width, weighted);
    // Sums of sixteen-bit codes stay within 32 bits.
    require(weighted || spec.largest || int64_t(spec.rows.taps) * spec.columns.taps < 65536, "a window is too large");
    SiteTarget target(program, y, std::move(gate));
    spec.factor.resize(target.fresh_stride + 32);
    program.add_step(name, std::make_unique<WindowStep>(x, std::move(reach), std::move(spec), std::move(target)));
}

}  // namespace mquans
