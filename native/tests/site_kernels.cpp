// Kernels over listed sites: activations, convolutions, depthwise ones, gates, and floats to codes and back.
#include <algorithm>
#include <cmath>

#include "tests/check.h"

namespace mquans::test {
namespace {

constexpr int32_t vector_codes = 32;  // of the widest instruction set

int16_t any_code(Random& random) {
    constexpr int16_t extremes[] = {-32768, -32767, -1, 0, 1, 32767};
    return random.chance(0.1) ? extremes[random.integer(0, 5)] : int16_t(random.integer(-32768, 32767));
}

// An activation with other numbers for every channel; padded with zeros, the next byte is a fault.
struct Activation {
    Activation(ActivationKind kind, bool with_table, int32_t channels, int32_t size, Random& random)
        : low(size), high(size), slope(size), limit(size), left(size), right(size) {
        for (int32_t c = 0; c < channels; ++c) {
            const bool open = random.chance(0.5);
            low[c] = open ? -32768 : any_code(random);
            high[c] = open ? 32767 : any_code(random);
            slope[c] = any_code(random);
            left[c] = int16_t(1 << random.integer(0, 14));
            limit[c] = int16_t(32767 / left[c]);
            right[c] = int16_t(random.integer(0, 32767));
        }
        for (int32_t i = 0; i < 32; ++i) {
            table.a[i] = i < 16 ? any_code(random) : int16_t(0);
            table.b[i] = i < 16 ? any_code(random) : int16_t(0);
            table.c[i] = any_code(random);
        }
        args = {kind,
                low.data(),
                high.data(),
                slope.data(),
                limit.data(),
                left.data(),
                right.data(),
                with_table ? &table : nullptr,
                any_code(random),
                any_code(random),
                any_code(random),
                any_code(random)};
    }
    Activation(const Activation&) = delete;

    Buffer<int16_t> low, high, slope, limit, left, right;
    SigmoidTable table;
    ActivationArgs args;
};

struct Function {
    ActivationKind kind;
    bool with_table;
    const char* name;
};
constexpr Function functions[] = {{ActivationKind::none, false, "none"},       {ActivationKind::slope, false, "slope"},
                                  {ActivationKind::gate, false, "gate line"},  {ActivationKind::gate, true, "gate table"},
                                  {ActivationKind::curve, false, "curve line"}, {ActivationKind::curve, true, "curve table"}};

bool activations(const SiteTables& tables) {
    Report report("activate");
    Random random(11);
    for (const Function& f : functions)
        for (const int32_t channels : odd_channels)
            for (int repeat = 0; repeat < 20; ++repeat) {
                const int32_t size = padded(channels, vector_codes);
                const Activation activation(f.kind, f.with_table, channels, size, random);
                report.begin("%s, %d channels", f.name, channels);
                Buffer<int16_t> x(size), expected(size), actual(size);
                x.fill([&] { return any_code(random); });
                tables.scalar.activate(activation.args, x.data(), expected.data(), size);
                tables.tested.activate(activation.args, x.data(), actual.data(), size);
                report.same(expected, actual, "codes");
            }
    return report.close();
}

// Weights [outputs][taps][inputs of a group] with bias and shift, packed for one set's kernels.
struct ConvCase {
    int32_t groups, inputs, outputs, taps;  // of one group
    std::vector<int16_t> weights;
    std::vector<int32_t> bias, shift;

    ConvCase(int32_t groups, int32_t inputs, int32_t outputs, int32_t taps, Random& random)
        : groups(groups), inputs(inputs), outputs(outputs), taps(taps),
          weights(int64_t(groups) * outputs * taps * inputs) {
        const int32_t most = std::min(32767, (1 << 15) / (std::max(1, taps * inputs) + 1));
        for (int16_t& w : weights) w = int16_t(random.integer(-most, most));
        for (int32_t o = 0; o < groups * outputs; ++o) {
            bias.push_back(random.integer(-(1 << 29), 1 << 29));
            shift.push_back(random.integer(0, 30));
        }
    }
    int32_t pairs() const { return (inputs + 1) / 2; }
    int32_t channels() const { return groups * outputs; }
    int32_t y_stride() const { return padded(channels(), vector_codes) + vector_codes; }
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

void conv_case(const ConvCase& c, int32_t sites, const Function& f, const SiteTables& tables, Random& random,
               Report& report) {
    report.begin("%d groups of %d to %d, %d taps, %d sites, %s", c.groups, c.inputs, c.outputs, c.taps, sites, f.name);
    const Windows windows(sites, c.taps, (c.groups - 1) * c.inputs + 2 * c.pairs(), random);
    const Activation activation(f.kind, f.with_table, c.channels(), c.y_stride(), random);
    const Buffer<int16_t> expected(int64_t(sites) * c.y_stride()), actual(expected);
    const auto run = [&](const SiteKernels& kernels, const Buffer<int16_t>& y) {
        const PackedConv packed(c, kernels);
        kernels.conv({windows.x.data(), windows.at.data(), sites, windows.tap.data(), c.taps, c.pairs(),
                      packed.blocks.data(), int32_t(packed.blocks.size()), activation.args, y.data(), c.y_stride()});
    };
    run(tables.scalar, expected);
    run(tables.tested, actual);
    for (int32_t i = 0; i < sites; ++i)
        report.same(expected.data() + int64_t(i) * c.y_stride(), actual.data() + int64_t(i) * c.y_stride(),
                    c.channels(), "codes");
}

bool convolutions(const SiteTables& tables) {
    Report report("conv_sites");
    Random random(12);
    for (int32_t sites = 0; sites <= 26; ++sites)
        conv_case({1, 5, 49, 3, random}, sites, functions[0], tables, random, report);
    for (const int32_t groups : {1, 2, 5})
        for (const int32_t inputs : {1, 2, 3, 17, 32})
            for (const int32_t outputs : {1, 3, 8, 15, 16, 17, 24, 31, 32, 33, 48, 49, 96})
                for (const int32_t taps : {0, 1, 2, 9})
                    conv_case({groups, inputs, outputs, taps, random}, random.integer(1, 15),
                              functions[random.integer(0, 5)], tables, random, report);
    return report.close();
}

bool depthwise(const SiteTables& tables) {
    Report report("depthwise_sites");
    Random random(13);
    for (const int32_t channels : odd_channels)
        for (int32_t taps = 1; taps <= 25; ++taps)
            for (const bool narrow : {false, true}) {
                const Function& f = functions[random.integer(0, 5)];
                const int32_t sites = random.integer(0, 14), stride = padded(channels, vector_codes);
                report.begin("%d channels, %d taps, %s, %s", channels, taps, narrow ? "narrow" : "wide", f.name);
                const Windows windows(sites, taps, stride, random);
                const Activation activation(f.kind, f.with_table, channels, stride, random);
                Buffer<int16_t> weights(int64_t(taps + (!narrow && taps % 2)) * stride), narrow_bias(stride);
                for (int32_t t = 0; t < taps; ++t)
                    for (int32_t c = 0; c < channels; ++c)
                        weights[int64_t(t) * stride + c] =
                            int16_t(narrow ? any_code(random) : random.integer(-2000, 2000));
                for (int32_t c = 0; c < channels; ++c) narrow_bias[c] = any_code(random);
                std::vector<int32_t> bias(channels), shift(channels);
                for (int32_t c = 0; c < channels; ++c) {
                    bias[c] = random.integer(-(1 << 28), 1 << 28);
                    shift[c] = random.integer(0, 30);
                }
                const Buffer<int16_t> expected(int64_t(sites) * stride), actual(expected);
                const auto run = [&](const SiteKernels& kernels, const Buffer<int16_t>& y) {
                    const Buffer<int32_t> all_bias(stride), all_shift(stride);
                    const int32_t unit = kernels.conv_outputs;
                    for (int32_t position = 0; position < stride; ++position) {
                        const int32_t c = position / unit * unit + kernels.order(position % unit, unit);
                        if (c >= channels) continue;
                        all_bias[position] = bias[c];
                        all_shift[position] = shift[c];
                    }
                    kernels.depthwise({windows.x.data(), windows.at.data(), sites, windows.tap.data(), taps,
                                       weights.data(), narrow ? narrow_bias.data() : nullptr, all_bias.data(),
                                       all_shift.data(), channels, activation.args, y.data(), stride});
                };
                run(tables.scalar, expected);
                run(tables.tested, actual);
                for (int32_t i = 0; i < sites; ++i)
                    report.same(expected.data() + int64_t(i) * stride, actual.data() + int64_t(i) * stride, channels,
                                "codes");
            }
    return report.close();
}

}  // namespace

int test_site_kernels(const SiteTables& tables) {
    int wrong = activations(tables);
    wrong += convolutions(tables);
    wrong += depthwise(tables);
    return wrong;
}

}  // namespace mquans::test
