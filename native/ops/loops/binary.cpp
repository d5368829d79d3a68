#include "ops/loops/loops.h"
#include "ops/loops/math.h"

namespace mquans::MQ_ISA {
namespace {

template <class F>
inline void values(const float* a, const float* b, float* y, int64_t n, bool a_scalar, bool b_scalar, F f) {
    if (a_scalar) {
        const float s = *a;
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) y[i] = f(s, b[i]);
    } else if (b_scalar) {
        const float s = *b;
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], s);
    } else {
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], b[i]);
    }
}

template <class F>
void each(const BinaryArgs& args, F f) {
    const int64_t n = args.channels;
    const bool scalars = args.a_scalar || args.b_scalar;
    if (args.a_scalar && args.b_scalar) {
        for (int32_t p = 0; p < args.pixels; ++p) {
            const float value = f(args.a[p * args.a_step], args.b[p * args.b_step]);
            for (int64_t i = 0; i < n; ++i) args.y[p * args.y_step + i] = value;
        }
    } else if (!scalars && args.a_step == n && args.b_step == n && args.y_step == n) {
        values(args.a, args.b, args.y, n * args.pixels, false, false, f);
    } else {
        for (int32_t p = 0; p < args.pixels; ++p)
            values(args.a + p * args.a_step, args.b + p * args.b_step, args.y + p * args.y_step, n,
                   args.a_scalar, args.b_scalar, f);
    }
}

bool unit(int64_t step) { return step == 0 || step == 1; }

// Single channels side by side are one run of values; a step of 0 is a scalar for all of them.
BinaryArgs flattened(BinaryArgs args) {
    if (args.channels != 1 || args.y_step != 1 || !unit(args.a_step) || !unit(args.b_step)) return args;
    args.channels = args.pixels;
    args.pixels = 1;
    args.a_scalar = args.a_step == 0;
    args.b_scalar = args.b_step == 0;
    return args;
}

// A loop over power() with one operand fixed splits into branches and stops being vector code, so
// scalars are repeated in a buffer.
void powers(const BinaryArgs& args) {
    constexpr int32_t block = 256;
    float base[block], exponent[block];
    for (int32_t p = 0; p < args.pixels; ++p) {
        const float* a = args.a + p * args.a_step;
        const float* b = args.b + p * args.b_step;
        float* y = args.y + p * args.y_step;
        if (args.b_scalar && !args.a_scalar && *b == 2.0f) {
            values(a, a, y, args.channels, false, false,
                   [](float u, float v) { return u * v; });
            continue;
        }
        for (int32_t c = 0; c < args.channels; c += block) {
            const int32_t n = args.channels - c < block ? args.channels - c : block;
            for (int32_t i = 0; i < n; ++i) base[i] = a[args.a_scalar ? 0 : c + i];
            for (int32_t i = 0; i < n; ++i) exponent[i] = b[args.b_scalar ? 0 : c + i];
            for (int32_t i = 0; i < n; ++i) y[c + i] = power(base[i], exponent[i]);
        }
    }
}

}  // namespace

void binary(const BinaryArgs& given) {
    const BinaryArgs args = flattened(given);
    switch (args.kind) {
        case BinaryKind::add:
            return each(args, [](float a, float b) { return a + b; });
        case BinaryKind::sub:
            return each(args, [](float a, float b) { return a - b; });
        case BinaryKind::mul:
            return each(args, [](float a, float b) { return a * b; });
        case BinaryKind::div:
            return each(args, [](float a, float b) { return a / b; });
        case BinaryKind::max:
            return each(args, [](float a, float b) { return a > b || a != a ? a : b; });
        case BinaryKind::min:
            return each(args, [](float a, float b) { return a < b || a != a ? a : b; });
        case BinaryKind::pow:
            return powers(args);
        case BinaryKind::prelu:
            return each(args, [](float a, float b) { return a < 0.0f ? a * b : a; });
        case BinaryKind::equal:
            return each(args, [](float a, float b) { return a == b ? 1.0f : 0.0f; });
        case BinaryKind::less:
            return each(args, [](float a, float b) { return a < b ? 1.0f : 0.0f; });
        case BinaryKind::mask:
            return each(args, [](float a, float b) { return b != 0.0f ? a : 0.0f; });
    }
}

}  // namespace mquans::MQ_ISA
