// Windows of output sites, a register or two of channels over all taps. Written in the compiler's own vectors.
#include <cstring>

#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

// Codes at once.
#if defined(__AVX512F__)
constexpr int block = 32;
#elif defined(__AVX2__)
constexpr int block = 16;
#else
constexpr int block = 8;
#endif
typedef int16_t Block __attribute__((vector_size(2 * block)));
typedef int16_t Half __attribute__((vector_size(block)));
typedef int32_t Sums __attribute__((vector_size(2 * block)));
typedef float Reals __attribute__((vector_size(2 * block)));
typedef int32_t Words __attribute__((vector_size(32)));
constexpr int eight = 8;
typedef int16_t Eight __attribute__((vector_size(2 * eight)));

template <class V, class T>
MQ_INLINE void load(const T* p, V& v) {
    std::memcpy(&v, p, sizeof v);
}

// Of channels from c on. TAPS along a row; 0: any number.
template <int TAPS, class V>
MQ_INLINE void largest(const SiteWindowArgs& args, const int32_t* line, const int32_t* at, int32_t c, int16_t* y) {
    const int32_t rows = args.rows.taps, columns = TAPS ? TAPS : args.columns.taps;
    V most, x;
    load(args.x + line[0] + at[0] + c, most);
    for (int32_t k = 0; k < rows; ++k) {
        const int16_t* from = args.x + line[k] + c;
        for (int32_t l = 0; l < columns; ++l) {
            load(from + at[l], x);
            most = x > most ? x : most;
        }
    }
    std::memcpy(y + c, &most, sizeof most);
}

// Arguments are copied: stores might change them. Codes that are held may not be written over behind the last channel;
// the largest of some codes is as bounded as they are.
template <int TAPS>
void largest(const SiteWindowArgs args) {
    const bool straight = args.held.low;
    int16_t* fresh = args.y;
    for (int32_t i = 0; i < args.sites; ++i, fresh += args.y_stride) {
        const int32_t* line = args.rows.at + int64_t(args.row[i]) * args.rows.taps;
        const int32_t* at = args.columns.at + int64_t(args.column[i]) * args.columns.taps;
        int16_t* y = straight ? args.held.codes + args.held.at[i] : fresh;
        int32_t c = 0;
        for (; c < (straight ? args.channels - block + 1 : args.channels); c += block) {
            args.held.prefetch(i, c);
            largest<TAPS, Block>(args, line, at, c, y);
        }
        for (; c < args.channels; c += eight) largest<TAPS, Eight>(args, line, at, c, y);
    }
}

MQ_INLINE void round_codes(const Sums& sums, float scale, const float* factor, float high, int16_t* y) {
    Reals factors;
    load(factor, factors);
    const Reals real = __builtin_convertvector(sums, Reals) * (scale * factors);
    for (int k = 0; k < block / 2; ++k) {
        float code = __builtin_rintf(real[k]);
        code = code < high ? code : high;
        y[k] = int16_t(int32_t(code > -high ? code : -high));
    }
}

template <bool WEIGHTED>
void sum(const SiteWindowArgs args) {
    const int32_t rows = args.rows.taps, columns = args.columns.taps;
    int16_t* y = args.y;
    for (int32_t i = 0; i < args.sites; ++i, y += args.y_stride) {
        const int64_t row = int64_t(args.row[i]) * rows, column = int64_t(args.column[i]) * columns;
        const float scale = args.rows.scale[args.row[i]] * args.columns.scale[args.column[i]];
        for (int32_t c = 0; c < args.channels; c += block) {
            args.held.prefetch(i, c);
            Sums low = {}, high = {};
            for (int32_t k = 0; k < rows; ++k) {
                const int32_t of_row = args.rows.weight[row + k];
                if (!of_row) continue;
                const int16_t* from = args.x + args.rows.at[row + k] + c;
                for (int32_t l = 0; l < columns; ++l) {
                    int32_t weight = args.columns.weight[column + l];
                    if (!weight) continue;
                    Half first, second;
                    load(from + args.columns.at[column + l], first);
                    load(from + args.columns.at[column + l] + block / 2, second);
                    const Sums a = __builtin_convertvector(first, Sums), b = __builtin_convertvector(second, Sums);
                    if (WEIGHTED) weight = (weight * of_row + 0x4000) >> 15;
                    low += WEIGHTED ? a * weight : a;
                    high += WEIGHTED ? b * weight : b;
                }
            }
            round_codes(low, scale, args.factor + c, args.limit, y + c);
            round_codes(high, scale, args.factor + c + block / 2, args.limit, y + c + block / 2);
        }
    }
}

}  // namespace

void window_largest(const SiteWindowArgs& args) {
    switch (args.columns.taps) {
        case 2: return largest<2>(args);
        case 3: return largest<3>(args);
        default: return largest<0>(args);
    }
}

void window_sum(const SiteWindowArgs& args) { args.weighted ? sum<true>(args) : sum<false>(args); }

void take_strided(const int16_t* x, int32_t step, int16_t* y, int32_t channels) {
    int32_t c = 0;
    // The low halves of 32-bit words: one instruction where there is AVX-512.
    for (; step == 2 && c + eight <= channels; c += eight) {
        Words both;
        load(x + 2 * c, both);
        const Eight even = __builtin_convertvector(both, Eight);
        std::memcpy(y + c, &even, sizeof even);
    }
    for (; c < channels; ++c) y[c] = x[c * step];
}

}  // namespace mquans::MQ_ISA
