// Sums over windows of listed sites: convolutions and depthwise ones, sums and products of tensors, pools.
#include <algorithm>
#include <climits>
#include <cmath>

#include "tests/check.h"

namespace mquans::test {
namespace {

// The bits of a float below one, often a power of two, by which sums lie between two integers.
int32_t factor_bits(Random& random) {
    const float factor = std::ldexp(random.chance(0.5) ? 0.5f : random.real(0.5f, 0.99f), -random.integer(0, 20));
    int32_t bits;
    std::memcpy(&bits, &factor, sizeof bits);
    return bits;
}

// Weights [outputs][taps][inputs of a group] with bias and shift, packed for one set's kernels.
struct ConvCase {
    int32_t groups, inputs, outputs, taps;  // of one group
    std::vector<int16_t> weights;
    std::vector<int32_t> bias, shift;
    bool scaled;

    ConvCase(int32_t groups, int32_t inputs, int32_t outputs, int32_t taps, Random& random)
        : groups(groups), inputs(inputs), outputs(outputs), taps(taps),
          weights(int64_t(groups) * outputs * taps * inputs), scaled(random.chance(0.3)) {
        const int32_t most = std::min(32767, (1 << 15) / (std::max(1, taps * inputs) + 1));
        for (int16_t& w : weights) w = int16_t(random.integer(-most, most));
        for (int32_t o = 0; o < groups * outputs; ++o) {
            bias.push_back(random.integer(-(1 << 29), 1 << 29));
            shift.push_back(scaled ? factor_bits(random) : random.integer(0, 30));
        }
    }
    int32_t pairs() const { return (inputs + 1) / 2; }
    int32_t channels() const { return groups * outputs; }
    // One block may write over the sites behind, which follow it; several may not.
    int32_t y_stride(int32_t blocks) const {
        if (blocks > 1) return padded(channels(), vector_codes) + vector_codes;
        return channels() <= 8 ? 8 : channels() <= 16 ? 16 : padded(channels(), vector_codes);
    }
};

struct PackedConv {
    PackedConv(const ConvCase& c, const SiteKernels& kernels) : weights(size(c, kernels)) {
        std::vector<int32_t> all_bias, all_shift;
        int16_t* at = weights.data();
        for (int32_t g = 0; g < c.groups; ++g)
            for (int32_t first = 0; first < c.outputs;) {
                const int32_t n = block_size(c.outputs - first, kernels);
                ConvBlock block{at, nullptr, nullptr, g * c.inputs, g * c.outputs + first, n};
                for (int32_t t = 0; t < c.taps; ++t)
                    for (int32_t p = 0; p < c.pairs(); ++p)
                        for (int32_t position = 0; position < n; ++position)
                            for (int32_t k = 0; k < 2; ++k)
                                *at++ = weight(c, g, first + kernels.order(position, n), t, 2 * p + k);
                for (int32_t position = 0; position < n; ++position) {
                    const int32_t o = first + kernels.order(position, n);
                    all_bias.push_back(o < c.outputs ? c.bias[g * c.outputs + o] : 0);
                    all_shift.push_back(o < c.outputs ? c.shift[g * c.outputs + o] : 0);
                }
                blocks.push_back(block);
                first += n;
            }
        bias = std::make_unique<Buffer<int32_t>>(int64_t(all_bias.size()));
        shift = std::make_unique<Buffer<int32_t>>(int64_t(all_bias.size()));
        std::copy(all_bias.begin(), all_bias.end(), bias->data());
        std::copy(all_shift.begin(), all_shift.end(), shift->data());
        int64_t done = 0;
        for (ConvBlock& block : blocks) {
            block.bias = bias->data() + done;
            block.shift = shift->data() + done;
            done += block.outputs;
        }
    }

    static int32_t block_size(int32_t left, const SiteKernels& kernels) {
        return left <= kernels.conv_half ? kernels.conv_half : kernels.conv_outputs;
    }
    static int64_t size(const ConvCase& c, const SiteKernels& kernels) {
        int64_t outputs = 0;
        for (int32_t first = 0; first < c.outputs; first += block_size(c.outputs - first, kernels))
            outputs += block_size(c.outputs - first, kernels);
        return c.groups * outputs * c.taps * c.pairs() * 2;
    }
    static int16_t weight(const ConvCase& c, int32_t g, int32_t o, int32_t t, int32_t i) {
        if (o >= c.outputs || i >= c.inputs) return 0;
        return c.weights[((int64_t(g) * c.outputs + o) * c.taps + t) * c.inputs + i];
    }

    Buffer<int16_t> weights;
    std::unique_ptr<Buffer<int32_t>> bias, shift;
    std::vector<ConvBlock> blocks;
};

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
        : at(sites), low(padded(channels, vector_codes)), high(low.size()) {
        const int32_t stride = padded(channels, 8);
        for (int32_t i = 0; i < sites; ++i) at[i] = int64_t(sites - 1 - i) * stride;
        for (int32_t c = 0; c < channels; ++c) {
            low[c] = random.chance(0.5) ? 0 : -32768;
            high[c] = int16_t(random.chance(0.5) ? 32767 : random.integer(0, 32767));
        }
        codes = std::make_unique<Buffer<int16_t>>(int64_t(sites) * stride, vector_codes);
    }
    HeldSites view(const Buffer<int16_t>& of) const { return {of.data(), at.data(), low.data(), high.data()}; }

    Buffer<int64_t> at;
    Buffer<int16_t> low, high;
    std::unique_ptr<Buffer<int16_t>> codes;
};

void conv_case(const ConvCase& c, int32_t sites, const SiteTables& tables, Random& random, Report& report) {
    report.begin("%d groups of %d to %d, %d taps, %d sites", c.groups, c.inputs, c.outputs, c.taps, sites);
    const Windows windows(sites, c.taps, (c.groups - 1) * c.inputs + 2 * c.pairs(), random);
    const PackedConv natural(c, tables.scalar), packed(c, tables.tested);
    const int32_t stride = c.y_stride(int32_t(std::max(natural.blocks.size(), packed.blocks.size())));
    const Buffer<int16_t> expected(int64_t(sites) * stride, vector_codes), actual(expected);
    Buffer<int32_t> pair_at(c.taps * c.pairs());
    for (int32_t i = 0; i < c.taps * c.pairs(); ++i) pair_at[i] = windows.tap[i / c.pairs()] + 2 * (i % c.pairs());
    const auto run = [&](const SiteKernels& kernels, const PackedConv& conv, const Buffer<int16_t>& y,
                         const HeldSites& held) {
        kernels.conv({windows.x.data(), windows.at.data(), sites, pair_at.data(), c.taps * c.pairs(),
                      conv.blocks.data(), int32_t(conv.blocks.size()), y.data(), stride, held, c.scaled});
    };
    run(tables.scalar, natural, expected, {});
    run(tables.tested, packed, actual, {});
    for (int32_t i = 0; i < sites; ++i)
        report.same(expected.data() + int64_t(i) * stride, actual.data() + int64_t(i) * stride, c.channels(), "codes");
    if (c.outputs % 16) return;
    const Held held(sites, c.channels(), random);
    const Buffer<int16_t> expected_held(*held.codes), actual_held(*held.codes);
    run(tables.scalar, natural, expected, held.view(expected_held));
    run(tables.tested, packed, actual, held.view(actual_held));
    report.same(expected_held.data(), actual_held.data(), int32_t(actual_held.size()), "held codes");
}

bool convolutions(const SiteTables& tables) {
    Report report("conv_sites");
    Random random(12);
    for (int32_t sites = 0; sites <= 26; ++sites) {
        conv_case({1, 5, 49, 3, random}, sites, tables, random, report);
        conv_case({1, 5, 7, 3, random}, sites, tables, random, report);
    }
    for (const int32_t groups : {1, 2, 5})
        for (const int32_t inputs : {1, 2, 3, 17, 32})
            for (const int32_t outputs : {1, 3, 8, 15, 16, 17, 24, 31, 32, 33, 48, 49, 96})
                for (const int32_t taps : {0, 1, 2, 9})
                    conv_case({groups, inputs, outputs, taps, random}, random.integer(1, 15), tables, random, report);
    return report.close();
}

// Weights of a 3x3 window as the kernel of tiles wants them.
ConvCase by_tiles(const ConvCase& c) {
    constexpr int32_t matrix[4][3] = {{2, 0, 0}, {1, 1, 1}, {1, -1, 1}, {0, 0, 2}};
    ConvCase result = c;
    result.taps = 16;
    result.weights.assign(int64_t(c.outputs) * 16 * c.inputs, 0);
    for (int32_t o = 0; o < c.outputs; ++o) {
        result.bias[o] *= 4;
        result.shift[o] = c.scaled ? c.shift[o] - (2 << 23) : c.shift[o] + 2;
        for (int32_t place = 0; place < 16; ++place)
            for (int32_t tap = 0; tap < 9; ++tap)
                for (int32_t i = 0; i < c.inputs; ++i)
                    result.weights[(o * 16 + place) * c.inputs + i] +=
                        int16_t(matrix[place / 4][tap / 3] * matrix[place % 4][tap % 3] *
                                c.weights[(o * 9 + tap) * c.inputs + i]);
    }
    return result;
}

// Tiles anywhere in a picture, to sites in any order, against the plain sums of single sites.
void tiles_case(int32_t inputs, int32_t outputs, int32_t tiles, const SiteTables& tables, Random& random,
                Report& report) {
    report.begin("%d to %d, %d tiles", inputs, outputs, tiles);
    ConvCase c(1, inputs, outputs, 9, random);
    for (int32_t& bias : c.bias) bias = random.integer(-(1 << 27), 1 << 27);
    for (int32_t& shift : c.shift) shift = c.scaled ? factor_bits(random) : random.integer(0, 28);
    for (int16_t& w : c.weights) w = int16_t(random.integer(-32767, 32767) / (36 * inputs));
    constexpr int32_t width = 9, rows = 7;
    const int32_t column = padded(inputs, 8), row = width * column;
    Buffer<int16_t> x(rows * row, padded(inputs, vector_codes) - column);
    x.fill([&] { return random.chance(0.1) ? (random.chance(0.5) ? 8191 : -8191) : random.integer(-8191, 8191); });
    const PackedConv natural(c, tables.scalar), packed(by_tiles(c), tables.tested);
    const int32_t stride = c.y_stride(1);
    const Buffer<int16_t> expected(int64_t(4 * tiles) * stride, vector_codes), actual(expected);
    const Buffer<int32_t> pair_at(9 * c.pairs()), at(tiles), site_at(4 * tiles), y_at(4 * tiles);
    for (int32_t i = 0; i < 9 * c.pairs(); ++i)
        pair_at[i] = i / c.pairs() / 3 * row + i / c.pairs() % 3 * column + 2 * (i % c.pairs());
    for (int32_t i = 0; i < tiles; ++i) {
        // The last one ends with the picture.
        const int32_t top = i + 1 < tiles ? random.integer(0, rows - 4) : rows - 4;
        const int32_t left = i + 1 < tiles ? random.integer(0, width - 4) : width - 4;
        at[i] = top * row + left * column;
        for (int32_t k = 0; k < 4; ++k) {
            // Sites of one tile do not follow each other.
            const int32_t site = k * tiles + i;
            site_at[site] = at[i] + k / 2 * row + k % 2 * column;
            y_at[4 * i + k] = site * stride;
        }
    }
    tables.scalar.conv({x.data(), site_at.data(), 4 * tiles, pair_at.data(), 9 * c.pairs(), natural.blocks.data(),
                        int32_t(natural.blocks.size()), expected.data(), stride, {}, c.scaled});
    const Buffer<int16_t> scratch(winograd_scratch(inputs));
    const auto run = [&](const HeldSites& held) {
        tables.tested.winograd({x.data(), at.data(), tiles, row, column, inputs, packed.blocks.data(),
                                int32_t(packed.blocks.size()), actual.data(), y_at.data(), scratch.data(), held, c.scaled});
    };
    run({});
    for (int32_t i = 0; i < 4 * tiles; ++i)
        report.same(expected.data() + int64_t(i) * stride, actual.data() + int64_t(i) * stride, outputs, "codes");
    if (outputs % 16) return;
    // One site of every tile is not held.
    const Held held(4 * tiles, outputs, random);
    for (int32_t i = 0; i < tiles; ++i) held.at[4 * i + i % 4] = -1;
    run(held.view(*held.codes));
    for (int32_t i = 0; i < 4 * tiles; ++i) {
        if (held.at[i] < 0) continue;
        int16_t* plain = expected.data() + y_at[i];
        for (int32_t o = 0; o < outputs; ++o) plain[o] = std::clamp(plain[o], held.low[o], held.high[o]);
        report.same(plain, held.codes->data() + held.at[i], outputs, "held codes");
    }
}

bool tiles(const SiteTables& tables) {
    Report report("winograd");
    Random random(21);
    for (int32_t count = 0; count <= 30; ++count) tiles_case(17, 24, count, tables, random, report);
    for (const int32_t inputs : {1, 3, 5, 12, 16, 17, 24, 33, 64, 100})
        for (const int32_t outputs : {9, 12, 16, 17, 24, 31, 32, 33, 48, 64, 72, 100})
            tiles_case(inputs, outputs, random.integer(1, 14), tables, random, report);
    return report.close();
}

// Per channel arrays in kernel order of full blocks.
void in_order(const std::vector<int32_t>& values, const Buffer<int32_t>& out, const SiteKernels& kernels) {
    const int32_t unit = kernels.conv_outputs;
    for (int32_t position = 0; position < out.size(); ++position) {
        const int32_t c = position / unit * unit + kernels.order(position % unit, unit);
        out[position] = c < int32_t(values.size()) ? values[c] : 0;
    }
}

void depthwise_case(int32_t channels, int32_t taps, int32_t window, bool narrow, const SiteTables& tables,
                    Random& random, Report& report) {
    const int32_t sites = random.integer(0, 14), row = padded(channels, vector_codes);
    const int32_t stride = channels <= 8 ? 8 : channels <= 16 ? 16 : row;
    report.begin("%d channels, %d taps, window %d, %s", channels, taps, window, narrow ? "narrow" : "wide");
    Windows windows(sites, taps, row, random);
    const int32_t tap_row = window ? 200 / window - 17 : 0, tap_column = window ? 17 : 0;
    for (int32_t t = 0; window && t < taps; ++t)
        windows.tap[t] = 200 - (window - 1 - t / window) * tap_row - (window - 1 - t % window) * tap_column;
    std::vector<int16_t> weights(int64_t(taps) * channels);
    for (int16_t& weight : weights) weight = int16_t(narrow ? any_code(random) : random.integer(-2000, 2000));
    Buffer<int16_t> narrow_bias(row);
    for (int32_t c = 0; c < channels; ++c) narrow_bias[c] = any_code(random);
    const bool scaled = !narrow && random.chance(0.5);
    std::vector<int32_t> bias(channels), shift(channels);
    for (int32_t c = 0; c < channels; ++c) {
        bias[c] = random.integer(-(1 << 28), 1 << 28);
        shift[c] = scaled ? factor_bits(random) : random.integer(0, 30);
    }
    const Buffer<int16_t> expected(int64_t(sites) * stride, vector_codes), actual(expected);
    const auto run = [&](const SiteKernels& kernels, const Buffer<int16_t>& y, const HeldSites& held) {
        const Buffer<int32_t> all_bias(row), all_shift(row);
        in_order(bias, all_bias, kernels);
        in_order(shift, all_shift, kernels);
        const int32_t unit = kernels.conv_outputs, size = narrow ? taps : (taps + 1) / 2 * 2;
        Buffer<int16_t> packed(int64_t(size) * row);
        for (int32_t t = 0; t < taps; ++t)
            for (int32_t position = 0; position < row; ++position) {
                const int32_t block = position / unit * unit, within = position % unit;
                const int32_t c = block + (narrow ? within : kernels.order(within, unit));
                if (c >= channels) continue;
                int16_t* of_block = packed.data() + int64_t(block) * size;
                of_block[narrow ? t * unit + within : 2 * (t / 2 * unit + within) + t % 2] = weights[t * channels + c];
            }
        kernels.depthwise({windows.x.data(), windows.at.data(), sites, windows.tap.data(), taps, window, tap_row,
                           tap_column, packed.data(), narrow ? narrow_bias.data() : nullptr, all_bias.data(),
                           all_shift.data(), channels, y.data(), stride, held, scaled});
    };
    run(tables.scalar, expected, {});
    run(tables.tested, actual, {});
    for (int32_t i = 0; i < sites; ++i)
        report.same(expected.data() + int64_t(i) * stride, actual.data() + int64_t(i) * stride, channels, "codes");
    if (channels % vector_codes) return;
    const Held held(sites, channels, random);
    const Buffer<int16_t> expected_held(*held.codes), actual_held(*held.codes);
    run(tables.scalar, expected, held.view(expected_held));
    run(tables.tested, actual, held.view(actual_held));
    report.same(expected_held.data(), actual_held.data(), int32_t(actual_held.size()), "held codes");
}

bool depthwise(const SiteTables& tables) {
    Report report("depthwise_sites");
    Random random(13);
    for (const int32_t channels : odd_channels)
        for (int32_t taps = 1; taps <= 27; ++taps)
            for (const bool narrow : {false, true}) {
                // The last two are windows whose taps the kernel need not look up.
                const int32_t window = taps == 26 ? 3 : taps == 27 ? 5 : 0;
                depthwise_case(channels, window ? window * window : taps, window, narrow, tables, random, report);
            }
    return report.close();
}

struct Operand {
    Operand(int32_t sites, int32_t channels, Random& random, bool whole)
        : x(int64_t(sites) * channels + vector_codes), at(sites), limit(padded(channels, vector_codes)),
          left(limit.size()), right(limit.size()) {
        x.fill([&] { return whole ? random.integer(-255, 255) : any_code(random); });
        for (int32_t i = 0; i < sites; ++i) at[i] = int64_t(sites - 1 - i) * channels;
        for (int32_t c = 0; c < channels; ++c) {
            const int32_t shift = random.integer(0, 14);
            left[c] = int16_t(random.chance(0.5) ? 1 << shift : -(1 << shift));
            limit[c] = int16_t(32767 >> shift);
            right[c] = int16_t(random.chance(0.3) ? -32768 : random.integer(-32767, 0));
        }
    }
    OperandArgs args() const { return {x.data(), at.data(), limit.data(), left.data(), right.data()}; }

    Buffer<int16_t> x;
    Buffer<int64_t> at;
    Buffer<int16_t> limit, left, right;
};

bool combinations(const SiteTables& tables) {
    Report report("combine");
    Random random(14);
    for (const CombineKind kind : {CombineKind::align, CombineKind::sum, CombineKind::product, CombineKind::blend,
                                   CombineKind::scaled})
        for (const int32_t channels : odd_channels)
            for (int repeat = 0; repeat < 20; ++repeat) {
                const int32_t sites = random.integer(0, 12), row = padded(channels, vector_codes);
                const int32_t stride = channels <= 8 ? 8 : channels <= 16 ? 16 : row;
                report.begin("kind %d, %d channels, %d sites", int(kind), channels, sites);
                // Sums of whole steps have room for large factors.
                const bool whole = kind == CombineKind::blend || kind == CombineKind::scaled;
                const Operand a(sites, channels, random, whole), b(sites, channels, random, whole);
                WholeFactors factors{random.integer(-(1 << 13), 1 << 13), random.integer(-(1 << 20), 1 << 20),
                                     random.integer(0, 24)};
                if (kind == CombineKind::blend) factors.a *= 64;
                std::vector<int32_t> start(channels), shift(channels);
                for (int32_t c = 0; c < channels; ++c) {
                    shift[c] = random.integer(0, 31);
                    start[c] = random.integer(-(1 << 30) + 1, (1 << 30) - 1);
                }
                const Buffer<int16_t> expected(int64_t(sites) * stride, vector_codes), actual(expected);
                const auto run = [&](const SiteKernels& kernels, const Buffer<int16_t>& y) {
                    const Buffer<int32_t> all_start(row), all_shift(row);
                    in_order(start, all_start, kernels);
                    in_order(shift, all_shift, kernels);
                    kernels.combine({kind, sites, a.args(), b.args(), all_start.data(), all_shift.data(), factors, channels,
                                     y.data(), stride, {}});
                };
                run(tables.scalar, expected);
                run(tables.tested, actual);
                for (int32_t i = 0; i < sites; ++i)
                    report.same(expected.data() + int64_t(i) * stride, actual.data() + int64_t(i) * stride, channels,
                                "codes");
            }
    return report.close();
}

// What windows read along one axis; some taps are not there, the last one reaches as far as may be.
struct Axis {
    int32_t taps;
    Buffer<int32_t> at, there, weight;
    Buffer<float> scale;

    Axis(int32_t outputs, int32_t taps, int32_t reach, Random& random)
        : taps(taps), at(outputs * taps), there(outputs * taps), weight(outputs * taps), scale(outputs) {
        at.fill([&] { return random.integer(0, reach); });
        at[at.size() - 1] = reach;
        there.fill([&] { return random.integer(0, 3) > 0; });
        weight.fill([&] { return random.chance(0.2) ? 0 : random.integer(-(1 << 15) / taps, (1 << 15) / taps); });
        scale.fill([&] { return random.real(-1, 1); });
    }

    WindowTaps args(bool weighted) const {
        return {taps, at.data(), weighted ? weight.data() : there.data(), scale.data()};
    }
};

int windows(const SiteTables& tables) {
    Report largest("window_largest"), sum("window_sum"), strided("take_strided");
    Random random(15);
    for (const int32_t channels : odd_channels)
        for (const int32_t rows : {1, 2, 7})
            for (const int32_t columns : {1, 2, 3, 7}) {
                constexpr int32_t outputs = 3;
                const int32_t row = padded(channels, vector_codes), sites = random.integer(1, 5);
                largest.begin("%d channels, %d x %d taps, %d sites", channels, rows, columns, sites);
                sum.begin("%d channels, %d x %d taps, %d sites", channels, rows, columns, sites);
                Buffer<int16_t> x(500 + row), expected(int64_t(sites) * row), actual(expected);
                x.fill([&] { return any_code(random); });
                const Axis lines(outputs, rows, 400, random), places(outputs, columns, 100, random);
                Buffer<int32_t> line(sites), place(sites);
                line.fill([&] { return random.integer(0, outputs - 1); });
                place.fill([&] { return random.integer(0, outputs - 1); });
                line[0] = place[0] = outputs - 1;
                Buffer<float> factor(row);
                for (int32_t c = 0; c < channels; ++c) factor[c] = std::ldexp(1.0f, random.integer(-16, 4));
                SiteWindowArgs args{x.data(), sites, channels, line.data(), place.data(), lines.args(false),
                                    places.args(false), false, factor.data(),
                                    int16_t(random.chance(0.5) ? 32767 : 255), expected.data(), row, {}};
                const auto compare = [&](void (*SiteKernels::*kernel)(const SiteWindowArgs&), Report& report) {
                    args.y = expected.data();
                    (tables.scalar.*kernel)(args);
                    args.y = actual.data();
                    (tables.tested.*kernel)(args);
                    for (int32_t i = 0; i < sites; ++i)
                        report.same(expected.data() + int64_t(i) * row, actual.data() + int64_t(i) * row, channels,
                                    "codes");
                };
                compare(&SiteKernels::window_largest, largest);
                for (int32_t i = 0; i < sites; ++i)
                    for (int32_t c = 0; c < channels; ++c) {
                        int16_t most = SHRT_MIN;
                        for (int32_t k = 0; k < rows; ++k)
                            for (int32_t l = 0; l < columns; ++l)
                                most = std::max(most, x[lines.at[line[i] * rows + k] + places.at[place[i] * columns + l] + c]);
                        largest.check(expected[i * row + c] == most, "not the largest", c);
                    }
                compare(&SiteKernels::window_sum, sum);
                args.rows = lines.args(true);
                args.columns = places.args(true);
                args.weighted = true;
                compare(&SiteKernels::window_sum, sum);
            }
    for (int32_t channels = 1; channels <= 70; ++channels)
        for (const int32_t step : {1, 2, 3, 5}) {
            strided.begin("%d channels, step %d", channels, step);
            Buffer<int16_t> x(int64_t(channels) * step), expected(channels), actual(channels);
            x.fill([&] { return any_code(random); });
            tables.scalar.take_strided(x.data(), step, expected.data(), channels);
            tables.tested.take_strided(x.data(), step, actual.data(), channels);
            strided.same(expected, actual, "codes");
        }
    int wrong = largest.close();
    wrong += sum.close();
    return wrong + strided.close();
}

}  // namespace

int test_site_kernels(const SiteTables& tables) {
    int wrong = convolutions(tables) + tiles(tables);
    wrong += depthwise(tables);
    wrong += combinations(tables);
    return wrong + windows(tables);
}

}  // namespace mquans::test
