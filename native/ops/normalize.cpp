// Softmax and layer normalisation: values that are normalised together are computed together.
#include "ops/common.h"

namespace mquans {
namespace {

constexpr int32_t most_grouped = PixelNormArgs::most_channels, few_grouped = 16;

// Over the channels of every pixel.
class ChannelSoftmaxStep final : public Step {
public:
    ChannelSoftmaxStep(TensorId x, bool log, bool nan_is_zero, TensorId y)
        : x_(x), y_(y), log_(log), nan_is_zero_(nan_is_zero) {}

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        if (context.dense) {
            marks.fill();
        } else {
            std::memcpy(marks.bits, moved.bits, sizeof(uint64_t) * moved.rows * moved.words());
        }
        for_marked(context, marks, 8 * int64_t(y.channels), [&](int32_t row, int32_t begin, int32_t end) {
            if (y.channels < SoftmaxArgs::many_channels)
                return context.kernels.ops->softmax_few({x.pixel(row, begin), y.pixel(row, begin), x.stride, y.stride,
                                                         end - begin, y.channels, nullptr, log_, nan_is_zero_});
            thread_local std::vector<float> scratch;
            scratch.resize(2 * y.channels);
            for (int32_t i = begin; i < end; ++i)
                context.kernels.ops->softmax_values(
                    {x.pixel(row, i), y.pixel(row, i), 0, 0, 1, y.channels, scratch.data(), log_,
                     nan_is_zero_});
        });
    }

private:
    TensorId x_, y_;
    bool log_, nan_is_zero_;
};

// Over an outer axis: a line is the pixels that differ only in that axis; channels go side by side.
class PixelSoftmaxStep final : public Step {
public:
    PixelSoftmaxStep(TensorId x, int32_t length, int32_t inner, bool log, bool nan_is_zero, TensorId y)
        : x_(x), y_(y), length_(length), inner_(inner), log_(log), nan_is_zero_(nan_is_zero) {}

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        marks.clear();
        if (!context.dense && !moved.any()) return;
        const int32_t lines = int32_t(x.pixels() / length_);
        thread_local std::vector<uint8_t> flags;
        flag_groups(flags, lines, moved, context.dense, [&](int64_t pixel) {
            return pixel / (int64_t(length_) * inner_) * inner_ + pixel % inner_;
        });
        const uint8_t* dirty = flags.data();
        const int64_t cost = 16 * int64_t(length_) * x.channels;
        context.pool.for_rows(lines, grain_for(cost), [&](int32_t begin, int32_t end) {
            thread_local std::vector<float> scratch;
            scratch.resize(2 * std::max(x.channels, length_));
            for (int32_t line = begin; line < end; ++line)
                if (dirty[line])
                    context.kernels.ops->softmax_pixels(
                        {x.pixel(first(line)), y.pixel(first(line)), int64_t(inner_) * x.stride,
                         int64_t(inner_) * y.stride, length_, x.channels, scratch.data(), log_, nan_is_zero_});
        });
        for (int32_t line = 0; line < lines; ++line)
            for (int32_t k = 0; dirty[line] && k < length_; ++k) {
                const int64_t pixel = first(line) + int64_t(k) * inner_;
                marks.set(int32_t(pixel / marks.width), int32_t(pixel % marks.width));
            }
    }

private:
    int64_t first(int32_t line) const {
        return int64_t(line / inner_) * length_ * inner_ + line % inner_;
    }

    TensorId x_, y_;
    int32_t length_, inner_;  // pixels of a line, and between its pixels
    bool log_, nan_is_zero_;
};

class LayerNormStep final : public Step {
public:
    LayerNormStep(TensorId x, int32_t together, float epsilon, std::vector<float> scale,
                  std::vector<float> bias, TensorId y)
        : x_(x),
          y_(y),
          together_(together),
          epsilon_(epsilon),
          scale_(std::move(scale)),
          bias_(std::move(bias)) {}

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        if (context.dense) {
            marks.fill();
        } else {
            marks.clear();
            if (!moved.any()) return;
            mark_groups(moved, marks);
        }
        const int32_t groups = int32_t(x.pixels() / together_);
        const int64_t cost = 4 * int64_t(together_) * x.channels;
        context.pool.for_rows(groups, grain_for(cost), [&](int32_t begin, int32_t end) {
            for (int32_t group = begin; group < end; ++group) {
                const int64_t pixel = int64_t(group) * together_;
                if (!marks.get(int32_t(pixel / marks.width), int32_t(pixel % marks.width))) continue;
                context.kernels.ops->layer_norm({x.pixel(pixel), y.pixel(pixel), x.stride, y.stride,
                                                 together_, x.channels, scale_.data(), bias_.data(),
                                                 epsilon_});
            }
        });
    }

private:
    void mark_groups(MaskView moved, MaskView marks) const {
        if (together_ == 1) {
            std::memcpy(marks.bits, moved.bits, sizeof(uint64_t) * moved.rows * moved.words());
            return;
        }
        int64_t marked = 0;  // pixels before this one are done
        for (int32_t row = 0; row < moved.rows; ++row)
            for_each_pixel(moved.row(row), moved.words(), [&](int32_t i) {
                const int64_t pixel = int64_t(row) * moved.width + i;
                if (pixel < marked) return;
                const int64_t group = pixel / together_ * together_;
                marked = group + together_;
                mark_pixels(marks, group, marked);
            });
    }

    TensorId x_, y_;
    int32_t together_;  // pixels
    float epsilon_;
    std::vector<float> scale_, bias_;
};

// Some channels of an image at a time, over the image's pixels.
class PixelNormStep final : public Step {
public:
    PixelNormStep(TensorId x, int32_t together, int32_t group, float epsilon, TensorId y)
        : x_(x), y_(y), together_(together), group_(group), epsilon_(epsilon) {}

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        const int32_t images = int32_t(x.pixels() / together_);
        thread_local std::vector<uint8_t> flags;
        flag_groups(flags, images, moved, context.dense, [&](int64_t pixel) { return pixel / together_; });
        const uint8_t* dirty = flags.data();
        marks.clear();
        for (int32_t image = 0; image < images; ++image)
            if (dirty[image]) mark_pixels(marks, int64_t(image) * together_, int64_t(image + 1) * together_);
        // Sums of many channels are taken side by side, but every thread has some.
        int32_t at_once = most_grouped / group_ * group_;
        const auto blocks_of = [&](int32_t channels) { return (x.channels + channels - 1) / channels; };
        while (images * blocks_of(at_once) < context.pool.threads() && at_once >= 2 * std::max(group_, few_grouped))
            at_once = at_once / 2 / group_ * group_;
        const int32_t blocks = blocks_of(at_once);
        context.pool.for_rows(images * blocks, 1, [&](int32_t begin, int32_t end) {
            for (int32_t task = begin; task < end; ++task) {
                const int32_t image = task / blocks, first = task % blocks * at_once;
                if (!dirty[image]) continue;
                const int64_t pixel = int64_t(image) * together_;
                context.kernels.ops->norm_pixels({x.pixel(pixel) + first, y.pixel(pixel) + first, x.stride,
                                                  y.stride, together_, std::min(at_once, x.channels - first), group_,
                                                  epsilon_});
            }
        });
    }

private:
    TensorId x_, y_;
    int32_t together_;  // pixels of an image
    int32_t group_;     // channels
    float epsilon_;
};

}  // namespace

StepPtr make_softmax(TensorId x, const Dims& dims, int32_t axis, bool log, bool nan_is_zero, TensorId y) {
    const int32_t last = int32_t(dims.size()) - 1;
    require(axis >= 0 && axis <= last, "softmax: no such axis");
    require(!log || !nan_is_zero, "softmax: logarithms of NaN stay NaN");
    if (axis == last) return std::make_unique<ChannelSoftmaxStep>(x, log, nan_is_zero, y);
    const int64_t inner = product(dims, axis + 1, last);
    return std::make_unique<PixelSoftmaxStep>(x, dims[axis], int32_t(inner), log, nan_is_zero, y);
}

StepPtr make_layer_norm(TensorId x, const Dims& dims, int32_t axes, float epsilon,
                        const std::vector<float>& scale, const std::vector<float>& bias, TensorId y) {
    require(axes >= 1 && axes <= int32_t(dims.size()), "layer norm: no such axis");
    const int64_t size = product(dims, dims.size() - axes, dims.size());
    require(int64_t(scale.size()) == size, "layer norm: scale has another size than the normalised axes");
    require(bias.empty() || bias.size() == scale.size(), "layer norm: bias has another size than scale");
    std::vector<float> offset = bias.empty() ? std::vector<float>(scale.size(), 0.0f) : bias;
    return std::make_unique<LayerNormStep>(x, int32_t(size / dims.back()), epsilon, scale,
                                           std::move(offset), y);
}

StepPtr make_pixel_norm(TensorId x, const Dims& dims, int32_t group, float epsilon, TensorId y) {
    require(dims.size() >= 2, "pixel norm: there are no pixels");
    require(group >= 1 && group <= most_grouped && dims.back() % group == 0, "pixel norm: no such groups");
    return std::make_unique<PixelNormStep>(x, int32_t(product(dims, 1, dims.size() - 1)), group, epsilon, y);
}

}  // namespace mquans
