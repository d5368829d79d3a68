// A tile is a few sites by one block of outputs in registers; pairs of inputs are multiplied and added at
// once. The codes of a site are broadcast pair by pair, so sites may lie anywhere.
//
// avx2: 6 x 16 outputs fill 14 of 16 registers; a multiply-add and an addition per register.
// avx512: 12 x 32 outputs fill 27 of 32; vpdpwssd does both. A last block of at most 16 outputs is half
// as wide and in natural order.
#include "kernels/simd/words.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

// The sums of one site in R registers, as codes.
template <int R>
struct Epilogue;

template <>
struct Epilogue<2> {
    __attribute__((always_inline)) static void store(const I32 (&sum)[2], const ConvBlock& block, int16_t* y) {
        const I32 a = shift_right(sum[0], load32(block.shift)), b = shift_right(sum[1], load32(block.shift + lanes));
        store16(y, pack(a, b));
    }
};

#if defined(__AVX512F__)
template <>
struct Epilogue<1> {
    __attribute__((always_inline)) static void store(const I32 (&sum)[1], const ConvBlock& block, int16_t* y) {
        const __m256i u = _mm512_cvtsepi32_epi16(shift_right(sum[0], load32(block.shift)));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), u);
    }
};
#endif

#if defined(__AVX512F__)
// By the intrinsic, GCC keeps sums in two places and copies them in every step.
MQ_FORCE void add_dot(I32& sum, I16 a, I16 b) { asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)); }
#else
MQ_FORCE void add_dot(I32& sum, I16 a, I16 b) { sum = dot(sum, a, b); }
#endif

// Loops are unrolled early, lest sums go through memory.
template <int P, int R>
void tile(const ConvArgs& args, const ConvBlock& block, int32_t first) {
    I32 sum[P][R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
        const I32 bias = load32(block.bias + r * lanes);
#pragma GCC unroll 16
        for (int p = 0; p < P; ++p) sum[p][r] = bias;
    }
    const int16_t* site[P];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) site[p] = args.x + block.x_first + args.at[first + p];
    const int16_t* weights = block.weights;
    for (const int32_t *at = args.pair_at, *end = at + args.pairs; at < end; ++at, weights += 2 * lanes * R) {
        const int64_t from = *at;
        I16 w[R];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) w[r] = load16(weights + 2 * lanes * r);
#pragma GCC unroll 16
        for (int p = 0; p < P; ++p) {
            const I16 both = pair(site[p] + from);
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) add_dot(sum[p][r], w[r], both);
        }
    }
    int16_t* y = args.y + int64_t(first) * args.y_stride + block.y_first;
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p, y += args.y_stride) Epilogue<R>::store(sum[p], block, y);
}

template <int P, int R>
void rest(const ConvArgs& args, const ConvBlock& block, int32_t first, int32_t left) {
    if constexpr (P > 0) {
        if (left == P) return tile<P, R>(args, block, first);
        rest<P - 1, R>(args, block, first, left);
    }
}

template <int R>
void all_sites(const ConvArgs& args, const ConvBlock& block) {
    constexpr int P = dense_tile;
    int32_t i = 0;
    for (; i + P <= args.sites; i += P) tile<P, R>(args, block, i);
    rest<P - 1, R>(args, block, i, args.sites - i);
}

}  // namespace

int32_t order(int32_t position, int32_t outputs) {
    if (outputs < words) return position;
    const int32_t half = position / lanes, lane = position % lanes;
    return 8 * (lane / 4) + 4 * half + lane % 4;
}

void conv_sites(const ConvArgs& args) {
    for (int32_t k = 0; k < args.block_count; ++k) {
        const ConvBlock& block = args.blocks[k];
#if defined(__AVX512F__)
        if (block.outputs == lanes) {
            all_sites<1>(args, block);
            continue;
        }
#endif
        all_sites<2>(args, block);
    }
}

}  // namespace mquans::MQ_ISA
