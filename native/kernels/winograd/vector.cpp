// Two by two outputs of a 3x3 window at once, with 16 products per input and output instead of 36 (Winograd's
// F(2x2, 3x3); Lavin and Gray 2016, section 4.1): inputs are transformed by additions, every one of their 16
// places is multiplied by a matrix of its own, and additions make the outputs.
//
// A dozen tiles are done together: with 64 channels their transformed inputs (24 KiB) and the matrix of one
// place and block of outputs stay in the first-level cache.
#include "kernels/simd/sums.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

constexpr int places = 16;

// The first of as few parts as possible of at most so many each, all of about the same size.
MQ_FORCE int32_t even_part(int32_t count, int32_t most) {
    const int32_t parts = (count + most - 1) / most;
    return (count + parts - 1) / parts;
}

// The transformed inputs of all tiles, [places][tiles][row].
void transform_inputs(const WinogradArgs& args, const int32_t* at, int32_t tiles, int32_t row) {
    const int64_t place = int64_t(tiles) * row;
    for (int32_t t = 0; t < tiles; ++t) {
        const int16_t* x = args.x + at[t];
        int16_t* to = args.scratch + int64_t(t) * row;
        for (int32_t c = 0; c < args.inputs; c += words) {
            I16 part[4][4];
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) {
                const int16_t* from = x + j * args.column + c;
                const I16 a = load16(from), b = load16(from + args.row);
                const I16 d = load16(from + 2 * args.row), e = load16(from + 3 * args.row);
                part[0][j] = sub16(a, d);
                part[1][j] = add16(b, d);
                part[2][j] = sub16(d, b);
                part[3][j] = sub16(b, e);
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                int16_t* line = to + 4 * i * place + c;
                store16(line, sub16(part[i][0], part[i][2]));
                store16(line + place, add16(part[i][1], part[i][2]));
                store16(line + 2 * place, sub16(part[i][2], part[i][1]));
                store16(line + 3 * place, sub16(part[i][1], part[i][3]));
            }
        }
    }
}

// Products of P tiles at one place, R registers of outputs each.
template <int P, int R>
MQ_FORCE void multiply(const int16_t* x, int32_t row, int32_t inputs, const int16_t* weights, int32_t* product) {
    I32 sum[P][R];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) sum[p][r] = zero32();
    for (int32_t c = 0; c < inputs; c += 2, weights += 2 * lanes * R) {
        I16 w[R];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) w[r] = load16(weights + 2 * lanes * r);
#pragma GCC unroll 16
        for (int p = 0; p < P; ++p) {
            const I16 both = pair(x + int64_t(p) * row + c);
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) add_dot(sum[p][r], w[r], both);
        }
    }
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) store32(product + (p * places * R + r) * lanes, sum[p][r]);
}

template <int P, int R>
void multiply_tiles(const int16_t* x, int32_t row, int32_t inputs, const int16_t* weights, int32_t* product,
                    int32_t tiles) {
    if constexpr (P > 0) {
        if (tiles == P) return multiply<P, R>(x, row, inputs, weights, product);
        multiply_tiles<P - 1, R>(x, row, inputs, weights, product, tiles);
    }
}

// From the products of a tile, [places][R registers], to the codes of its four sites, straight to where they are held
// if they are not compared.
template <int R, bool SCALED>
MQ_FORCE void transform_outputs(const WinogradArgs& args, const ConvBlock& block, int32_t tile,
                                const int32_t* product) {
    I32 sum[4][R], shift[R];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
        shift[r] = load32(block.shift + r * lanes);
        I32 upper[4], lower[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
            const int32_t* from = product + (j * R + r) * lanes;
            constexpr int line = 4 * R * lanes;
            const I32 a = load32(from), b = load32(from + line), c = load32(from + 2 * line);
            upper[j] = add32(add32(a, b), c);
            lower[j] = sub32(sub32(b, c), load32(from + 3 * line));
        }
        const I32 bias = load32(block.bias + r * lanes);
        sum[0][r] = add32(add32(bias, upper[0]), add32(upper[1], upper[2]));
        sum[1][r] = add32(bias, sub32(sub32(upper[1], upper[2]), upper[3]));
        sum[2][r] = add32(add32(bias, lower[0]), add32(lower[1], lower[2]));
        sum[3][r] = add32(bias, sub32(sub32(lower[1], lower[2]), lower[3]));
    }
    const HeldSites held = args.held;
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
        const int32_t site = 4 * tile + s;
        if (held.low && held.at[site] >= 0)
            store_clamped<SCALED>(sum[s], shift, held.low + block.y_first, held.high + block.y_first,
                                  held.codes + held.at[site] + block.y_first);
        else
            store_codes<SCALED>(sum[s], shift, args.y + args.y_at[site] + block.y_first);
    }
}

template <int R>
void block_of_tiles(const WinogradArgs& args, const ConvBlock& block, int32_t first, int32_t tiles, int32_t row) {
    alignas(64) int32_t product[winograd_tiles * places * R * lanes];
    const int64_t place = int64_t(tiles) * row;
    const int16_t* weights = block.weights;
    const int32_t step = (args.inputs + 1) / 2 * 2 * lanes * R;
    for (int k = 0; k < places; ++k, weights += step) {
        const int16_t* x = args.scratch + k * place;
        int32_t* to = product + k * R * lanes;
        for (int32_t t = 0, n; t < tiles; t += n) {
            n = even_part(tiles - t, dense_tile);
            if (k % 4 == 0)
                for (int32_t i = first + t; i < first + t + n; ++i) args.held.prefetch(4 * i + k / 4, block.y_first);
            multiply_tiles<dense_tile, R>(x + int64_t(t) * row, row, args.inputs, weights, to + t * places * R * lanes,
                                          n);
        }
    }
    for (int32_t t = 0; t < tiles; ++t) {
        const int32_t* from = product + t * places * R * lanes;
        args.scaled ? transform_outputs<R, true>(args, block, first + t, from)
                    : transform_outputs<R, false>(args, block, first + t, from);
    }
}

}  // namespace

void winograd(const WinogradArgs& args) {
    const int32_t row = winograd_row(args.inputs);
    for (int32_t first = 0, tiles; first < args.tiles; first += tiles) {
        tiles = even_part(args.tiles - first, winograd_tiles);
        transform_inputs(args, args.at + first, tiles, row);
        for (int32_t k = 0; k < args.block_count; ++k) {
            const ConvBlock& block = args.blocks[k];
            block.outputs == lanes ? block_of_tiles<1>(args, block, first, tiles, row)
                                   : block_of_tiles<2>(args, block, first, tiles, row);
        }
    }
}

}  // namespace mquans::MQ_ISA
