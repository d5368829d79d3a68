#include "ops/loops/loops.h"
#include "ops/loops/math.h"

namespace mquans::MQ_ISA {
namespace {

// y may be x, never shifted against it: iterations are independent.
template <class F>
inline void each(const UnaryArgs& args, F f) {
    const float* x = args.x;
    float* y = args.y;
    const int64_t n = args.n;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
}

}  // namespace

void unary(const UnaryArgs& args) {
    const float a = args.a, b = args.b;
    switch (args.kind) {
        case UnaryKind::relu:
            return each(args, [](float x) { return x < 0.0f ? 0.0f : x; });
        case UnaryKind::leaky_relu:
            return each(args, [a](float x) { return x < 0.0f ? a * x : x; });
        case UnaryKind::clip:
            return each(args, [a, b](float x) {
                const float low = x < a ? a : x;
                return low > b ? b : low;
            });
        case UnaryKind::sigmoid:
            return each(args, [](float x) { return sigmoid(x); });
        case UnaryKind::silu:
            return each(args, [](float x) { return silu(x); });
        case UnaryKind::hard_sigmoid:
            return each(args, [a, b](float x) {
                const float line = a * x + b, low = line < 0.0f ? 0.0f : line;
                return low > 1.0f ? 1.0f : low;
            });
        case UnaryKind::hard_swish:
            return each(args, [](float x) {
                const float line = x * (1.0f / 6.0f) + 0.5f, low = line < 0.0f ? 0.0f : line;
                return x * (low > 1.0f ? 1.0f : low);
            });
        case UnaryKind::tanh:
            return each(args, [](float x) { return tanh(x); });
        case UnaryKind::elu:
            return each(args, [a](float x) {
                const float curve = a * expm1(x > 0.0f ? 0.0f : x);
                return x < 0.0f ? curve : x;
            });
        case UnaryKind::selu:
            return each(args, [a, b](float x) {
                const float curve = a * expm1(x > 0.0f ? 0.0f : x);
                return b * (x < 0.0f ? curve : x);
            });
        case UnaryKind::gelu:
            return each(args, [](float x) { return gelu(x); });
        case UnaryKind::gelu_tanh:
            return each(args, [](float x) { return gelu_tanh(x); });
        case UnaryKind::softplus:
            return each(args, [](float x) { return softplus(x); });
        case UnaryKind::mish:
            return each(args, [](float x) { return mish(x); });
        case UnaryKind::exp:
            return each(args, [](float x) { return exp(x); });
        case UnaryKind::log:
            return each(args, [](float x) { return log(x); });
        case UnaryKind::sqrt:
            return each(args, [](float x) { return __builtin_sqrtf(x); });
        case UnaryKind::abs:
            return each(args, [](float x) { return magnitude(x); });
        case UnaryKind::neg:
            return each(args, [](float x) { return -x; });
        case UnaryKind::reciprocal:
            return each(args, [](float x) { return 1.0f / x; });
        case UnaryKind::erf:
            return each(args, [](float x) { return erf(x); });
        case UnaryKind::floor:
            return each(args, [](float x) { return __builtin_floorf(x); });
        case UnaryKind::ceil:
            return each(args, [](float x) { return __builtin_ceilf(x); });
        case UnaryKind::round:
            return each(args, [](float x) { return __builtin_rintf(x); });
        case UnaryKind::sign:
            return each(args, [](float x) {
                const float unit = x < 0.0f ? -1.0f : x;
                return unit > 0.0f ? 1.0f : unit;
            });
        case UnaryKind::softsign:
            return each(args, [](float x) { return x / (1.0f + magnitude(x)); });
        case UnaryKind::sin:
            return each(args, [](float x) { return sine(x, 0.0); });
        case UnaryKind::cos:
            return each(args, [](float x) { return sine(x, 1.0); });
        case UnaryKind::quantize:
            return each(args, [a, b](float x) {
                const float whole = __builtin_rintf(x), low = whole < a ? a : whole;
                return low > b ? b : low;
            });
    }
}

}  // namespace mquans::MQ_ISA
