// Around the products of a layer: quantize and compare, epilogue.
#include <vector>

#include "tests/check.h"

namespace mquans::test {
namespace {

struct QuantizeCase {
    int32_t rows, width, channels, groups, stride;
    float limit;
    bool hold;
    double dirty;
    int64_t row_capacity() const { return int64_t(width) * groups * padded(channels / groups, 2) + 32; }
};

struct Rule {
    Rule(const QuantizeCase& c, Random& random)
        : inverse_delta(3 * c.channels + 64), offset(3 * c.channels + 64), mask(3 * c.channels + 64),
          threshold(3 * c.channels + 64) {
        for (int64_t i = 0; i < offset.size(); ++i) {
            const int32_t step = 1 << random.integer(0, 7);
            const bool first = i < c.channels;
            inverse_delta[i] = first ? random.real(0.5f, 40.0f) : inverse_delta[i - c.channels];
            offset[i] = !first ? offset[i - c.channels] : int16_t(c.hold ? 0 : step / 2);
            mask[i] = !first ? mask[i - c.channels] : int16_t(c.hold ? -1 : -step);
            threshold[i] = !first ? threshold[i - c.channels] : int16_t(c.hold ? step / 2 : 0);
        }
    }
    Buffer<float> inverse_delta;
    Buffer<int16_t> offset, mask, threshold;
};

// What a call changes.
struct Quantized {
    Quantized(const QuantizeCase& c, Random& random)
        : held(int64_t(c.rows) * c.width * c.channels, slack),
          begin(int64_t(c.rows) * c.width * c.groups),
          count(int64_t(c.rows) * c.width * c.groups, 0, 7),
          channel(c.row_capacity() * c.rows, 64, 0x7777),
          delta(c.row_capacity() * c.rows, 64, 0x7777),
          pixels(c.rows, c.width, 0.5, random),
          row_changed(c.rows, 0, -1) {
        held.fill([&] { return random.integer(-int32_t(c.limit), int32_t(c.limit)); });
    }
    Quantized(const Quantized&) = default;

    QuantizeArgs arguments(const QuantizeCase& c, const Rule& rule, const Buffer<float>& x, const Mask& dirty,
                           int32_t first) const {
        return {{x.data(), c.rows, c.width, c.channels, c.stride}, dirty.view, held.data(),
                rule.inverse_delta.data(), c.limit, rule.offset.data(), rule.mask.data(),
                rule.threshold.data(), c.hold, c.groups,
                {begin.data(), count.data(), channel.data(), delta.data(), pixels.view}, c.row_capacity(),
                first, c.rows, row_changed.data()};
    }

    Buffer<int16_t> held;
    Buffer<uint32_t> begin;
    Buffer<uint16_t> count, channel;
    Buffer<int16_t> delta;
    Mask pixels;
    Buffer<int64_t> row_changed;
};

// Lists are compared segment by segment: where a row keeps them and what is between them is free.
void same_quantized(const QuantizeCase& c, const Quantized& expected, const Quantized& actual, int32_t first,
                    Report& report) {
    const int64_t capacity = c.row_capacity();
    report.same(expected.held, actual.held, "held");
    report.same(expected.count, actual.count, "count");
    report.same(expected.pixels.bits, actual.pixels.bits, "pixels");
    report.same(expected.row_changed, actual.row_changed, "row_changed");
    report.same(expected.channel.data(), actual.channel.data(), first * capacity, "rows outside");
    report.same(expected.delta.data(), actual.delta.data(), first * capacity, "rows outside");
    for (int64_t s = 0; s < expected.count.size(); ++s) {
        const int32_t n = padded(expected.count[s], 2), row = int32_t(s / (c.width * c.groups));
        if (row < first || !n) continue;
        const int64_t at = actual.begin[s];
        const bool inside = at >= row * capacity && at + n <= (row + 1) * capacity;
        report.check(inside, "list of another row", s);
        if (!inside) continue;
        report.same(expected.channel.data() + expected.begin[s], actual.channel.data() + at, n, "channel");
        report.same(expected.delta.data() + expected.begin[s], actual.delta.data() + at, n, "delta");
    }
}

// Values near what is held, on rounding boundaries, beyond the limit, and no numbers at all.
float input_near(int16_t held, float inverse_delta, Random& random) {
    const float specials[] = {0.0f, -0.0f, 1e30f, -1e30f, __builtin_inff(), -__builtin_inff(),
                              __builtin_nanf(""), 1e-42f};
    switch (random.integer(0, 9)) {
        case 0: return random.real(-400.0f, 400.0f);
        case 1: return (float(random.integer(-3000, 3000)) + 0.5f) / inverse_delta;
        case 2: return random.chance(0.1) ? specials[random.integer(0, 7)] : 0.0f;
        case 3: case 4: return (float(held) + random.real(-70.0f, 70.0f)) / inverse_delta;
        default: return float(held) / inverse_delta;
    }
}

// Share of values that are to stay: half, or so many that few changes share a pixel.
double unmoved(Random& random) { return random.chance(0.5) ? 0.5 : 0.97; }

void quantize_case(const QuantizeCase& c, const Tables& tables, Random& random, Report& report) {
    report.begin("%dx%dx%d groups %d stride %d limit %g hold %d dirty %g", c.rows, c.width,
                 c.channels, c.groups, c.stride, double(c.limit), c.hold, c.dirty);
    const Rule rule(c, random);
    const Mask dirty(c.rows, c.width, c.dirty, random);
    const Quantized expected(c, random), actual(expected);
    Buffer<float> x(int64_t(c.rows) * c.width * c.stride);
    const double still = unmoved(random);
    for (int64_t p = 0; p < int64_t(c.rows) * c.width; ++p)
        for (int32_t i = 0; i < c.channels; ++i) {
            const int16_t held = expected.held[p * c.channels + i];
            const float inverse_delta = rule.inverse_delta[i];
            x[p * c.stride + i] =
                random.chance(still) ? float(held) / inverse_delta : input_near(held, inverse_delta, random);
        }
    const int32_t first = c.rows > 2 ? 1 : 0;
    tables.scalar.quantize(expected.arguments(c, rule, x, dirty, first));
    tables.tested.quantize(actual.arguments(c, rule, x, dirty, first));
    same_quantized(c, expected, actual, first, report);
}

bool quantize(const Tables& tables) {
    Report report("quantize");
    Random random(1);
    const auto variants = [&](int32_t rows, int32_t width, int32_t channels, int32_t groups, int32_t stride) {
        for (const bool hold : {false, true})
            for (const double dirty : shares)
                quantize_case({rows, width, channels, groups, stride, float(32 << random.integer(0, 8)), hold,
                               dirty}, tables, random, report);
    };
    for (const int32_t channels : odd_channels)
        for (const int32_t extra : {0, 3}) variants(3, 7, channels, 1, channels + extra);
    for (const int32_t channels : {1, 2, 3, 4, 8, 9, 20}) variants(2, 131, channels, 1, channels);
    for (const int32_t group : odd_channels) variants(2, 5, group * 3, 3, group * 3);
    variants(1, 3, 320, 1, 320);
    variants(3, 66, 8, 8, 8);
    return report.close();
}

struct EpilogueCase {
    int32_t rows, width, groups, group_out, stride;
    int32_t kind;  // UnaryKind, or -1 for no activation
    double share;
};

// Random accumulators and what turns them into floats.
struct Accumulated {
    Accumulated(const EpilogueCase& c, Random& random)
        : group_stride(padded(c.group_out, 16)),
          acc(int64_t(c.rows) * c.width * c.groups * group_stride, slack),
          scale(c.groups * group_stride, 32), bias(c.groups * group_stride, 32),
          active(c.rows, c.width, c.share, random) {
        acc.fill([&] { return random.integer(INT32_MIN, INT32_MAX) >> random.integer(0, 20); });
        scale.fill([&] { return random.real(1e-6f, 1e-3f); });
        bias.fill([&] { return random.real(-4.0f, 4.0f); });
    }
    EpilogueArgs arguments(const EpilogueCase& c, int32_t first, const Buffer<float>& y) const {
        return {{acc.data(), c.groups * group_stride, group_stride}, c.groups, c.group_out, scale.data(),
                bias.data(), c.kind >= 0, UnaryKind(c.kind < 0 ? 0 : c.kind), -0.5f, 1.25f, active.view,
                {y.data(), c.rows, c.width, c.groups * c.group_out, c.stride}, first, c.rows};
    }
    int32_t group_stride;
    Buffer<int32_t> acc;
    Buffer<float> scale, bias;
    Mask active;
};

bool epilogue(const Tables& tables) {
    Report report("epilogue");
    Random random(4);
    for (int32_t kind = -1; kind <= int32_t(UnaryKind::quantize); ++kind)
        for (const int32_t group_out : {1, 5, 16, 33, 48})
            for (const int32_t groups : {1, 2}) {
                const int32_t stride = groups * group_out + (random.chance(0.5) ? 0 : 3);
                const EpilogueCase c{3, 67, groups, group_out, stride, kind, shares[random.integer(0, 3)]};
                report.begin("activation %d groups %d of %d stride %d active %g", kind, groups, group_out,
                             stride, c.share);
                const Accumulated from(c, random);
                Buffer<float> expected(int64_t(c.rows) * c.width * stride);
                expected.fill([&] { return random.real(-1.0f, 1.0f); });
                const Buffer<float> actual(expected);
                tables.scalar.epilogue(from.arguments(c, 1, expected));
                tables.tested.epilogue(from.arguments(c, 1, actual));
                report.same(expected, actual, "y");
            }
    return report.close();
}

}  // namespace

int test_quantize(const Tables& tables) {
    int wrong = quantize(tables);
    wrong += epilogue(tables);
    return wrong;
}

}  // namespace mquans::test
