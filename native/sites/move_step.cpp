// Codes that are only moved: concatenations whose parts lie in place, and copies of sites and channels.
#include "sites/active.h"
#include "sites/marks.h"
#include "sites/steps.h"

namespace mquans {
namespace {

// Tensors that share memory: what moved in one moved in the other.
class JoinStep final : public Step {
public:
    JoinStep(std::vector<CodesId> parts, CodesId y) : parts_(std::move(parts)), y_(y) {}

    void run(Context& context) const override {
        const MaskView marks = context.codes_mask(y_);
        if (context.dense) return marks.fill();
        marks.clear();
        for (CodesId part : parts_) join_marks(context.codes_mask(part), marks);
    }

private:
    std::vector<CodesId> parts_;
    CodesId y_;
};

class MoveStep final : public Step {
public:
    MoveStep(CodesId x, CodesId y, AxisReach reach, MoveSpec spec)
        : x_(x), y_(y), reach_(std::move(reach)), spec_(std::move(spec)) {
        const std::vector<int32_t>& from = spec_.channel;
        if (from.empty()) return;
        step_ = from.size() > 1 ? from[1] - from[0] : 1;
        for (size_t c = 1; c < from.size(); ++c)
            if (step_ < 1 || from[c] - from[c - 1] != step_) step_ = 0;
    }

    void run(Context& context) const override {
        const MaskView marks = context.codes_mask(y_);
        if (!mark_reached(context, reach_, x_, marks)) return;
        const CodesView x = context.codes(x_), y = context.codes(y_);
        for_marked(context, marks, 8 + y.channels / 8, [&](int32_t row, int32_t begin, int32_t end) {
            const int32_t from_row = spec_.row.empty() ? row : spec_.row[row];
            for (int32_t i = begin; i < end; ++i) {
                const int32_t from = spec_.column.empty() ? i : spec_.column[i];
                if (from_row < 0 || from < 0)
                    std::copy(spec_.fill.begin(), spec_.fill.end(), y.site(row, i));
                else
                    take(context, x.site(from_row, from), y.site(row, i), y.channels);
            }
        });
    }

private:
    void take(Context& context, const int16_t* x, int16_t* y, int32_t channels) const {
        const std::vector<int32_t>& from = spec_.channel;
        if (from.empty() || step_ == 1) {
            std::memcpy(y, x + (from.empty() ? 0 : from[0]), sizeof(int16_t) * channels);
        } else if (step_) {
            context.sites.take_strided(x + from[0], step_, y, channels);
        } else {
            for (int32_t c = 0; c < channels; ++c) y[c] = x[from[c]];
        }
    }

    CodesId x_, y_;
    AxisReach reach_;
    MoveSpec spec_;
    int32_t step_ = 1;  // between the channels that are taken; 0: irregular
};

void require_indices(const std::vector<int32_t>& index, int32_t count, int32_t below, const std::string& what) {
    require(index.empty() || int32_t(index.size()) == count, what + ": wrong number of indices");
    for (int32_t i : index) require(i < below, what + ": no such index");
}

}  // namespace

void add_join_sites(Program& program, const std::string& name, const std::vector<CodesId>& parts, CodesId y) {
    const CodesSpec& out = program.code_tensors.at(y);
    require(!parts.empty(), "a concatenation needs parts");
    for (CodesId part : parts) {
        const CodesSpec& in = program.code_tensors.at(part);
        require(in.rows == out.rows && in.width == out.width, "sites of parts differ");
    }
    program.add_step(name, std::make_unique<JoinStep>(parts, y));
}

void add_move_sites(Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach, MoveSpec spec) {
    const CodesSpec &in = program.code_tensors.at(x), &out = program.code_tensors.at(y);
    reach.settle(in.rows, in.width, out.rows, out.width);
    require_indices(spec.row, out.rows, in.rows, "rows");
    require_indices(spec.column, out.width, in.width, "columns");
    require_indices(spec.channel, out.channels, in.channels, "channels");
    for (int32_t c : spec.channel) require(c >= 0, "channels: no such index");
    require(!spec.channel.empty() || in.channels == out.channels, "channels differ");
    require(int32_t(spec.fill.size()) == out.channels, "a code for every channel is needed");
    program.add_step(name, std::make_unique<MoveStep>(x, y, std::move(reach), std::move(spec)));
}

}  // namespace mquans
