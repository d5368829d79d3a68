#include "ops/loops/lanes.h"
#include "ops/loops/loops.h"
#include "ops/loops/math.h"

namespace mquans::MQ_ISA {
namespace {

template <class F>
inline void pixels(const ReduceArgs& args, F f) {
    float* y = args.y;
    for (int32_t p = 0; p < args.pixels; ++p) {
        const float* x = args.x + p * args.step;
#pragma GCC ivdep
        for (int32_t c = 0; c < args.channels; ++c) y[c] = f(y[c], x[c]);
    }
}

// Few channels, such as the two parts of complex numbers: lanes would be empty.
template <int N, class F>
inline void few(const ReduceRowsArgs& args, float start, F f) {
    for (int32_t p = 0; p < args.pixels; ++p) {
        const float* x = args.x + p * args.step;
        float value = start;
        for (int c = 0; c < N; ++c) value = f(value, x[c]);
        args.y[p] = value;
    }
}

template <class F, class J>
inline void rows(const ReduceRowsArgs& args, float start, F f, J join) {
    switch (args.channels) {
        case 1: return few<1>(args, start, f);
        case 2: return few<2>(args, start, f);
        case 3: return few<3>(args, start, f);
        case 4: return few<4>(args, start, f);
        default:
            for (int32_t p = 0; p < args.pixels; ++p)
                args.y[p] = fold_lanes(args.x + p * args.step, args.channels, start, f, join);
    }
}

inline float add(float a, float b) { return a + b; }
inline float multiply(float a, float b) { return a * b; }
inline float add_magnitude(float a, float b) { return a + magnitude(b); }
inline float add_square(float a, float b) { return fma(b, b, a); }

// use(start, step, join): how values go into a result of a kind, and results into one.
template <class Use>
inline auto by_kind(ReduceKind kind, Use use) {
    switch (kind) {
        case ReduceKind::max: return use(-infinity, larger, larger);
        case ReduceKind::min: return use(infinity, smaller, smaller);
        case ReduceKind::prod: return use(1.0f, multiply, multiply);
        case ReduceKind::l1: return use(0.0f, add_magnitude, add);
        case ReduceKind::l2:
        case ReduceKind::sum_square: return use(0.0f, add_square, add);
        case ReduceKind::mean:
        case ReduceKind::sum: break;
    }
    return use(0.0f, add, add);
}

}  // namespace

float reduce_values(ReduceKind kind, const float* x, int64_t n) {
    return by_kind(kind, [&](float start, auto f, auto join) { return fold_lanes(x, n, start, f, join); });
}

void reduce_rows(const ReduceRowsArgs& args) {
    by_kind(args.kind, [&](float start, auto f, auto join) { rows(args, start, f, join); });
}

void reduce_pixels(const ReduceArgs& args) {
    by_kind(args.kind, [&](float, auto f, auto) { pixels(args, f); });
}

}  // namespace mquans::MQ_ISA
