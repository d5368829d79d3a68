#include "ops/loops/loops.h"
#include "ops/loops/math.h"

namespace mquans::MQ_ISA {
namespace {

// Folds the window's pixels into y, four at a time so that y is read and written seldom. Each channel
// sees its pixels in the given order. fold(acc, x, i): i is the pixel's place in the window.
template <class First, class Fold>
inline void window(const WindowArgs& args, First first, Fold fold) {
    const int32_t n = args.channels;
    float* __restrict y = args.y;
    const int32_t head = args.count % 4 == 0 ? 4 : args.count % 4;
    const float* const* p = args.x;
    if (head == 1) {
        const float* a = p[0];
        for (int32_t c = 0; c < n; ++c) y[c] = first(a[c]);
    } else if (head == 2) {
        const float *a = p[0], *b = p[1];
        for (int32_t c = 0; c < n; ++c) y[c] = fold(first(a[c]), b[c], 1);
    } else if (head == 3) {
        const float *a = p[0], *b = p[1], *d = p[2];
        for (int32_t c = 0; c < n; ++c) y[c] = fold(fold(first(a[c]), b[c], 1), d[c], 2);
    } else {
        const float *a = p[0], *b = p[1], *d = p[2], *e = p[3];
        for (int32_t c = 0; c < n; ++c)
            y[c] = fold(fold(fold(first(a[c]), b[c], 1), d[c], 2), e[c], 3);
    }
    for (int32_t i = head; i < args.count; i += 4) {
        const float *a = p[i], *b = p[i + 1], *d = p[i + 2], *e = p[i + 3];
        for (int32_t c = 0; c < n; ++c)
            y[c] = fold(fold(fold(fold(y[c], a[c], i), b[c], i + 1), d[c], i + 2), e[c], i + 3);
    }
}

}  // namespace

void window_max(const WindowArgs& args) {
    window(args, [](float x) { return x; }, [](float acc, float x, int32_t) { return larger(acc, x); });
}

void window_average(const WindowArgs& args) {
    window(args, [](float x) { return x; }, [](float acc, float x, int32_t) { return acc + x; });
    const float divisor = args.divisor;
    for (int32_t c = 0; c < args.channels; ++c) args.y[c] /= divisor;
}

void window_weigh(const WindowArgs& args) {
    const float* __restrict weight = args.weight;
    const float first = weight[0];
    window(args, [first](float x) { return first * x; },
           [weight](float acc, float x, int32_t i) { return fma(weight[i], x, acc); });
}

}  // namespace mquans::MQ_ISA
