// Pools, means and linear resizing: every output site is made of a grid of input sites.
#include "sites/active.h"
#include "sites/marks.h"
#include "sites/steps.h"

namespace mquans {
namespace {

constexpr int32_t unit = 32;
constexpr int32_t most_taps = 4096;  // of the windows that are made out together

class WindowStep final : public Step {
public:
    WindowStep(CodesId x, AxisReach reach, WindowSpec spec, SiteTarget target)
        : x_(x),
          reach_(std::move(reach)),
          spec_(std::move(spec)),
          target_(std::move(target)),
          weighted_(!spec_.rows.weight.empty()),
          taps_(spec_.rows.taps * spec_.columns.taps),
          batch_(std::clamp(most_taps / taps_, 1, listed_sites)) {}

    void run(Context& context) const override {
        const MaskView marks = context.codes_mask(target_.y);
        if (!mark_reached(context, reach_, x_, marks)) return;
        const CodesView x = context.codes(x_);
        compute_marked(context, target_, marks, nullptr, nullptr, int64_t(taps_) * x.channels / unit + 16,
                       [&](const SiteList& list, int16_t* fresh) {
                           thread_local Windows room;
                           Windows& windows = room;
                           windows.resize(batch_, taps_);
                           for (int32_t first = 0; first < list.count; first += batch_) {
                               const int32_t sites = std::min(batch_, list.count - first);
                               for (int32_t i = 0; i < sites; ++i)
                                   find(x, list.row[first + i], list.x[first + i], windows, i);
                               const SiteWindowArgs args{x.data, sites, taps_, x.channels, windows.at.data(),
                                                         windows.count.data(),
                                                         weighted_ ? windows.weight.data() : nullptr,
                                                         spec_.factor.data(), windows.scale.data(), spec_.limit,
                                                         fresh + int64_t(first) * target_.fresh_stride,
                                                         target_.fresh_stride};
                               spec_.largest ? context.sites.window_largest(args) : context.sites.window_sum(args);
                           }
                       });
    }

    SiteTarget* target() override { return &target_; }

private:
    // Of the sites at hand, as SiteWindowArgs has them.
    struct Windows {
        std::vector<int64_t> at;
        std::vector<int32_t> count, weight;
        std::vector<float> scale;
        void resize(int32_t sites, int32_t taps) {
            at.resize(std::max(at.size(), size_t(sites) * taps));
            weight.resize(at.size());
            count.resize(std::max(count.size(), size_t(sites)));
            scale.resize(count.size());
        }
    };

    // The taps of one site; factors of rows and columns are multiplied and rounded to 1/2**15.
    void find(const CodesView& x, int32_t row, int32_t column, Windows& windows, int32_t site) const {
        const WindowAxis &rows = spec_.rows, &columns = spec_.columns;
        int64_t* const first = windows.at.data() + int64_t(site) * taps_;
        int64_t* at = first;
        int32_t* weight = windows.weight.data() + int64_t(site) * taps_;
        for (int32_t k = row * rows.taps; k < (row + 1) * rows.taps; ++k) {
            if (rows.grid[k] < 0) continue;
            const int64_t line = x.row_at[rows.grid[k]];
            for (int32_t l = column * columns.taps; l < (column + 1) * columns.taps; ++l) {
                if (columns.grid[l] < 0) continue;
                *at++ = line + int64_t(columns.grid[l]) * x.stride;
                if (weighted_) *weight++ = (rows.weight[k] * columns.weight[l] + 0x4000) >> 15;
            }
        }
        windows.count[site] = int32_t(at - first);
        windows.scale[site] = rows.scale[row] * columns.scale[column];
    }

    CodesId x_;
    AxisReach reach_;
    WindowSpec spec_;
    SiteTarget target_;
    bool weighted_;
    int32_t taps_;   // of a window
    int32_t batch_;  // windows at once
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
