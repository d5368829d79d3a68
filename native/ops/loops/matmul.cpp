#include <algorithm>

#include "ops/loops/loops.h"
#include "ops/loops/registers.h"

namespace mquans::MQ_ISA {
namespace {

// Registers of columns of a tile; four where there are no more.
constexpr int32_t usually_wide = lanes == 16 ? 3 : 2, most_wide = lanes == 16 ? 4 : 2;
constexpr int32_t few_rows = lanes == 1 ? 1 : 2;

// Rows of a tile: of 32 registers 24 hold results, of 16 twelve. Rows of a lie far apart, often by a power of
// two: of wide tiles at most 8 are read at a time, lest they drive each other from the first cache.
constexpr int32_t rows_of(int wide) { return lanes == 16 ? (wide == 1 ? 12 : 24 / wide) : lanes == 8 ? 6 : 2; }
constexpr int32_t depth = 256;  // of b at a time, so that it stays in the first cache

// Some columns of some rows of b, and where results go on from.
struct Panel {
    const float* b;
    int64_t b_step;
    int32_t first, count;  // rows of b
    Part part;             // of the last register
};

// A tile of results that stays in registers. Each is one ascending chain of fused multiply-adds over rows of b, so
// its bits depend neither on tiles nor on the width of registers.
template <int Rows, int Wide, bool Partial>
inline void tile(const MatMulArgs& args, const Panel& panel, int32_t m, int32_t c) {
    const float* a = args.a + m * args.a_step + panel.first;
    float* y = args.y + m * args.y_step + c;
    const auto partial = [](int w) { return Partial && w == Wide - 1; };
    Floats sum[Rows][Wide];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int w = 0; w < Wide; ++w) {
            const float* from = y + r * args.y_step + w * lanes;
            sum[r][w] = panel.first == 0 ? all(0.0f) : partial(w) ? load(from, panel.part) : load(from);
        }
    for (int32_t k = 0; k < panel.count; ++k) {
        Floats value[Wide];
#pragma GCC unroll 4
        for (int w = 0; w < Wide; ++w) {
            const float* from = panel.b + k * panel.b_step + w * lanes;
            value[w] = partial(w) ? load(from, panel.part) : load(from);
        }
#pragma GCC unroll 16
        for (int r = 0; r < Rows; ++r) {
            const Floats weight = all(a[r * args.a_step + k]);
#pragma GCC unroll 4
            for (int w = 0; w < Wide; ++w) sum[r][w] = fma(weight, value[w], sum[r][w]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int w = 0; w < Wide; ++w) {
            float* to = y + r * args.y_step + w * lanes;
            if (partial(w))
                store(to, sum[r][w], panel.part);
            else
                store(to, sum[r][w]);
        }
}

template <int Wide, bool Partial>
inline void all_rows(const MatMulArgs& args, const Panel& panel, int32_t c) {
    constexpr int32_t most_rows = rows_of(Wide);
    int32_t m = 0;
    for (; m + most_rows <= args.m; m += most_rows) tile<most_rows, Wide, Partial>(args, panel, m, c);
    for (; m + few_rows <= args.m; m += few_rows) tile<few_rows, Wide, Partial>(args, panel, m, c);
    for (; m < args.m; ++m) tile<1, Wide, Partial>(args, panel, m, c);
}

// As many registers of columns as there are of those at hand, at most `Wide`.
template <int Wide>
inline void columns(const MatMulArgs& args, const Panel& panel, int32_t c, int32_t count) {
    if constexpr (Wide > 1)
        if (count <= (Wide - 1) * lanes) return columns<Wide - 1>(args, panel, c, count);
    count == Wide * lanes ? all_rows<Wide, false>(args, panel, c) : all_rows<Wide, true>(args, panel, c);
}

}  // namespace

void matmul(const MatMulArgs& args) {
    // Rows of b lie far apart; columns that several tiles read are brought together first.
    float close[depth * most_wide * lanes];
    const bool few = args.n <= most_wide * lanes;
    const int32_t width = lanes * (few ? most_wide : usually_wide);
    const bool copied = args.m > rows_of(1);
    for (int32_t c = 0; c < args.n; c += width) {
        const int32_t count = std::min(width, args.n - c);
        for (int32_t k = 0; k < std::max(args.k, 1); k += depth) {
            Panel panel{args.b + k * args.b_step + c, args.b_step, k, std::min(depth, args.k - k),
                        first(count % lanes)};
            if (copied) {
                for (int32_t i = 0; i < panel.count; ++i)
                    std::copy_n(panel.b + i * args.b_step, count, close + i * width);
                panel.b = close;
                panel.b_step = width;
            }
            columns<most_wide>(args, panel, c, count);
        }
    }
}

}  // namespace mquans::MQ_ISA
