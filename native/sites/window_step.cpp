// Pools, means and linear resizing: every output site is made of a grid of input sites.
#include "sites/active.h"
#include "sites/marks.h"
#include "sites/steps.h"

namespace mquans {
namespace {

constexpr int32_t unit = 32;

// Of the inputs along one axis, where they lie.
struct Taps {
    std::vector<int32_t> at, weight;
    std::vector<float> scale;
    int32_t taps;

    template <class Place>
    Taps(WindowAxis axis, Place&& place) : scale(std::move(axis.scale)), taps(axis.taps) {
        at.resize(axis.grid.size());
        weight = std::move(axis.weight);
        if (weight.empty()) weight.assign(at.size(), 1);
        for (size_t first = 0; first < at.size(); first += taps) {
            const auto begin = axis.grid.begin() + int64_t(first);
            const int32_t any = *std::find_if(begin, begin + taps, [](int32_t input) { return input >= 0; });
            for (int32_t t = 0; t < taps; ++t) {
                at[first + t] = place(begin[t] >= 0 ? begin[t] : any);
                if (begin[t] < 0) weight[first + t] = 0;
            }
        }
    }

    WindowTaps args() const { return {taps, at.data(), weight.data(), scale.data()}; }
};

class WindowStep final : public Step {
public:
    WindowStep(CodesId x, AxisReach reach, bool largest, bool weighted, Taps rows, Taps columns,
               std::vector<float> factor, int16_t limit, SiteTarget target)
        : x_(x),
          reach_(std::move(reach)),
          largest_(largest),
          weighted_(weighted),
          rows_(std::move(rows)),
          columns_(std::move(columns)),
          factor_(std::move(factor)),
          limit_(limit),
          target_(std::move(target)) {}

    void run(Context& context) const override {
        const MaskView marks = context.codes_mask(target_.y);
        if (!mark_reached(context, reach_, x_, marks)) return;
        const CodesView x = context.codes(x_);
        const int64_t cost = int64_t(rows_.taps) * columns_.taps * x.channels / unit + 16;
        compute_marked(context, target_, marks, nullptr, nullptr, cost, [&](const SiteList& list, int16_t* fresh) {
            const SiteWindowArgs args{x.data,          list.count, x.channels,     list.row, list.x, rows_.args(),
                                      columns_.args(), weighted_,  factor_.data(), limit_,   fresh,  target_.fresh_stride, list.held()};
            largest_ ? context.sites.window_largest(args) : context.sites.window_sum(args);
        });
    }

    SiteTarget* target() override { return &target_; }

private:
    CodesId x_;
    AxisReach reach_;
    bool largest_, weighted_;
    Taps rows_, columns_;
    std::vector<float> factor_;
    int16_t limit_;
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
    ActivationSpec bounds;
    if (spec.largest) {
        bounds.low.assign(out.channels, int16_t(-spec.limit));
        bounds.high.assign(out.channels, spec.limit);
    }
    SiteTarget target(program, y, std::move(gate), std::move(bounds));
    target.allow_straight(out.channels, 8);
    spec.factor.resize(target.fresh_stride + unit);
    // Where the tensor lies is known from here on.
    Taps rows(std::move(spec.rows), [&](int32_t row) { return int32_t(in.row_at[row]); });
    Taps columns(std::move(spec.columns), [&](int32_t site) { return site * in.stride; });
    program.add_step(name, std::make_unique<WindowStep>(x, std::move(reach), spec.largest, weighted, std::move(rows),
                                                        std::move(columns), std::move(spec.factor), spec.limit,
                                                        std::move(target)));
}

}  // namespace mquans
