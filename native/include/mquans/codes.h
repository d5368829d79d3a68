// Tensors of int16 codes, and what the kernels over listed sites are given. A code stands for
// code * 2**exponent[channel]; a site is one position of a tensor with all its channels.
#pragma once

#include <cstdint>
#include <vector>

#include "mquans/mask.h"

namespace mquans {

using CodesId = int32_t;

// Around the sites lies a border of zeros, so that windows may reach beyond the edge.
struct CodesView {
    int16_t* data = nullptr;
    const int64_t* row_at = nullptr;  // [rows] elements from data to site (row, 0)
    int32_t rows = 0, width = 0;
    int32_t channels = 0;
    int32_t stride = 0;  // elements between sites

    MQ_INLINE int16_t* site(int32_t row, int32_t x) const { return data + row_at[row] + int64_t(x) * stride; }
};

// A function of codes that follows a sum; codes of sixteen bits in, codes of sixteen bits out.
//   none   y = u
//   slope  y = u < 0 ? u * a : u
//   gate   y = u * S(t) * 2**k    SiLU, GELU, hard swish; k a channel's own, as small results need finer codes
//          than sums that may be far below zero
//   curve  y = S(t) * m + k  sigmoid, tanh, hard sigmoid
//   elu    y = u < 0 ? (1 - S(|t|)**2) * a : u, by the table of S(|t|) = exp(-|t| / 2)
//   lookup y = entry u - first, or the nearest there is, + k; of codes that are whole steps of 8 bits
// t is u brought to the exponent that S is tabulated for: clamped to +-limit, times left, times right / 2**15.
// S(t), in 1/2**15, is a table of quadratics over |t|, of which S(-t) = 1 - S(t); or a line, clamped to 0..1.
enum class ActivationKind : int32_t { none, slope, gate, curve, elu, lookup };

constexpr int32_t lookup_entries = 256;

// S(|t|) = c + f * (b + f * a) with segment i = |t| >> 10 and f = the rest in 1/2**15; the products round.
struct SigmoidTable {
    int16_t a[32], b[32], c[32];  // a and b are zero from 16 on
};

// Per channel arrays are padded with zeros to whole vectors; low = high = 0 keeps padding at zero. Where sites
// are narrower than a vector they repeat, as FinishArgs::stride says.
struct ActivationArgs {
    ActivationKind kind = ActivationKind::none;
    const int16_t *low = nullptr, *high = nullptr;  // the result is clamped to these; null: it is not
    const int16_t* slope = nullptr;                 // a in 1/2**15; of elu in 1
    const int16_t *limit = nullptr, *left = nullptr, *right = nullptr;
    // The product u * S as halves of sixteen bits: min(max(high half, -bound), bound) * gain
    // + min(low half + rounding, 65535) * gain / 2**16, with gain 2**(k + 1) and rounding 2**(14 - k).
    const int16_t *gain = nullptr, *bound = nullptr, *rounding = nullptr;
    const SigmoidTable* table = nullptr;  // null: the line
    int16_t line_slope = 0, line_start = 0;  // of t, and at t = 0, in 1/2**15
    int16_t scale = 0, start = 0;            // m in 1/2**15, and k
    const uint8_t* lookup = nullptr;         // [lookup_entries]
    int16_t first = 0;
    bool coarser = false;  // some t is coarser than u: without, t = u * right / 2**15
    bool finer = false;    // some k is not zero: without, y = u * S / 2**15
};

// Where results will be compared and held. Sites lie where no stream of addresses leads, so kernels prefetch them piece
// by piece: all at once they would wait for each other.
struct HeldSites {
    int16_t* codes = nullptr;
    const int64_t* at = nullptr;  // [sites] elements from codes
    // Not null: nothing is compared. Results, clamped to these [channels], go there and not to y.
    const int16_t *low = nullptr, *high = nullptr;
    bool capped = true;  // some of high is below 32767

    // EVERY: there are codes, and every site has its place.
    template <bool EVERY = false>
    MQ_INLINE void prefetch(int32_t site, int32_t channel) const {
        if (EVERY || (codes && at[site] >= 0)) __builtin_prefetch(codes + at[site] + channel);
    }
    // False for codes of a line that those before them have fetched.
    static MQ_INLINE bool begins_line(int32_t channel) { return channel % 32 == 0; }
};

// Sixteen or more outputs at once, one group of inputs: packed weights.
struct ConvBlock {
    const int16_t* weights;  // [pairs][outputs in kernel order][2]
    // In kernel order; bias holds the rounding too. Of scaled sums it does not, and shift holds the bits of floats below
    // one: y = saturate16(rint(float(sum) * factor)), rounded to nearest even.
    const int32_t *bias, *shift;
    int32_t x_first;  // first input channel
    int32_t y_first;  // first output channel
    int32_t outputs;  // of this block as packed
};

// Values of a window that follow each other.
struct WindowRun {
    int32_t at, length;  // elements from the window's first value
};

// y[i] = saturate16((bias + sum over taps and channels of weight * x) >> shift) for listed sites.
struct ConvArgs {
    const int16_t* x;
    const int32_t* at;      // [sites] elements from x to the window's first value
    int32_t sites;
    const WindowRun* runs;  // one of odd length is filled up to pairs with any value, whose weights are zero
    int32_t run_count;
    const ConvBlock* blocks;
    int32_t block_count;
    int16_t* y;             // [sites][y_stride]; blocks write over what follows them, in order
    int32_t y_stride;
    HeldSites held;
    bool scaled = false;    // see ConvBlock
};

// Windows of listed sites as bytes, for conv_bytes: what codes are beyond `least`, which is 0 to 255. Every run is
// filled up to a multiple of four with bytes of any value, whose weights are zero.
struct ByteArgs {
    const int16_t* x;   // every run readable to whole vectors
    const int32_t* at;  // [sites] elements from x to the window's first value
    int32_t sites;
    const WindowRun* runs;
    int32_t run_count;
    int16_t least;
    int32_t depth;   // bytes of a window
    uint8_t* bytes;  // [sites][depth], writable to whole vectors
};

MQ_INLINE int32_t byte_run(int32_t length) { return (length + 3) / 4 * 4; }

// Tiles of two by two outputs of a 3x3 convolution. Weights are 4 G w G' with Winograd's matrix G of F(2x2, 3x3), so
// that they are whole and sums come out fourfold: bias is fourfold and shift two more. Integers wrap around, so nothing
// is lost as long as fourfold sums fit 32 bits, and sums of four inputs 16.
struct WinogradArgs {
    const int16_t* x;
    const int32_t* at;   // [tiles] elements from x to the first of a tile's 4x4 inputs
    int32_t tiles;
    int32_t row, column;  // elements between its rows and columns
    int32_t inputs;      // channels, readable to whole vectors
    const ConvBlock* blocks;  // weights [16][pairs of inputs][outputs in kernel order][2]
    int32_t block_count;
    int16_t* y;
    const int32_t* y_at;  // [tiles][4] elements to the outputs, writable to whole blocks without reaching others
    int16_t* scratch;     // winograd_scratch(inputs) codes
    HeldSites held;       // [tiles][4]; -1: that site goes nowhere but to y
    bool scaled = false;
};

constexpr int32_t winograd_tiles = 12;  // that are transformed at once

MQ_INLINE int32_t winograd_row(int32_t inputs) { return (inputs + 31) / 32 * 32; }
MQ_INLINE int64_t winograd_scratch(int32_t inputs) { return int64_t(16) * winograd_tiles * winograd_row(inputs); }

constexpr int32_t depthwise_block = 32;  // channels that are computed one way

// How depthwise sums are computed.
//   wide    int32 sums, then a shift
//   narrow  rounding sixteen-bit products, in two saturating sums of even and odd taps, the bias in the first
//   doubled the same, after which some channels are doubled, whose sums are in units twice as large
enum class DepthwiseSums : uint8_t { wide, narrow, doubled };

// Depthwise: y[i][c] = bias[c] + sum over taps of weight[tap][c] * x[tap][c].
struct DepthwiseArgs {
    const int16_t* x;             // every tap readable to whole vectors
    const int32_t* at;
    int32_t sites;
    const int32_t* tap;
    int32_t taps;
    int32_t window;               // taps are a window of so many rows and columns, 3 or 5; 0: they lie anywhere
    int32_t tap_row, tap_column;  // elements between these
    const DepthwiseSums* sums;    // [channels / depthwise_block], rounded up
    // Of full blocks of channels, one after the other, room for an even number of taps: narrow [taps][channels]; wide
    // [pairs of taps][channels in kernel order][2], zero for none.
    const int16_t* weights;
    const int16_t *narrow_bias, *twice;  // [channels] narrow ones; -1: it is doubled; 0
    const int32_t *bias, *shift;  // [channels] wide ones, in kernel order of full blocks; bias holds the rounding too
    int32_t channels;
    int16_t* y;                   // [sites][y_stride]
    int32_t y_stride;
    HeldSites held;
    bool scaled = false;          // of wide ones, see ConvBlock
};

// What follows a sum: the activation, and the gate, which says which sites' new codes replace the held ones:
// those where the sum over channels of clamp(weight * (new - held) / 2**15)**2 is beyond the limit.
struct FinishArgs {
    int16_t* fresh;           // [sites][stride] sums in; codes out where there is a gate; usable to whole vectors
    int32_t stride;           // 8, 16 or a multiple of 32
    ActivationArgs activation;
    int16_t* held;            // readable to whole vectors
    const int64_t* held_at;   // [sites] elements from held
    int32_t sites, channels;
    const int16_t* weight;    // padded with zeros; null: every site is taken
    int16_t largest;          // products are clamped to it, so that their squares cannot overflow
    int32_t limit;
    uint8_t* taken;           // [sites] 0 or 1
};

// Pixels of a graph input that come as planes, through their gate. Codes are held twice: as planes, to be
// compared with, and as sites, to be read. Blocks of two by two pixels are compared and taken together, as noise
// differs from pixel to pixel and what matters does not; at an odd edge what there is of a block.
struct InputRowArgs {
    // Planes of one row, then those of the next; of floats, or of pixels that stand for
    // pixel * factor + offset of their channel, rounded after each.
    const float* x[8];
    const uint8_t* pixel[8];
    bool pixels;
    const float *factor, *offset;
    // [channels] Codes are made of value * scale + shift, rounded after each; null: of the value.
    const float *scale, *shift;
    int32_t width, channels;  // at most 4
    int32_t rows;             // that are compared: 1 or 2
    int64_t next_x, next_plane;  // elements to the rows that are compared next
    const float* inverse;     // [channels] codes per unit
    int16_t least_code, largest_code;
    int16_t* plane[8];        // readable and writable to whole vectors
    int16_t* site;            // [width][stride], the same
    int32_t stride;           // between sites: their channels, or 2 or 4
    const int16_t* weight;    // [channels]; null: every pixel is taken
    int16_t largest;
    int32_t limit;
    uint64_t* taken;          // one bit per pixel of a row
};

// Where an operand's codes lie for every site, and how they are brought to the exponents of a sum: clamped to
// +-limit, times left, times right / 2**15. Both factors are negative, so that 1 can be expressed; left is
// positive where the operand is subtracted.
struct OperandArgs {
    const int16_t* x;
    const int64_t* at;  // [sites] elements from x
    const int16_t *limit, *left, *right;
};

//   align    u = a'
//   sum      u = saturate16(a' + b')
//   product  u = saturate16((a * b + start) >> shift)
// of codes that are whole steps, one number for all channels:
//   blend    u = saturate16((a * factors.a + b * factors.b + half) >> places)
//   scaled   u = saturate16((a * b * factors.a + half) >> places)
enum class CombineKind : int32_t { align, sum, product, blend, scaled };

// None of the sums may overflow 32 bits, whatever the codes.
struct WholeFactors {
    int32_t a = 0, b = 0;
    int32_t places = 0;  // half is 2**(places - 1)

    MQ_INLINE int32_t half() const { return places ? 1 << (places - 1) : 0; }
};

// y[i] = activation(u) of one or two operands at listed sites.
struct CombineArgs {
    CombineKind kind;
    int32_t sites;
    OperandArgs a, b;
    const int32_t *start, *shift;  // in kernel order of full blocks; start holds the rounding too
    WholeFactors factors;
    int32_t channels;
    int16_t* y;        // [sites][y_stride]; whole vectors are read and written, in order
    int32_t y_stride;
    HeldSites held;
};

// What windows read along one axis, for every output of it.
struct WindowTaps {
    int32_t taps;
    const int32_t* at;      // [outputs][taps] elements from the first row or site; where there is none, of another
    const int32_t* weight;  // [outputs][taps], 0 where there is none
    const float* scale;     // [outputs]
};

// What output sites are made of: the largest codes of a window, or round(scale * factor[c] * sum(weight * x)), with
// scales and weights those of the row times those of the column.
struct SiteWindowArgs {
    const int16_t* x;
    int32_t sites, channels;
    const int32_t *row, *column;  // [sites] of the output
    WindowTaps rows, columns;
    bool weighted;           // weights are in 1/2**15, their product is rounded to that; else they are 0 or 1
    const float* factor;     // padded with zeros
    int16_t limit;           // results are clamped to +-limit
    int16_t* y;              // [sites][y_stride]; whole blocks of 32 are written, in order
    int32_t y_stride;
    HeldSites held;
};

constexpr int32_t decoded_together = 16;  // channels

// y[i][c] = x[i][c] * unit[c].
struct DecodeArgs {
    const int16_t* x;   // [sites][x_stride], every site readable to whole sixteens
    int32_t x_stride;
    const float* unit;  // [channels], readable to whole sixteens
    float* y;           // [sites][y_stride]
    int32_t y_stride;
    int32_t sites, channels;
};

// What one instruction set provides for codes.
struct SiteKernels {
    int32_t conv_outputs;  // outputs of a full block
    int32_t conv_half;     // outputs of a last, smaller block; equal where there is none
    // Position of a block's output in kernel order -> its natural position.
    int32_t (*order)(int32_t position, int32_t outputs);
    void (*conv)(const ConvArgs&);
    void (*winograd)(const WinogradArgs&);  // null: conv does all sites
    void (*take_bytes)(const ByteArgs&);    // null: there are no products of bytes
    // As conv, of bytes: what ConvArgs calls pairs are four unsigned bytes of a window, and four signed ones of weights.
    void (*conv_bytes)(const ConvArgs&);
    void (*depthwise)(const DepthwiseArgs&);
    void (*finish)(const FinishArgs&);
    // Pixels [width][channels], 2 to 4 channels, as planes that begin `pitch` elements after each other.
    void (*split_floats)(const float* pixels, int32_t width, int32_t channels, float* planes, int64_t pitch);
    void (*split_bytes)(const uint8_t* pixels, int32_t width, int32_t channels, uint8_t* planes, int64_t pitch);
    // Marks the pixels to take, of all rows alike, and writes nothing else; false where some are not finite.
    bool (*input_compare)(const InputRowArgs&);
    // Takes the marked pixels of the first row.
    void (*input_take)(const InputRowArgs&);
    // Rounded to nearest even, clamped to least and largest.
    void (*encode)(const float* x, const float* inverse, int16_t least, int16_t largest, int16_t* y, int32_t channels);
    void (*decode)(const DecodeArgs&);
    void (*combine)(const CombineArgs&);
    void (*window_largest)(const SiteWindowArgs&);
    void (*window_sum)(const SiteWindowArgs&);
    // y[c] = x[c * step]; x is readable one step further.
    void (*take_strided)(const int16_t* x, int32_t step, int16_t* y, int32_t channels);
};

const SiteKernels& site_kernels_scalar();
const SiteKernels& site_kernels_avx2();
const SiteKernels& site_kernels_avx2_vnni();
const SiteKernels& site_kernels_avx512();

}  // namespace mquans
