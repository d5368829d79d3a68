#include <algorithm>
#include <cstring>

#include "ops/loops/lanes.h"
#include "ops/loops/loops.h"
#include "ops/loops/math.h"

namespace mquans::MQ_ISA {
namespace {

inline float add(float a, float b) { return a + b; }

// Of fewer channels, each line of pixels is brought together.
constexpr int32_t many_channels = SoftmaxArgs::many_channels;

constexpr int32_t most_channels = PixelNormArgs::most_channels;

// Sums over pixels of f(channel, value), [channels], some pixels on their own first: that keeps long sums
// accurate.
template <class F>
inline void sum_pixels(const PixelNormArgs& args, float* sums, F f) {
    constexpr int32_t together = 64;
    const int32_t n = args.channels;
    std::fill_n(sums, n, 0.0f);
    for (int32_t first = 0; first < args.pixels; first += together) {
        float part[most_channels] = {};
        const int32_t last = std::min(first + together, args.pixels);
        for (int32_t p = first; p < last; ++p) {
            const float* x = args.x + p * args.x_step;
#pragma GCC ivdep
            for (int32_t c = 0; c < n; ++c) part[c] = f(part[c], x[c], c);
        }
        for (int32_t c = 0; c < n; ++c) sums[c] += part[c];
    }
}

}  // namespace

void softmax_values(const SoftmaxArgs& args) {
    const int32_t n = args.channels;
    const float* x = args.x;
    float* y = args.y;
    float* e = args.scratch;
    const float top = fold_lanes(x, n, -infinity, larger, larger);
    for (int32_t c = 0; c < n; ++c) e[c] = exp(x[c] - top);
    const float sum = fold_lanes(e, n, 0.0f, add, add);
    if (args.log) {
        const float log_sum = log(sum);
#pragma GCC ivdep
        for (int32_t c = 0; c < n; ++c) y[c] = (x[c] - top) - log_sum;
    } else if (args.nan_is_zero && sum != sum) {
        std::memset(y, 0, sizeof(float) * n);
    } else {
        // A rounding away from quotients, which take longer.
        const float share = 1.0f / sum;
        for (int32_t c = 0; c < n; ++c) y[c] = e[c] * share;
    }
}

void softmax_pixels(const SoftmaxArgs& args) {
    const int32_t n = args.channels;
    if (n < many_channels) {
        float* line = args.scratch + args.count;
        for (int32_t c = 0; c < n; ++c) {
            for (int32_t p = 0; p < args.count; ++p) line[p] = args.x[p * args.x_step + c];
            softmax_values({line, line, 0, 0, 1, args.count, args.scratch, args.log, args.nan_is_zero});
            for (int32_t p = 0; p < args.count; ++p) args.y[p * args.y_step + c] = line[p];
        }
        return;
    }
    float* top = args.scratch;
    float* sum = args.scratch + n;
    for (int32_t c = 0; c < n; ++c) {
        top[c] = -infinity;
        sum[c] = 0.0f;
    }
    for (int32_t p = 0; p < args.count; ++p) {
        const float* x = args.x + p * args.x_step;
#pragma GCC ivdep
        for (int32_t c = 0; c < n; ++c) top[c] = larger(top[c], x[c]);
    }
    for (int32_t p = 0; p < args.count; ++p) {
        const float* x = args.x + p * args.x_step;
#pragma GCC ivdep
        for (int32_t c = 0; c < n; ++c) sum[c] += exp(x[c] - top[c]);
    }
    if (args.log) {
        for (int32_t c = 0; c < n; ++c) sum[c] = log(sum[c]);
        for (int32_t p = 0; p < args.count; ++p) {
            const float* x = args.x + p * args.x_step;
            float* y = args.y + p * args.y_step;
#pragma GCC ivdep
            for (int32_t c = 0; c < n; ++c) y[c] = (x[c] - top[c]) - sum[c];
        }
    } else {
        float* share = sum;
        for (int32_t c = 0; c < n; ++c) share[c] = 1.0f / sum[c];
        for (int32_t p = 0; p < args.count; ++p) {
            const float* x = args.x + p * args.x_step;
            float* y = args.y + p * args.y_step;
#pragma GCC ivdep
            for (int32_t c = 0; c < n; ++c) y[c] = exp(x[c] - top[c]) * share[c];
            if (args.nan_is_zero)
                for (int32_t c = 0; c < n; ++c) y[c] = share[c] == share[c] ? y[c] : 0.0f;
        }
    }
}

void softmax_few(const SoftmaxArgs& args) {
    constexpr int32_t together = 64;
    const int32_t n = args.channels;
    float planes[many_channels * together], scratch[2 * together];
    for (int32_t first = 0; first < args.count; first += together) {
        const int32_t pixels = std::min(together, args.count - first);
        // Whole registers, however few there are: sums are then added up in one order.
        const int32_t width = (pixels + many_channels - 1) / many_channels * many_channels;
        const float* x = args.x + first * args.x_step;
        float* y = args.y + first * args.y_step;
        for (int32_t c = 0; c < n; ++c) {
            float* plane = planes + c * together;
            for (int32_t p = 0; p < pixels; ++p) plane[p] = x[p * args.x_step + c];
            std::fill(plane + pixels, plane + width, 0.0f);
        }
        softmax_pixels({planes, planes, together, together, n, width, scratch, args.log, args.nan_is_zero});
        for (int32_t c = 0; c < n; ++c)
            for (int32_t p = 0; p < pixels; ++p) y[p * args.y_step + c] = planes[c * together + p];
    }
}

void layer_norm(const NormArgs& args) {
    const int32_t n = args.channels;
    const float count = float(int64_t(args.pixels) * n);
    float total = 0.0f;
    for (int32_t p = 0; p < args.pixels; ++p)
        total += fold_lanes(args.x + p * args.x_step, n, 0.0f, add, add);
    const float mean = total / count;
    auto add_square = [mean](float acc, float x) { return fma(x - mean, x - mean, acc); };
    float squares = 0.0f;
    for (int32_t p = 0; p < args.pixels; ++p)
        squares += fold_lanes(args.x + p * args.x_step, n, 0.0f, add_square, add);
    const float inverse = 1.0f / __builtin_sqrtf(squares / count + args.epsilon);
    for (int32_t p = 0; p < args.pixels; ++p) {
        const float* x = args.x + p * args.x_step;
        const float* scale = args.scale + int64_t(p) * n;
        const float* bias = args.bias + int64_t(p) * n;
        float* y = args.y + p * args.y_step;
#pragma GCC ivdep
        for (int32_t c = 0; c < n; ++c) y[c] = fma((x[c] - mean) * inverse, scale[c], bias[c]);
    }
}

void norm_pixels(const PixelNormArgs& args) {
    const int32_t n = args.channels;
    const float count = float(int64_t(args.pixels) * args.group);
    // Every channel's share of its group.
    const auto together = [&](float* sums) {
        for (int32_t c = 0; c < n; c += args.group) {
            float sum = 0.0f;
            for (int32_t i = c; i < c + args.group; ++i) sum += sums[i];
            std::fill_n(sums + c, args.group, sum / count);
        }
    };
    float mean[most_channels], squares[most_channels];
    sum_pixels(args, mean, [](float sum, float x, int32_t) { return sum + x; });
    together(mean);
    sum_pixels(args, squares, [&](float sum, float x, int32_t c) { return fma(x - mean[c], x - mean[c], sum); });
    together(squares);
    float* inverse = squares;
    for (int32_t c = 0; c < n; ++c) inverse[c] = 1.0f / __builtin_sqrtf(squares[c] + args.epsilon);
    for (int32_t p = 0; p < args.pixels; ++p) {
        const float* x = args.x + p * args.x_step;
        float* y = args.y + p * args.y_step;
#pragma GCC ivdep
        for (int32_t c = 0; c < n; ++c) y[c] = (x[c] - mean[c]) * inverse[c];
    }
}

}  // namespace mquans::MQ_ISA
