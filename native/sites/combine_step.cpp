// Sums, products and functions of sites, one or two operands; one of them may be a constant, a single site
// for all, or a single channel for all.
#include "sites/active.h"
#include "sites/marks.h"
#include "sites/steps.h"

namespace mquans {
namespace {

constexpr int32_t unit = 32;

class CombineStep final : public Step {
public:
    CombineStep(CombineSpec spec, SiteTarget target) : spec_(std::move(spec)), target_(std::move(target)) {}

    void run(Context& context) const override {
        const MaskView marks = context.codes_mask(target_.y);
        if (!mark(context, marks)) return;
        const int32_t size = listed_sites * target_.fresh_stride;
        compute_marked(context, target_, marks, nullptr, nullptr, target_.fresh_stride / 4 + 16,
                       [&](const SiteList& list, int16_t* fresh) {
                           int64_t at[2][listed_sites];
                           CombineArgs args{spec_.kind, list.count, {}, {}, spec_.start.data(), spec_.shift.data(),
                                            spec_.factors, context.codes(target_.y).channels, fresh, target_.fresh_stride,
                                            list.held()};
                           args.a = find(context, spec_.a, list, at[0], fresh + size);
                           if (spec_.kind != CombineKind::align)
                               args.b = find(context, spec_.b, list, at[1], fresh + 2 * size);
                           context.sites.combine(args);
                       });
    }

    SiteTarget* target() override { return &target_; }

private:
    bool mark(Context& context, MaskView marks) const {
        if (context.dense) {
            marks.fill();
            return true;
        }
        marks.clear();
        for (const CombineOperand* operand : {&spec_.a, &spec_.b}) {
            if (operand->x < 0) continue;
            const MaskView moved = context.codes_mask(operand->x);
            if (!operand->one_site)
                join_marks(moved, marks);
            else if (moved.any())
                marks.fill();
        }
        return marks.any();
    }

    // scratch: for the sites of an operand of one channel, which is repeated.
    OperandArgs find(Context& context, const CombineOperand& operand, const SiteList& list, int64_t* at,
                     int16_t* scratch) const {
        OperandArgs args{operand.constant.data(), at, operand.limit.data(), operand.left.data(), operand.right.data()};
        if (operand.x < 0) {
            std::fill_n(at, list.count, 0);
            return args;
        }
        const CodesView x = context.codes(operand.x);
        args.x = x.data;
        for (int32_t i = 0; i < list.count; ++i)
            at[i] = operand.one_site ? x.row_at[0] : x.row_at[list.row[i]] + int64_t(list.x[i]) * x.stride;
        if (!operand.one_channel) return args;
        for (int32_t i = 0; i < list.count; ++i) {
            std::fill_n(scratch + int64_t(i) * target_.fresh_stride, target_.fresh_stride, x.data[at[i]]);
            at[i] = int64_t(i) * target_.fresh_stride;
        }
        args.x = scratch;
        return args;
    }

    CombineSpec spec_;
    SiteTarget target_;
};

void settle(const Program& program, CombineOperand& operand, const CodesSpec& out, int32_t padded) {
    if (operand.x >= 0) {
        const CodesSpec& in = program.code_tensors.at(operand.x);
        operand.one_site = in.rows == 1 && in.width == 1 && (out.rows != 1 || out.width != 1);
        operand.one_channel = in.channels == 1 && out.channels != 1;
        require(operand.one_site || (in.rows == out.rows && in.width == out.width), "sites of operands differ");
        require(operand.one_channel || in.channels == out.channels, "channels of operands differ");
    } else {
        require(int32_t(operand.constant.size()) == out.channels, "a constant has one code per channel");
        operand.constant.resize(padded);
    }
    for (std::vector<int16_t>* values : {&operand.limit, &operand.left, &operand.right}) {
        require(int32_t(values->size()) == out.channels, "operands are aligned channel by channel");
        values->resize(padded);
    }
    for (int16_t limit : operand.limit) require(limit >= 0, "limits are not negative");
}

}  // namespace

void add_combine_sites(Program& program, const std::string& name, CodesId y, CombineSpec spec,
                       ActivationSpec activation, GateSpec gate) {
    const CodesSpec& out = program.code_tensors.at(y);
    const SiteKernels& kernels = program.site_kernels();
    const int32_t padded = mquans::padded(out.channels, unit);
    require(spec.a.x >= 0, "the first operand is computed");
    require(spec.kind != CombineKind::align || spec.b.x < 0, "a function has one operand");
    settle(program, spec.a, out, padded);
    if (spec.kind != CombineKind::align) settle(program, spec.b, out, padded);
    if (spec.kind == CombineKind::product) {
        require(int32_t(spec.start.size()) == out.channels && int32_t(spec.shift.size()) == out.channels,
                "products are shifted channel by channel");
        std::vector<int32_t> start(padded), shift(padded);
        for (int32_t position = 0; position < padded; ++position) {
            const int32_t block = kernels.conv_outputs;
            const int32_t c = position / block * block + kernels.order(position % block, block);
            if (c >= out.channels) continue;
            require(spec.shift[c] >= 0 && spec.shift[c] < 32, "no such shift");
            require(std::abs(int64_t(spec.start[c])) <= (1 << 30), "a product's start may overflow");
            start[position] = spec.start[c];
            shift[position] = spec.shift[c];
        }
        spec.start = std::move(start);
        spec.shift = std::move(shift);
    }
    require(spec.factors.places >= 0 && spec.factors.places < 31, "no such shift");
    SiteTarget target(program, y, std::move(gate), std::move(activation));
    target.allow_straight(out.channels, 1);
    program.need_codes_scratch(3 * int64_t(listed_sites) * padded + 128);
    program.add_step(name, std::make_unique<CombineStep>(std::move(spec), std::move(target)));
}

}  // namespace mquans
