// Windows of listed sites, and where results are held, as the tests of several kernels want them.
#pragma once

#include <cmath>

#include "tests/check.h"

namespace mquans::test {

// The bits of a float below one, often a power of two, by which sums lie between two integers.
inline int32_t factor_bits(Random& random) {
    const float factor = std::ldexp(random.chance(0.5) ? 0.5f : random.real(0.5f, 0.99f), -random.integer(0, 20));
    int32_t bits;
    std::memcpy(&bits, &factor, sizeof bits);
    return bits;
}

// Codes and windows anywhere in them: the last value that a window may read ends the buffer.
struct Windows {
    Windows(int32_t sites, int32_t taps, int32_t length, Random& random)
        : x(400 + length), at(sites), tap(taps) {
        x.fill([&] { return any_code(random); });
        at.fill([&] { return random.integer(0, 200); });
        tap.fill([&] { return random.integer(0, 200); });
        if (sites) at[sites - 1] = 200;
        if (taps) tap[taps - 1] = 200;
    }
    Buffer<int16_t> x;
    Buffer<int32_t> at, tap;
};

// Where sites are held, in any order, and bounds of their codes.
struct Held {
    Held(int32_t sites, int32_t channels, Random& random)
        : at(sites), low(padded(channels, vector_codes)), high(low.size()), capped(random.chance(0.7)) {
        const int32_t stride = padded(channels, 8);
        for (int32_t i = 0; i < sites; ++i) at[i] = int64_t(sites - 1 - i) * stride;
        for (int32_t c = 0; c < channels; ++c) {
            low[c] = random.chance(0.5) ? 0 : -32768;
            high[c] = int16_t(capped && random.chance(0.5) ? random.integer(0, 32766) : 32767);
        }
        codes = std::make_unique<Buffer<int16_t>>(int64_t(sites) * stride, vector_codes);
    }
    HeldSites view(const Buffer<int16_t>& of) const {
        return {of.data(), at.data(), low.data(), high.data(), capped};
    }

    Buffer<int64_t> at;
    Buffer<int16_t> low, high;
    bool capped;
    std::unique_ptr<Buffer<int16_t>> codes;
};

}  // namespace mquans::test
