// The same arithmetic code by code: what the vector kernels must equal.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "mquans/codes.h"

namespace mquans::MQ_ISA {

static inline int16_t saturate(int32_t x) { return int16_t(std::clamp(x, -32768, 32767)); }
// By a float of these bits.
static inline int32_t scaled(int32_t sum, int32_t bits) {
    float factor;
    std::memcpy(&factor, &bits, sizeof factor);
    return int32_t(__builtin_rintf(float(sum) * factor));
}
static inline int16_t rounding_product(int16_t a, int16_t b) { return int16_t((int32_t(a) * b + 0x4000) >> 15); }

// A code of a site: to y, or straight to where it is held.
static inline void store_code(const HeldSites& held, int32_t site, int32_t c, int16_t code, int16_t* y) {
    if (held.low)
        held.codes[held.at[site] + c] = std::clamp(code, held.low[c], held.high[c]);
    else
        y[c] = code;
}

static inline int16_t argument(const ActivationArgs& args, int16_t u, int32_t c) {
    int16_t t = u;
    if (args.coarser) t = int16_t(std::clamp<int32_t>(u, -args.limit[c], args.limit[c]) * args.left[c]);
    return rounding_product(t, args.right[c]);
}

// S(|t|) by the table.
static inline int16_t tabulated(const SigmoidTable& table, int32_t size) {
    const int32_t i = size >> 10;
    const int16_t f = int16_t((size & 1023) << 5);
    const int16_t slope = int16_t(table.b[i] + rounding_product(f, table.a[i]));
    return int16_t(table.c[i] + rounding_product(f, slope));
}

static inline int16_t share(const ActivationArgs& args, int16_t u, int32_t c) {
    const int16_t t = argument(args, u, c);
    if (!args.table) {
        const int16_t line = saturate(rounding_product(t, args.line_slope) + args.line_start);
        return std::max<int16_t>(line, 0);
    }
    const int16_t s = tabulated(*args.table, std::abs(int32_t(t)));
    return t < 0 ? int16_t(32767 - s) : s;
}

static inline int16_t activated(const ActivationArgs& args, int16_t u, int32_t c) {
    int16_t y = u;
    switch (args.kind) {
        case ActivationKind::none: break;
        case ActivationKind::slope:
            if (u < 0) y = rounding_product(u, args.slope[c]);
            break;
        case ActivationKind::gate: {
            if (!args.finer) {
                y = rounding_product(u, share(args, u, c));
                break;
            }
            const int32_t product = u * share(args, u, c);
            const int32_t high = std::clamp<int32_t>(product >> 16, -args.bound[c], args.bound[c]);
            const int32_t low = std::min((product & 0xffff) + args.rounding[c], 0xffff);
            y = int16_t(high * args.gain[c] + (low * args.gain[c] >> 16));
            break;
        }
        case ActivationKind::elu:
            if (u < 0) {
                const int16_t root = tabulated(*args.table, std::abs(int32_t(argument(args, u, c))));
                y = rounding_product(int16_t(32767 - rounding_product(root, root)), args.slope[c]);
            }
            break;
        case ActivationKind::lookup:
            y = int16_t(args.lookup[std::clamp<int32_t>(u - args.first, 0, lookup_entries - 1)] + args.start);
            break;
        case ActivationKind::curve: y = saturate(rounding_product(share(args, u, c), args.scale) + args.start); break;
    }
    return args.low ? std::min(std::max(y, args.low[c]), args.high[c]) : y;
}

}  // namespace mquans::MQ_ISA
