// Activations and gates behind sums, pixels of a graph input through their gate, floats to codes and back.
#include <algorithm>
#include <cmath>

#include "tests/check.h"

namespace mquans::test {
namespace {

// What decides: weights, the bound of products, the limit.
struct GateCase {
    GateCase(int32_t channels, Random& random) : weight(padded(channels, vector_codes)) {
        const int32_t most = std::min(32767, int32_t(std::sqrt(2147483647.0 / channels)));
        largest = int16_t(random.chance(0.3) ? random.integer(0, 40) : most);
        const bool all = random.chance(0.3);
        for (int32_t c = 0; c < channels; ++c) weight[c] = int16_t(all ? 32767 : random.integer(0, 32767));
        const int32_t square = largest * largest;
        limit = random.chance(0.3) ? 0 : random.integer(0, random.chance(0.5) ? 100 : square);
    }
    Buffer<int16_t> weight;
    int16_t largest;
    int32_t limit;
};

// Mostly a small change of a code, so that gates decide both ways.
int16_t near_code(int16_t code, Random& random) {
    if (random.chance(0.02)) return int16_t(random.integer(-32768, 32767));
    if (random.chance(0.5)) return code;
    return int16_t(std::clamp(code + random.integer(-3, 3), -32768, 32767));
}

int32_t finish_stride(int32_t channels) {
    return channels <= 8 ? 8 : channels <= 16 ? 16 : padded(channels, vector_codes);
}

// Constants of the channels, which repeat where several sites share a register.
template <class F>
void fill_channels(const Buffer<int16_t>& values, int32_t channels, F&& value) {
    const int32_t stride = finish_stride(channels);
    for (int32_t c = 0; c < channels; ++c) values[c] = int16_t(value());
    for (int32_t i = stride; stride < vector_codes && i < values.size(); ++i) values[i] = values[i - stride];
}

// An activation with other numbers for every channel.
struct Activation {
    Activation(ActivationKind kind, bool with_table, int32_t channels, Random& random)
        : size(padded(channels, vector_codes)), low(size), high(size), slope(size), limit(size), left(size),
          right(size), gain(size), bound(size), rounding(size) {
        const bool open = random.chance(0.5), coarser = random.chance(0.5), finer = random.chance(0.5);
        std::vector<int32_t> shift(channels), k(channels);
        for (int32_t c = 0; c < channels; ++c) shift[c] = random.integer(0, 14), k[c] = random.integer(0, 13);
        int32_t at = 0;
        const auto each = [&](auto&& value) {
            at = 0;
            return [&, value] { return value(at++); };
        };
        fill_channels(low, channels, each([&](int32_t) { return open ? -32768 : any_code(random); }));
        fill_channels(high, channels, each([&](int32_t) { return open ? 32767 : any_code(random); }));
        fill_channels(slope, channels, each([&](int32_t) { return any_code(random); }));
        fill_channels(left, channels, each([&](int32_t c) { return 1 << shift[c]; }));
        fill_channels(limit, channels, each([&](int32_t c) { return 32767 >> shift[c]; }));
        fill_channels(right, channels, each([&](int32_t) { return random.integer(0, coarser ? 32767 : 32766); }));
        fill_channels(gain, channels, each([&](int32_t c) { return 1 << (k[c] + 1); }));
        fill_channels(bound, channels, each([&](int32_t c) { return 32767 >> (k[c] + 1); }));
        fill_channels(rounding, channels, each([&](int32_t c) { return 1 << (14 - k[c]); }));
        // S lies between 0 and 1.
        for (int32_t i = 0; i < 32; ++i) {
            table.a[i] = int16_t(i < 16 ? random.integer(-4000, 4000) : 0);
            table.b[i] = int16_t(i < 16 ? random.integer(-4000, 4000) : 0);
            table.c[i] = int16_t(i < 16 ? random.integer(8000, 24000) : random.integer(0, 32767));
        }
        args.kind = kind;
        args.low = low.data(), args.high = high.data(), args.slope = slope.data();
        args.limit = limit.data(), args.left = left.data(), args.right = right.data();
        args.gain = gain.data(), args.bound = bound.data(), args.rounding = rounding.data();
        args.table = with_table ? &table : nullptr;
        args.line_slope = any_code(random), args.line_start = any_code(random);
        args.scale = any_code(random), args.start = any_code(random);
        args.coarser = coarser, args.finer = finer;
        for (uint8_t& entry : entries) entry = uint8_t(random.bits());
        args.lookup = entries, args.first = int16_t(random.chance(0.5) ? random.integer(-300, 50) : any_code(random));
        // No entry leads beyond 16 bits.
        if (kind == ActivationKind::lookup) args.start = int16_t(random.integer(-32768, 32767 - 255));
    }
    Activation(const Activation&) = delete;

    int32_t size;
    Buffer<int16_t> low, high, slope, limit, left, right, gain, bound, rounding;
    SigmoidTable table;
    uint8_t entries[lookup_entries];
    ActivationArgs args;
};

struct Function {
    ActivationKind kind;
    bool with_table;
    const char* name;
};
constexpr Function functions[] = {
    {ActivationKind::none, false, "none"},        {ActivationKind::slope, false, "slope"},
    {ActivationKind::gate, false, "gate line"},   {ActivationKind::gate, true, "gate table"},
    {ActivationKind::curve, false, "curve line"}, {ActivationKind::curve, true, "curve table"},
    {ActivationKind::elu, true, "elu"},           {ActivationKind::lookup, false, "lookup"}};

// Mostly where a lookup has entries.
int16_t sum(const ActivationArgs& args, Random& random) {
    if (args.kind != ActivationKind::lookup || random.chance(0.2)) return any_code(random);
    return int16_t(std::clamp(args.first + random.integer(-9, 265), -32768, 32767));
}

bool finishes(const SiteTables& tables) {
    Report report("finish");
    Random random(21);
    int64_t taken = 0, refused = 0;
    for (const Function& f : functions)
        for (const int32_t channels : odd_channels)
            for (int repeat = 0; repeat < 30; ++repeat) {
                const bool weighted = repeat % 6;
                const int32_t sites = repeat == 29 ? 300 : random.integer(0, 20), stride = finish_stride(channels);
                const int32_t pitch = padded(channels, 2) + 2 * random.integer(0, 3);
                GateCase gate(channels, random);
                fill_channels(gate.weight, channels, [&, c = 0]() mutable { return gate.weight[c++]; });
                const Activation activation(f.kind, f.with_table, channels, random);
                report.begin("%s, %d channels, %d sites, limit %d, largest %d, %s", f.name, channels, sites,
                             gate.limit, gate.largest, weighted ? "weighted" : "open");
                Buffer<int16_t> expected_codes(int64_t(sites) * stride, vector_codes);
                for (int64_t i = 0; i < expected_codes.size(); ++i)
                    expected_codes[i] = i % stride < channels ? sum(activation.args, random) : int16_t(random.bits());
                const Buffer<int16_t> actual_codes(expected_codes);
                // Held codes near what the activation makes of the sums; behind the last lies what vectors may read.
                Buffer<int16_t> expected(int64_t(sites) * pitch, vector_codes), made(expected_codes);
                expected.fill([&] { return random.integer(-32768, 32767); });
                Buffer<int64_t> held_at(sites);
                for (int32_t i = 0; i < sites; ++i) held_at[i] = int64_t(sites - 1 - i) * pitch;
                const Buffer<uint8_t> takes(sites), took(sites);
                FinishArgs args{made.data(), stride,   activation.args, expected.data(), held_at.data(), sites,
                                channels,    nullptr,  gate.largest,    gate.limit,      takes.data()};
                const Buffer<int16_t> scratch(expected);
                args.held = scratch.data();
                tables.scalar.finish(args);
                for (int32_t i = 0; i < sites; ++i) {
                    const bool still = random.chance(0.2);
                    for (int32_t c = 0; c < channels; ++c) {
                        const int16_t code = made[int64_t(i) * stride + c];
                        expected[held_at[i] + c] = still ? code : near_code(code, random);
                    }
                }
                const Buffer<int16_t> actual(expected);
                args.weight = weighted ? gate.weight.data() : nullptr;
                args.fresh = expected_codes.data();
                args.held = expected.data();
                tables.scalar.finish(args);
                args.fresh = actual_codes.data();
                args.held = actual.data();
                args.taken = took.data();
                tables.tested.finish(args);
                report.same(takes, took, "taken");
                report.same(expected, actual, "held codes");
                if (!weighted) continue;
                for (int32_t i = 0; i < sites; ++i)
                    report.same(expected_codes.data() + int64_t(i) * stride, actual_codes.data() + int64_t(i) * stride,
                                channels, "codes");
                for (int32_t i = 0; i < sites; ++i) ++(takes[i] ? taken : refused);
            }
    report.begin("decisions");
    report.check(taken > 5000 && refused > 5000, "the cases decide one way only", taken);
    return report.close();
}

template <class T, class Split>
void split_rows(Report& report, Random& random, Split&& split) {
    for (int32_t width = 1; width <= 100; ++width)
        for (int32_t channels = 2; channels <= 4; ++channels) {
            report.begin("%d pixels of %d channels, %d bytes each", width, channels, int32_t(sizeof(T)));
            Buffer<T> pixels(int64_t(width) * channels);
            pixels.fill([&] { return T(random.integer(0, 255)); });
            const int64_t pitch = width + random.integer(0, 9);
            const Buffer<T> planes(pitch * channels);
            split(pixels.data(), width, channels, planes.data(), pitch);
            for (int32_t i = 0; i < width * channels; ++i)
                report.check(planes[i % channels * pitch + i / channels] == pixels[i], "a pixel lies elsewhere", i);
        }
}

bool split_pixels(const SiteTables& tables) {
    Report report("split_pixels");
    Random random(23);
    split_rows<float>(report, random, tables.tested.split_floats);
    split_rows<uint8_t>(report, random, tables.tested.split_bytes);
    return report.close();
}

bool input_rows(const SiteTables& tables) {
    Report report("input_row");
    Random random(22);
    for (int32_t width = 1; width <= 100; ++width)
        for (int32_t channels = 1; channels <= 4; ++channels)
            for (const bool weighted : {true, false}) {
                const bool pixels = random.chance(0.5), scaled = random.chance(0.5);
                const GateCase gate(channels, random);
                const int32_t stride = channels > 2 ? 4 : 2, pitch = padded(width, vector_codes);
                report.begin("%d pixels of %d channels, %s, %s, %s", width, channels, weighted ? "weighted" : "open",
                             pixels ? "of 8 bits" : "floats", scaled ? "scaled" : "as they are");
                const int16_t limit = random.chance(0.5) ? 32767 : 255;
                const int16_t least = int16_t(random.chance(0.5) ? -limit : random.integer(-limit, limit / 2));
                Buffer<float> inverse(channels), factor(channels), offset(channels), scale(channels), shift(channels);
                factor.fill([&] { return random.real(-1, 1); });
                offset.fill([&] { return random.real(-99, 99); });
                scale.fill([&] { return scaled ? random.real(0.1f, 2) * (random.chance(0.5) ? 1 : -1) : 1; });
                shift.fill([&] { return scaled ? random.real(-9, 9) : 0; });
                std::vector<Buffer<float>> x;
                std::vector<Buffer<uint8_t>> bytes;
                std::vector<Buffer<int16_t>> plane, other_plane;
                const int32_t rows = random.integer(1, 2), planes = rows * channels;
                x.reserve(8), bytes.reserve(8), plane.reserve(8), other_plane.reserve(8);
                const Buffer<int16_t> site(int64_t(width) * stride), other_site(site);
                for (int32_t c = 0; c < channels; ++c) inverse[c] = std::ldexp(1.0f, random.integer(-10, 10));
                for (int32_t p = 0; p < planes; ++p) {
                    x.emplace_back(width);
                    bytes.emplace_back(width);
                    bytes[p].fill([&] { return random.integer(0, 255); });
                    plane.emplace_back(pitch);
                    for (int32_t i = 0; i < width; ++i) {
                        const int32_t c = p % channels;
                        const float given = float(bytes[p][i]) * factor[c] + offset[c];
                        const float from = given * scale[c] + shift[c] + random.real(-9, 9);
                        const float held = pixels ? std::rint(from * inverse[c]) : float(random.integer(least, limit));
                        plane[p][i] = int16_t(std::clamp<float>(held, least, limit));
                        if (p < channels) site[i * stride + p] = plane[p][i];
                        const float near = float(near_code(plane[p][i], random)) + 0.5f * random.integer(-1, 1);
                        x[p][i] = random.chance(0.02) ? random.real(-1, 1) * 3e38f : (near / inverse[c] - shift[c]) / scale[c];
                    }
                    other_plane.emplace_back(plane[p]);
                }
                std::memcpy(other_site.data(), site.data(), sizeof(int16_t) * site.size());
                const Buffer<uint64_t> taken(MaskView::words_for(width), 0, ~uint64_t(0)), other_taken(taken);
                const auto run = [&](const SiteKernels& kernels, const std::vector<Buffer<int16_t>>& lines,
                                     const Buffer<int16_t>& sites, const Buffer<uint64_t>& marks) {
                    InputRowArgs args{};
                    args.width = width;
                    args.channels = channels;
                    args.rows = rows;
                    args.pixels = pixels;
                    args.factor = factor.data();
                    args.offset = offset.data();
                    if (scaled) args.scale = scale.data(), args.shift = shift.data();
                    args.inverse = inverse.data();
                    args.least_code = least;
                    args.largest_code = limit;
                    args.site = sites.data();
                    args.stride = stride;
                    args.weight = weighted ? gate.weight.data() : nullptr;
                    args.largest = gate.largest;
                    args.limit = gate.limit;
                    args.taken = marks.data();
                    for (int32_t p = 0; p < rows * channels; ++p) {
                        if (pixels)
                            args.pixel[p] = bytes[p].data();
                        else
                            args.x[p] = x[p].data();
                        args.plane[p] = lines[p].data();
                    }
                    report.check(kernels.input_compare(args), "finite pixels are taken for others", 0);
                    kernels.input_take(args);
                };
                run(tables.scalar, plane, site, taken);
                run(tables.tested, other_plane, other_site, other_taken);
                report.same(taken, other_taken, "taken");
                report.same(site, other_site, "sites");
                for (int32_t p = 0; p < planes; ++p)
                    report.same(plane[p].data(), other_plane[p].data(), width, "planes");
            }
    return report.close();
}

bool encodes(const SiteTables& tables) {
    Report report("encode");
    Random random(23);
    for (int32_t channels = 1; channels <= 100; ++channels) {
        report.begin("%d channels", channels);
        Buffer<float> x(channels), inverse(channels);
        for (int32_t c = 0; c < channels; ++c) {
            inverse[c] = std::ldexp(1.0f, random.integer(-60, 60));
            const float halves = 0.5f * float(random.integer(-70000, 70000));
            constexpr float strange[] = {3e38f, -3e38f, 1e-42f, -0.0f};
            x[c] = random.chance(0.2) ? strange[random.integer(0, 3)] : halves / inverse[c];
        }
        Buffer<int16_t> codes(channels), others(channels);
        const int16_t limit = random.chance(0.5) ? 32767 : 16383;
        const int16_t least = int16_t(random.chance(0.5) ? -limit : random.integer(-limit, 0));
        tables.scalar.encode(x.data(), inverse.data(), least, limit, codes.data(), channels);
        tables.tested.encode(x.data(), inverse.data(), least, limit, others.data(), channels);
        report.same(codes, others, "codes");
        for (int32_t c = 0; c < channels; ++c)
            report.check(
                codes[c] == int16_t(std::clamp(std::rint(double(x[c]) * inverse[c]), double(least), double(limit))),
                "not rounded to even, or not clamped", c);
    }
    return report.close();
}

bool decodes(const SiteTables& tables) {
    Report report("decode");
    Random random(24);
    for (int32_t channels = 1; channels <= 100; ++channels) {
        const int32_t sites = random.integer(1, 40), x_stride = channels + random.integer(0, 5);
        const int32_t y_stride = channels + (random.chance(0.5) ? 0 : random.integer(1, 5));
        report.begin("%d sites of %d channels, %d apart", sites, channels, y_stride);
        Buffer<int16_t> x(int64_t(sites) * x_stride, decoded_together);
        x.fill([&] { return random.integer(-32768, 32767); });
        Buffer<float> unit(channels, decoded_together), y(int64_t(sites) * y_stride);
        for (int32_t c = 0; c < channels; ++c)
            unit[c] = std::ldexp(float(random.integer(1, 1 << 20)), random.integer(-60, 20));
        y.fill([] { return 7.0f; });
        tables.tested.decode({x.data(), x_stride, unit.data(), y.data(), y_stride, sites, channels});
        for (int32_t i = 0; i < sites; ++i)
            for (int32_t c = 0; c < y_stride; ++c) {
                const float expected = c < channels ? float(x[i * x_stride + c]) * unit[c] : 7.0f;
                report.check(y[i * y_stride + c] == expected, "another float", i * y_stride + c);
            }
    }
    return report.close();
}

}  // namespace

int test_gate_kernels(const SiteTables& tables) {
    int wrong = finishes(tables);
    wrong += split_pixels(tables);
    wrong += input_rows(tables);
    return wrong + encodes(tables) + decodes(tables);
}

}  // namespace mquans::test
