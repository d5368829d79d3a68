// Of listed sites: depthwise convolutions, sums and products of tensors, pools.
#include <algorithm>
#include <climits>
#include <cmath>

#include "tests/windows.h"

namespace mquans::test {
namespace {

// Per channel arrays in kernel order of full blocks.
void in_order(const std::vector<int32_t>& values, const Buffer<int32_t>& out, const SiteKernels& kernels) {
    const int32_t unit = kernels.conv_outputs;
    for (int32_t position = 0; position < out.size(); ++position) {
        const int32_t c = position / unit * unit + kernels.order(position % unit, unit);
        out[position] = c < int32_t(values.size()) ? values[c] : 0;
    }
}

void depthwise_case(int32_t channels, int32_t taps, int32_t window, const SiteTables& tables, Random& random,
                    Report& report) {
    const int32_t sites = random.integer(0, 14), row = padded(channels, vector_codes);
    const int32_t stride = channels <= 8 ? 8 : channels <= 16 ? 16 : row;
    report.begin("%d channels, %d taps, window %d", channels, taps, window);
    Windows windows(sites, taps, row, random);
    const int32_t tap_row = window ? 200 / window - 17 : 0, tap_column = window ? 17 : 0;
    for (int32_t t = 0; window && t < taps; ++t)
        windows.tap[t] = 200 - (window - 1 - t / window) * tap_row - (window - 1 - t % window) * tap_column;
    std::vector<DepthwiseSums> sums(padded(channels, depthwise_block) / depthwise_block);
    for (DepthwiseSums& way : sums) way = DepthwiseSums(random.integer(0, 2));
    const auto is_wide = [&](int32_t c) { return sums[c / depthwise_block] == DepthwiseSums::wide; };
    std::vector<int16_t> weights(int64_t(taps) * channels);
    for (int64_t k = 0; k < int64_t(weights.size()); ++k)
        weights[k] = int16_t(is_wide(int32_t(k % channels)) ? random.integer(-2000, 2000) : any_code(random));
    Buffer<int16_t> narrow_bias(row), twice(row);
    for (int32_t c = 0; c < channels; ++c) {
        narrow_bias[c] = any_code(random);
        twice[c] = random.chance(0.5) ? -1 : 0;
    }
    const bool scaled = random.chance(0.5);
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
        const int32_t unit = kernels.conv_outputs, size = (taps + 1) / 2 * 2;
        Buffer<int16_t> packed(int64_t(size) * row);
        for (int32_t t = 0; t < taps; ++t)
            for (int32_t position = 0; position < row; ++position) {
                const int32_t block = position / unit * unit, within = position % unit;
                const bool wide = is_wide(block);
                const int32_t c = block + (wide ? kernels.order(within, unit) : within);
                if (c >= channels) continue;
                int16_t* of_block = packed.data() + int64_t(block) * size;
                of_block[wide ? 2 * (t / 2 * unit + within) + t % 2 : t * unit + within] = weights[t * channels + c];
            }
        kernels.depthwise({windows.x.data(), windows.at.data(), sites, windows.tap.data(), taps, window, tap_row,
                           tap_column, sums.data(), packed.data(), narrow_bias.data(), twice.data(),
                           all_bias.data(), all_shift.data(), channels, y.data(), stride, held, scaled});
    };
    run(tables.scalar, expected, {});
    run(tables.tested, actual, {});
    for (int32_t i = 0; i < sites; ++i)
        report.same(expected.data() + int64_t(i) * stride, actual.data() + int64_t(i) * stride, channels, "codes");
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
            for (int32_t turn = 0; turn < 4; ++turn) {
                // The last two are windows whose taps the kernel need not look up.
                const int32_t window = taps == 26 ? 3 : taps == 27 ? 5 : 0;
                depthwise_case(channels, window ? window * window : taps, window, tables, random, report);
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
                const auto run = [&](const SiteKernels& kernels, const Buffer<int16_t>& y, const HeldSites& held) {
                    const Buffer<int32_t> all_start(row), all_shift(row);
                    in_order(start, all_start, kernels);
                    in_order(shift, all_shift, kernels);
                    kernels.combine({kind, sites, a.args(), b.args(), all_start.data(), all_shift.data(), factors, channels,
                                     y.data(), stride, held});
                };
                run(tables.scalar, expected, {});
                run(tables.tested, actual, {});
                for (int32_t i = 0; i < sites; ++i)
                    report.same(expected.data() + int64_t(i) * stride, actual.data() + int64_t(i) * stride, channels,
                                "codes");
                const Held held(sites, channels, random);
                const Buffer<int16_t> expected_held(*held.codes), actual_held(*held.codes);
                run(tables.scalar, expected, held.view(expected_held));
                run(tables.tested, actual, held.view(actual_held));
                report.same(expected_held.data(), actual_held.data(), int32_t(actual_held.size()), "held codes");
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
    int wrong = depthwise(tables);
    wrong += combinations(tables);
    return wrong + windows(tables);
}

}  // namespace mquans::test
