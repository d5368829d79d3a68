// Sums over windows of listed sites: convolutions by single sites, by tiles, and of bytes.
#include <algorithm>

#include "tests/windows.h"

namespace mquans::test {
namespace {

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

void conv_case(const ConvCase& c, int32_t sites, const SiteTables& tables, Random& random, Report& report) {
    report.begin("%d groups of %d to %d, %d taps, %d sites", c.groups, c.inputs, c.outputs, c.taps, sites);
    const Windows windows(sites, c.taps, (c.groups - 1) * c.inputs + 2 * c.pairs(), random);
    const PackedConv natural(c, tables.scalar), packed(c, tables.tested);
    const int32_t stride = c.y_stride(int32_t(std::max(natural.blocks.size(), packed.blocks.size())));
    const Buffer<int16_t> expected(int64_t(sites) * stride, vector_codes), actual(expected);
    std::vector<WindowRun> runs;
    for (int32_t t = 0; t < c.taps; ++t) runs.push_back({windows.tap[t], c.inputs});
    const auto run = [&](const SiteKernels& kernels, const PackedConv& conv, const Buffer<int16_t>& y,
                         const HeldSites& held) {
        kernels.conv({windows.x.data(), windows.at.data(), sites, runs.data(), c.taps,
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
    const Buffer<int32_t> at(tiles), site_at(4 * tiles), y_at(4 * tiles);
    std::vector<WindowRun> runs;
    for (int32_t t = 0; t < 9; ++t) runs.push_back({t / 3 * row + t % 3 * column, inputs});
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
    tables.scalar.conv({x.data(), site_at.data(), 4 * tiles, runs.data(), 9, natural.blocks.data(),
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

// Codes of a window as bytes, and their products with weights of 8 bits, against plain sums of the codes.
void bytes_case(int32_t inputs, int32_t outputs, int32_t taps, int32_t sites, const SiteTables& tables, Random& random,
                Report& report) {
    report.begin("%d to %d, %d taps, %d sites", inputs, outputs, taps, sites);
    ConvCase c(1, inputs, outputs, taps, random);
    c.scaled = true;
    for (int16_t& w : c.weights) w = int16_t(random.chance(0.1) ? -128 : random.integer(-128, 127));
    for (int32_t& shift : c.shift) shift = factor_bits(random);
    const int16_t least = int16_t(random.chance(0.3) ? 0 : random.integer(-255, 0));
    Windows windows(sites, taps, padded(inputs, vector_codes), random);
    windows.x.fill([&] { return int16_t(least + (random.chance(0.1) ? 255 : random.integer(0, 255))); });
    // What lies behind a run is multiplied by zero.
    std::vector<WindowRun> runs;
    std::vector<int32_t> place;
    for (int32_t t = 0; t < taps; ++t) {
        for (int32_t i = 0; i < inputs; ++i) place.push_back(t * byte_run(inputs) + i);
        runs.push_back({windows.tap[t], inputs});
    }
    const int32_t depth = taps * byte_run(inputs);
    const PackedConv natural(c, tables.scalar), packed(c, tables.tested);
    std::vector<Buffer<int8_t>> weights;
    std::vector<Buffer<int32_t>> biases;
    std::vector<ConvBlock> blocks = packed.blocks;
    for (ConvBlock& block : blocks) {
        Buffer<int8_t>& to = weights.emplace_back(int64_t(depth) * block.outputs);
        const Buffer<int32_t>& bias = biases.emplace_back(block.outputs);
        to.fill([] { return int8_t(0); });
        for (int32_t position = 0; position < block.outputs; ++position) {
            const int32_t o = block.y_first + tables.tested.order(position, block.outputs);
            bias[position] = block.bias[position];
            for (size_t k = 0; o < outputs && k < place.size(); ++k) {
                const int16_t weight = c.weights[o * place.size() + k];
                to[(int64_t(place[k] / 4) * block.outputs + position) * 4 + place[k] % 4] = int8_t(weight);
                bias[position] += least * weight;
            }
        }
    }
    for (size_t k = 0; k < blocks.size(); ++k) {
        blocks[k].weights = reinterpret_cast<const int16_t*>(weights[k].data());
        blocks[k].bias = biases[k].data();
    }
    const Buffer<int16_t> bytes(int64_t(sites) * depth / 2, vector_codes / 2);
    tables.tested.take_bytes({windows.x.data(), windows.at.data(), sites, runs.data(), taps, least, depth,
                              reinterpret_cast<uint8_t*>(bytes.data())});
    const int32_t stride = c.y_stride(int32_t(std::max(natural.blocks.size(), blocks.size())));
    const Buffer<int16_t> expected(int64_t(sites) * stride, vector_codes), actual(expected);
    const Buffer<int32_t> at(sites);
    const WindowRun whole{0, depth / 2};
    for (int32_t i = 0; i < sites; ++i) at[i] = i * depth / 2;
    const auto plain = [&](const Buffer<int16_t>& y, const HeldSites& held) {
        tables.scalar.conv({windows.x.data(), windows.at.data(), sites, runs.data(), taps,
                            natural.blocks.data(), int32_t(natural.blocks.size()), y.data(), stride, held, true});
    };
    const auto tested = [&](const Buffer<int16_t>& y, const HeldSites& held) {
        tables.tested.conv_bytes({bytes.data(), at.data(), sites, &whole, 1, blocks.data(),
                                  int32_t(blocks.size()), y.data(), stride, held, true});
    };
    plain(expected, {});
    tested(actual, {});
    for (int32_t i = 0; i < sites; ++i)
        report.same(expected.data() + int64_t(i) * stride, actual.data() + int64_t(i) * stride, outputs, "codes");
    if (outputs % 16) return;
    const Held held(sites, outputs, random);
    const Buffer<int16_t> expected_held(*held.codes), actual_held(*held.codes);
    plain(expected, held.view(expected_held));
    tested(actual, held.view(actual_held));
    report.same(expected_held.data(), actual_held.data(), int32_t(actual_held.size()), "held codes");
}

bool bytes(const SiteTables& tables) {
    Report report("conv_bytes");
    Random random(14);
    if (!tables.tested.conv_bytes) return report.close();
    for (int32_t sites = 0; sites <= 26; ++sites) bytes_case(5, 49, 3, sites, tables, random, report);
    for (const int32_t inputs : {1, 3, 4, 5, 17, 32, 33, 64, 70})
        for (const int32_t outputs : {1, 3, 8, 15, 16, 17, 24, 32, 33, 48, 96})
            for (const int32_t taps : {1, 2, 9})
                bytes_case(inputs, outputs, taps, random.integer(1, 15), tables, random, report);
    return report.close();
}

}  // namespace

int test_conv_kernels(const SiteTables& tables) { return convolutions(tables) + tiles(tables) + bytes(tables); }

}  // namespace mquans::test
