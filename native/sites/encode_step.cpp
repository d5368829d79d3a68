// Where floats become codes: graph inputs, and what float operators made.
#include <atomic>

#include "program/port.h"
#include "sites/active.h"
#include "sites/marks.h"
#include "sites/steps.h"

namespace mquans {
namespace {

// Sites one after the other, or those of one channel all at once.
class Encoder {
public:
    explicit Encoder(EncodeSpec spec) : spec_(std::move(spec)), channels_(int32_t(spec_.inverse.size())) {
        if (channels_ == 1) spec_.inverse.resize(listed_sites, spec_.inverse[0]);
    }

    // At most listed_sites of them: value(i) is where the floats of one lie, code(i) where its codes go.
    template <class Value, class Code>
    void operator()(const Context& context, int32_t sites, Value&& value, Code&& code) const {
        const float* inverse = spec_.inverse.data();
        if (channels_ > 1) {
            for (int32_t i = 0; i < sites; ++i)
                context.sites.encode(value(i), inverse, spec_.least, spec_.largest, code(i), channels_);
            return;
        }
        float values[listed_sites] = {};
        int16_t codes[listed_sites];
        for (int32_t i = 0; i < sites; ++i) values[i] = *value(i);
        context.sites.encode(values, inverse, spec_.least, spec_.largest, codes, sites);
        for (int32_t i = 0; i < sites; ++i) *code(i) = codes[i];
    }

private:
    EncodeSpec spec_;
    int32_t channels_;
};

class EncodeStep : public Step {
public:
    EncodeStep(TensorId x, EncodeSpec encode, SiteTarget target)
        : x_(x), encode_(std::move(encode)), target_(std::move(target)) {}

    void run(Context& context) const override {
        const MaskView marks = context.codes_mask(target_.y);
        mark_same(context, context.mask(x_), marks);
        if (!marks.any()) return;
        const TensorView x = context.tensor(x_);
        const CodesView y = context.codes(target_.y);
        if (!target_.gated(context)) {
            for_marked(context, marks, 2 * int64_t(x.channels), [&](int32_t row, int32_t begin, int32_t end) {
                encode_(context, end - begin, [&](int32_t i) { return x.pixel(row, begin + i); },
                        [&](int32_t i) { return y.site(row, begin + i); });
            });
            return;
        }
        compute_marked(context, target_, marks, nullptr, nullptr, x.channels, [&](const SiteList& list, int16_t* fresh) {
            for (int32_t i = 0; i < list.count; ++i) list.held().prefetch(i, 0);
            encode_(context, list.count, [&](int32_t i) { return x.pixel(list.row[i], list.x[i]); },
                    [&](int32_t i) { return fresh + int64_t(i) * target_.fresh_stride; });
        });
    }

    SiteTarget* target() override { return &target_; }

private:
    TensorId x_;
    Encoder encode_;
    SiteTarget target_;
};

// Any order of the axes: a row is laid out as sites first.
class InputStep final : public Step {
public:
    InputStep(const Program& program, int32_t input, EncodeSpec encode, SiteTarget target)
        : program_(program), input_(input), encode_(std::move(encode)), target_(std::move(target)) {}

    void run(Context& context) const override {
        const MaskView marks = context.codes_mask(target_.y);
        marks.fill();
        // The caller's array is gone when a frame is recomputed.
        if (context.keep_held) return;
        const CodesView y = context.codes(target_.y);
        const Port& port = program_.inputs[input_];
        const float* values = context.stream.frame_input(input_).values;
        compute_marked(context, target_, marks, nullptr, nullptr, 4 * int64_t(y.channels),
                       [&](const SiteList& list, int16_t* fresh) {
                           const auto code = [&](int32_t i) { return fresh + int64_t(i) * target_.fresh_stride; };
                           if (y.channels == 1 || port.c_step == 1) {
                               encode_(context, list.count, [&](int32_t i) {
                                   return values + port.row_offset[list.row[i]] + int64_t(list.x[i]) * port.x_step;
                               }, code);
                               return;
                           }
                           thread_local std::vector<float> row;
                           row.resize(int64_t(y.width) * y.channels);
                           for (int32_t i = 0, n; i < list.count; i += n) {
                               for (n = 1; i + n < list.count && list.row[i + n] == list.row[i];) ++n;
                               lay_out(port, values, list.row[i], y.width, y.channels, row.data());
                               encode_(context, n,
                                       [&](int32_t k) { return row.data() + int64_t(list.x[i + k]) * y.channels; },
                                       [&](int32_t k) { return code(i + k); });
                           }
                       });
    }

    SiteTarget* target() override { return &target_; }

private:
    const Program& program_;
    int32_t input_;
    Encoder encode_;
    SiteTarget target_;
};

class PlanesStep final : public Step, public InputCompare {
public:
    PlanesStep(const Program& program, int32_t input, EncodeSpec encode, AffineSpec pixels, AffineSpec values,
               SiteTarget target, GateSpec motion, int64_t planes, int32_t pitch)
        : program_(program),
          input_(input),
          encode_(std::move(encode)),
          pixels_(std::move(pixels)),
          values_(std::move(values)),
          target_(std::move(target)),
          motion_(std::move(motion)),
          planes_(planes),
          pitch_(pitch) {}

    void run(Context& context) const override {
        const MaskView marks = context.codes_mask(target_.y);
        const CodesView y = context.codes(target_.y);
        // The caller's array is gone when a frame is recomputed; a restored stream has no planes yet.
        if (context.keep_held) {
            for (int32_t row = 0; row < y.rows; ++row)
                for (int32_t c = 0; c < y.channels; ++c) {
                    int16_t* plane = plane_of(context, y, row, c);
                    for (int32_t x = 0; x < y.width; ++x) plane[x] = y.site(row, x)[c];
                }
            return marks.fill();
        }
        context.pool.for_rows(y.rows, 1 + 8192 / y.width, [&](int32_t begin, int32_t end) {
            for (int32_t row = begin; row < end; ++row)
                if (marks.row_any(row)) context.sites.input_take(args_of(context, y, row, 1));
        });
    }

    bool compare(Context& context) const override { return mark(context, target_.gate); }
    bool compare_motion(Context& context) const override { return mark(context, motion_); }
    MaskView marks(Context& context) const override { return context.codes_mask(target_.y); }
    SiteTarget* target() override { return &target_; }

private:
    bool mark(Context& context, const GateSpec& gate) const {
        const CodesView y = context.codes(target_.y);
        const MaskView marks = context.codes_mask(target_.y);
        std::atomic<bool> finite{true};
        context.pool.for_rows((y.rows + 1) / 2, 1 + 4096 / y.width, [&](int32_t begin, int32_t end) {
            for (int32_t row = 2 * begin; row < std::min(2 * end, y.rows); row += 2) {
                const int32_t rows = std::min(2, y.rows - row);
                InputRowArgs args = args_of(context, y, row, rows);
                args.weight = context.keyframe() || gate.weight.empty() ? nullptr : gate.weight.data();
                args.largest = gate.largest;
                args.limit = gate.limit;
                if (!context.sites.input_compare(args)) finite = false;
                if (rows == 2) copy_row(marks, row, marks, row + 1);
            }
        });
        return finite;
    }

    InputRowArgs args_of(Context& context, const CodesView& y, int32_t row, int32_t rows) const {
        const Port& port = program_.inputs[input_];
        const FrameInput& given = context.stream.frame_input(input_);
        InputRowArgs args{};
        args.width = y.width;
        args.channels = y.channels;
        args.rows = rows;
        const int32_t next = std::min(row + rows, y.rows - 1);
        args.next_plane = plane_of(context, y, next, 0) - plane_of(context, y, row, 0);
        const bool planes = port.x_step == 1;
        if (planes) args.next_x = port.row_offset[next] - port.row_offset[row];
        const FrameInput from = planes ? given : split(context, given, y, row, rows);
        args.pixels = from.pixels;
        args.factor = pixels_.factor.data();
        args.offset = pixels_.offset.data();
        args.scale = values_.factor.empty() ? nullptr : values_.factor.data();
        args.shift = values_.offset.data();
        args.inverse = encode_.inverse.data();
        args.least_code = encode_.least;
        args.largest_code = encode_.largest;
        args.site = y.site(row, 0);
        args.stride = y.stride;
        args.taken = context.codes_mask(target_.y).row(row);
        for (int32_t p = 0; p < rows * y.channels; ++p) {
            const int32_t r = row + p / y.channels, c = p % y.channels;
            const int64_t at = planes ? port.row_offset[r] + c * port.c_step : int64_t(p) * pitch_;
            if (from.pixels)
                args.pixel[p] = from.pixels + at;
            else
                args.x[p] = from.values + at;
            args.plane[p] = plane_of(context, y, r, c);
        }
        return args;
    }

    // Rows whose channels lie side by side, as planes that follow each other, in lines of this thread.
    FrameInput split(Context& context, const FrameInput& given, const CodesView& y, int32_t row, int32_t rows) const {
        thread_local std::vector<float> lines;
        lines.resize(std::max(lines.size(), size_t(8 * int64_t(pitch_))));
        float* const values = lines.data();
        uint8_t* const bytes = reinterpret_cast<uint8_t*>(values);
        for (int32_t r = 0; r < rows; ++r) {
            const int64_t from = program_.inputs[input_].row_offset[row + r], to = int64_t(r) * y.channels * pitch_;
            if (given.pixels)
                context.sites.split_bytes(given.pixels + from, y.width, y.channels, bytes + to, pitch_);
            else
                context.sites.split_floats(given.values + from, y.width, y.channels, values + to, pitch_);
        }
        return given.pixels ? FrameInput{nullptr, bytes} : FrameInput{values, nullptr};
    }

    int16_t* plane_of(Context& context, const CodesView& y, int32_t row, int32_t c) const {
        return context.stream.codes_data() + planes_ + (int64_t(row) * y.channels + c) * pitch_;
    }

    const Program& program_;
    int32_t input_;
    EncodeSpec encode_;
    AffineSpec pixels_, values_;
    SiteTarget target_;
    GateSpec motion_;
    int64_t planes_;
    int32_t pitch_;
};

void check_scales(const Program& program, CodesId y, const EncodeSpec& encode) {
    require(int32_t(encode.inverse.size()) == program.code_tensors.at(y).channels, "one scale per channel is needed");
    require(encode.least <= encode.largest, "bounds of codes cross");
}

SiteTarget input_target(Program& program, int32_t input, CodesId y, const EncodeSpec& encode, GateSpec gate) {
    check_scales(program, y, encode);
    SiteTarget target(program, y, std::move(gate));
    const CodesSpec& out = program.code_tensors.at(y);
    const Port& port = program.inputs.at(input);
    require(int32_t(port.row_offset.size()) == out.rows && port.size == int64_t(out.rows) * out.width * out.channels,
            "input and codes differ in size");
    return target;
}

class DecodeStep final : public Step {
public:
    DecodeStep(CodesId x, TensorId y, std::vector<float> unit) : x_(x), y_(y), unit_(std::move(unit)) {
        unit_.resize(padded<size_t>(unit_.size(), decoded_together));
    }

    void run(Context& context) const override {
        const MaskView marks = context.mask(y_);
        mark_same(context, context.codes_mask(x_), marks);
        const CodesView x = context.codes(x_);
        const TensorView y = context.tensor(y_);
        for_marked(context, marks, 2 * int64_t(y.channels), [&](int32_t row, int32_t begin, int32_t end) {
            context.sites.decode({x.site(row, begin), x.stride, unit_.data(), y.pixel(row, begin), y.stride,
                                  end - begin, y.channels});
        });
    }

private:
    CodesId x_;
    TensorId y_;
    std::vector<float> unit_;
};

}  // namespace

void add_input_sites(Program& program, const std::string& name, int32_t input, CodesId y, EncodeSpec encode,
                     GateSpec gate) {
    SiteTarget target = input_target(program, input, y, encode, std::move(gate));
    program.add_step(name, std::make_unique<InputStep>(program, input, std::move(encode), std::move(target)));
}

void add_picture_sites(Program& program, const std::string& name, int32_t input, CodesId y, EncodeSpec encode,
                       AffineSpec pixels, AffineSpec values, GateSpec gate, GateSpec motion) {
    SiteTarget target = input_target(program, input, y, encode, std::move(gate));
    const CodesSpec& out = program.code_tensors.at(y);
    const Port& port = program.inputs[input];
    const bool split = port.c_step == 1 && port.x_step == out.channels;
    require((port.x_step == 1 || split) && out.channels <= 4 && out.stride <= 4, "no pixels of a picture");
    for (const std::vector<float>* one : {&pixels.factor, &pixels.offset, &values.factor, &values.offset})
        require(one->empty() || int32_t(one->size()) == out.channels, "one factor and offset per channel are needed");
    require(values.factor.size() == values.offset.size(), "a factor needs an offset");
    program.inputs[input].takes_pixels = !pixels.factor.empty() && !pixels.offset.empty();
    const int32_t pitch = padded(out.width, 32);
    const int64_t first = program.codes_size;
    program.codes_size += int64_t(out.rows) * out.channels * pitch;
    auto step = std::make_unique<PlanesStep>(program, input, std::move(encode), std::move(pixels), std::move(values),
                                             std::move(target), std::move(motion), first, pitch);
    program.compares.resize(program.inputs.size());
    program.compares[input] = step.get();
    program.add_step(name, std::move(step));
}

void add_encode_sites(Program& program, const std::string& name, TensorId x, CodesId y, EncodeSpec encode,
                      GateSpec gate) {
    const CodesSpec& out = program.code_tensors.at(y);
    const TensorSpec& in = program.tensors.at(x);
    require(in.rows == out.rows && in.width == out.width && in.channels == out.channels, "sites differ");
    check_scales(program, y, encode);
    SiteTarget target(program, y, std::move(gate));
    program.add_step(name, std::make_unique<EncodeStep>(x, std::move(encode), std::move(target)));
}

void add_decode_sites(Program& program, const std::string& name, CodesId x, TensorId y, std::vector<float> unit) {
    const CodesSpec& in = program.code_tensors.at(x);
    const TensorSpec& out = program.tensors.at(y);
    require(in.rows == out.rows && in.width == out.width && in.channels == out.channels &&
                int32_t(unit.size()) == in.channels,
            "sites differ");
    program.add_step(name, std::make_unique<DecodeStep>(x, y, std::move(unit)));
}

}  // namespace mquans
