// A tile is a few sites by one block of outputs in registers; pairs of inputs are multiplied and added at
// once. The codes of a site are broadcast pair by pair, so sites may lie anywhere.
//
// Where there is vpdpbusd, bytes are multiplied alike: four unsigned ones of a site by four signed weights lie as pairs do.
//
// avx2: 6 x 16 outputs fill 14 of 16 registers; a multiply-add and an addition per register.
// avx2_vnni: the same tile; vpdpwssd does both. avx512: 12 x 32 outputs fill 27 of 32.
// A last block of at most half as many outputs is half as wide and in natural order.
#include "kernels/simd/sums.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

// What a tile reads of its arguments, which stores might otherwise change.
struct Tiles {
    const int16_t *x, *weights;
    const int32_t *at, *bias, *shift;
    const WindowRun *run, *last_run;
    int16_t* y;
    int64_t y_stride;
    HeldSites held;
    int32_t y_first;

    Tiles(const ConvArgs& args, const ConvBlock& block)
        : x(args.x + block.x_first), weights(block.weights), at(args.at), bias(block.bias),
          shift(block.shift), run(args.runs), last_run(args.runs + args.run_count), y(args.y + block.y_first),
          y_stride(args.y_stride), held(args.held), y_first(block.y_first) {}
};

enum class Kind { shifted, scaled, scaled_bytes };
// Before they are compared, or where they are held: clamped, or only raised to what is least.
enum class To { fresh, clamped, raised };

// Lest GCC computes an address once more behind a loop: how many instructions can be issued bounds tiles of few pairs.
template <class T>
MQ_FORCE T* opaque(T* address) {
    asm("" : "+r"(address));
    return address;
}

// Loops are unrolled early, lest sums go through memory.
// KIND: what is multiplied, and whether sums are scaled by floats. TO: where codes go.
template <Kind KIND, int P, int R, To TO>
MQ_FORCE void tile(const Tiles& args, int32_t first) {
    constexpr bool SCALED = KIND != Kind::shifted;
    I32 sum[P][R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
        const I32 bias = load32(args.bias + r * lanes);
#pragma GCC unroll 16
        for (int p = 0; p < P; ++p) sum[p][r] = bias;
    }
    const int16_t* site[P];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) site[p] = opaque(args.x + args.at[first + p]);
    if (HeldSites::begins_line(args.y_first))
#pragma GCC unroll 16
        for (int p = 0; p < P; ++p) args.held.prefetch<TO != To::fresh>(first + p, args.y_first);
    const int16_t* weights = args.weights;
    for (const WindowRun* run = args.run; run < args.last_run; ++run) {
        const int64_t end = int64_t(run->at) + run->length;
        for (int64_t at = run->at; at < end; at += 2, weights = opaque(weights + 2 * lanes * R)) {
            I16 w[R];
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) w[r] = load16(weights + 2 * lanes * r);
#pragma GCC unroll 16
            for (int p = 0; p < P; ++p) {
                const I16 both = pair(site[p] + at);
#pragma GCC unroll 16
                for (int r = 0; r < R; ++r) add_product<KIND == Kind::scaled_bytes>(sum[p][r], w[r], both);
            }
        }
    }
    I32 shift[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) shift[r] = load32(args.shift + r * lanes);
    int16_t* y = args.y + first * args.y_stride;
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p, y += args.y_stride) {
        if constexpr (TO != To::fresh)
            store_clamped<SCALED, TO == To::clamped>(sum[p], shift, args.held.low + args.y_first,
                                                     args.held.high + args.y_first,
                                                     args.held.codes + args.held.at[first + p] + args.y_first);
        else
            store_codes<SCALED>(sum[p], shift, y);
    }
}

template <Kind KIND, int P, int R, To TO>
void rest(const Tiles& args, int32_t first, int32_t left) {
    if constexpr (P > 0) {
        if (left == P) return tile<KIND, P, R, TO>(args, first);
        rest<KIND, P - 1, R, TO>(args, first, left);
    }
}

template <Kind KIND, int R, To TO>
void all_sites(const ConvArgs& args, const ConvBlock& block) {
    constexpr int P = dense_tile;
    const Tiles tiles(args, block);
    int32_t i = 0;
    for (; i + P <= args.sites; i += P) tile<KIND, P, R, TO>(tiles, i);
    rest<KIND, P - 1, R, TO>(tiles, i, args.sites - i);
}

template <Kind KIND, To TO>
void all_blocks(const ConvArgs& args) {
    for (int32_t k = 0; k < args.block_count; ++k) {
        const ConvBlock& block = args.blocks[k];
        block.outputs == lanes ? all_sites<KIND, 1, TO>(args, block) : all_sites<KIND, 2, TO>(args, block);
    }
}

template <Kind KIND>
void all_blocks(const ConvArgs& args) {
    !args.held.low     ? all_blocks<KIND, To::fresh>(args)
    : args.held.capped ? all_blocks<KIND, To::clamped>(args)
                       : all_blocks<KIND, To::raised>(args);
}

}  // namespace

int32_t order(int32_t position, int32_t outputs) {
    if (outputs < words) return position;
    const int32_t half = position / lanes, lane = position % lanes;
    return 8 * (lane / 4) + 4 * half + lane % 4;
}

void conv_sites(const ConvArgs& args) {
    args.scaled ? all_blocks<Kind::scaled>(args) : all_blocks<Kind::shifted>(args);
}

#if defined(MQ_BYTES)

void conv_bytes(const ConvArgs& args) { all_blocks<Kind::scaled_bytes>(args); }

void take_bytes(const ByteArgs& args) {
    const I16 least = all16(args.least);
    for (int32_t i = 0; i < args.sites; ++i) {
        const int16_t* window = args.x + args.at[i];
        uint8_t* to = args.bytes + int64_t(i) * args.depth;
        for (const WindowRun* run = args.runs; run < args.runs + args.run_count; ++run) {
            const int16_t* from = window + run->at;
            for (int32_t c = 0; c < run->length; c += words) store_bytes(to + c, sub16(load16(from + c), least));
            to += byte_run(run->length);
        }
    }
}

#endif

}  // namespace mquans::MQ_ISA
