// Quantize and compare a float tensor.
#include "kernels/kernels_isa.h"
#include "kernels/quantize/rows.h"

namespace mquans::MQ_ISA {
namespace {

MQ_FORCE Grid on_grid(const Rule& rule, const Values& x, int32_t c) {
    return rounded(clamp(times(x, rule.inverse_delta + c), -rule.limit, rule.limit));
}

// Several groups, each with lists of its own.
template <bool HOLD>
void grouped(const QuantizeArgs& a, int32_t r) {
    const Rule rule(a);
    const ChangeList changes = a.changes;
    const TensorView view = a.x;
    const int32_t channels = view.channels, groups = a.groups, group = channels / groups;
    int16_t* const all_held = a.held;
    uint32_t at = uint32_t(r * a.row_capacity);
    int64_t changed_in_row = 0;
    const int64_t row_pixel = int64_t(r) * view.width;
    uint64_t* pixels = changes.pixels.row(r);
    for_each_pixel(a.dirty.row(r), a.dirty.words(), [&](int32_t x) {
        const float* values = view.pixel(row_pixel + x);
        int16_t* held = all_held + (row_pixel + x) * channels;
        int32_t total = 0;
        for (int32_t g = 0; g < groups; ++g) {
            const int32_t count = compare_segment<HOLD, 0>(
                rule, held + g * group, g * group, group, changes.channel + at, changes.delta + at,
                [=](int32_t c, int32_t n) { return on_grid(rule, load_values(values + c, n), c); });
            at = close(changes, (row_pixel + x) * groups + g, at, count);
            total += count;
        }
        pixels[x >> 6] |= uint64_t(total != 0) << (x & 63);
        changed_in_row += total;
    });
    a.row_changed[r] = changed_in_row;
}

// A camera image has 1 or 3 channels: a vector then spans several pixels. Runs of dirty pixels are
// compared as one array, whose changed values are noted bit by bit and then listed pixel by pixel.
// The tables repeat every `channels`.
constexpr int32_t narrow_channels = 8;
constexpr int32_t narrow_pixels = 256;

struct Noted {
    uint8_t changed[narrow_pixels * narrow_channels / 8 + 1];  // read two bytes at a time
    int16_t delta[narrow_pixels * narrow_channels + step];

    // Of the values [first, first + n), n <= 8.
    MQ_INLINE uint32_t at(int32_t first, int32_t n) const {
        uint16_t word;
        std::memcpy(&word, changed + (first >> 3), 2);
        return uint32_t(word) >> (first & 7) & ((1u << n) - 1);
    }
};

template <bool HOLD>
MQ_FORCE void note(const Rule& rule, const float* values, int16_t* held, int32_t channels, int32_t n,
                   Noted& noted) {
    for (int32_t i = 0, c = 0; i < n; i += step) {
        Delta delta;
        const Grid q = on_grid(rule, load_values(values + i, n - i), c);
        const Bits changed = bits_of(compare<HOLD>(rule, q, held + i, c, n - i, delta));
        std::memcpy(noted.changed + i / 8, &changed, step / 8);
        std::memcpy(noted.delta + i, &delta, sizeof(delta));
        c += step % channels;
        if (c >= channels) c -= channels;
    }
}

template <bool HOLD>
void narrow(const QuantizeArgs& a, int32_t r) {
    const Rule rule(a);
    const ChangeList changes = a.changes;
    const TensorView view = a.x;
    const int32_t channels = view.channels;
    int16_t* const all_held = a.held;
    uint32_t at = uint32_t(r * a.row_capacity);
    int64_t changed_in_row = 0;
    const int64_t row_pixel = int64_t(r) * view.width;
    uint64_t* pixels = changes.pixels.row(r);
    Noted noted;
    for_each_run(a.dirty.row(r), view.width, [&](int32_t first, int32_t last) {
        for (int32_t x = first; x < last; x += narrow_pixels) {
            const int32_t count = last - x < narrow_pixels ? last - x : narrow_pixels;
            note<HOLD>(rule, view.pixel(row_pixel + x), all_held + (row_pixel + x) * channels,
                             channels, count * channels, noted);
            for (int32_t i = 0; i < count; ++i) {
                const uint32_t bits = noted.at(i * channels, channels);
                const int32_t n = __builtin_popcount(bits);
                changes.count[row_pixel + x + i] = uint16_t(n);
                pixels[(x + i) >> 6] |= uint64_t(n != 0) << ((x + i) & 63);
                changed_in_row += n;
                changes.begin[row_pixel + x + i] = at;
                for (uint32_t b = bits; b; b &= b - 1) {
                    const int32_t c = __builtin_ctz(b);
                    changes.channel[at] = uint16_t(c);
                    changes.delta[at++] = noted.delta[i * channels + c];
                }
                changes.channel[at] = 0;
                changes.delta[at] = 0;
                at += n & 1;
            }
        }
    });
    a.row_changed[r] = changed_in_row;
}

template <bool HOLD>
void rows(const QuantizeArgs& a, bool flat) {
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        clear_row(a.changes, r, a.x.width * a.groups);
        flat ? narrow<HOLD>(a, r) : grouped<HOLD>(a, r);
    }
}

}  // namespace

void quantize(const QuantizeArgs& a) {
    const bool flat = a.groups == 1 && a.x.channels <= narrow_channels && a.x.stride == a.x.channels;
    if (a.groups == 1 && !flat) {
        const Rule rule(a);
        const TensorView x = a.x;
        return compare_pixels(a, [=](int64_t p) {
            const float* values = x.pixel(p);
            return [=](int32_t c, int32_t n) { return on_grid(rule, load_values(values + c, n), c); };
        });
    }
    a.hold ? rows<true>(a, flat) : rows<false>(a, flat);
}

}  // namespace mquans::MQ_ISA
