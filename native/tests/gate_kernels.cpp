// Gates, pixels of a graph input through their gate, and floats to codes and back.
#include <algorithm>
#include <cmath>

#include "tests/check.h"

namespace mquans::test {
namespace {

constexpr int32_t vector_codes = 32;  // of the widest instruction set

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

bool gates(const SiteTables& tables) {
    Report report("gate");
    Random random(21);
    int64_t taken = 0, refused = 0;
    for (const int32_t channels : odd_channels)
        for (int repeat = 0; repeat < 60; ++repeat) {
            const bool weighted = repeat % 6;
            const int32_t sites = random.integer(0, 20), stride = padded(channels, vector_codes);
            const int32_t pitch = padded(channels, 2) + 2 * random.integer(0, 3);
            const GateCase gate(channels, random);
            report.begin("%d channels, %d sites, limit %d, largest %d, %s", channels, sites, gate.limit, gate.largest,
                         weighted ? "weighted" : "open");
            // Behind the last held site lies what vectors may read.
            Buffer<int16_t> expected(int64_t(sites) * pitch + vector_codes), fresh(int64_t(sites) * stride);
            expected.fill([&] { return random.integer(-32768, 32767); });
            Buffer<int64_t> held_at(sites);
            for (int32_t i = 0; i < sites; ++i) {
                held_at[i] = int64_t(sites - 1 - i) * pitch;
                const bool still = random.chance(0.2);
                for (int32_t c = 0; c < stride; ++c) {
                    const int16_t held = c < channels ? expected[held_at[i] + c] : 0;
                    fresh[int64_t(i) * stride + c] = still && c < channels ? held : near_code(held, random);
                }
            }
            const Buffer<int16_t> actual(expected);
            const Buffer<uint8_t> takes(sites), took(sites);
            GateArgs args{fresh.data(),  stride,       expected.data(), held_at.data(), sites,
                          channels,      weighted ? gate.weight.data() : nullptr, gate.largest, gate.limit,
                          takes.data()};
            tables.scalar.gate(args);
            args.held = actual.data();
            args.taken = took.data();
            tables.tested.gate(args);
            report.same(takes, took, "taken");
            report.same(expected, actual, "held codes");
            if (!weighted) continue;
            for (int32_t i = 0; i < sites; ++i) ++(takes[i] ? taken : refused);
        }
    report.begin("decisions");
    report.check(taken > 500 && refused > 500, "the cases decide one way only", taken);
    return report.close();
}

bool input_rows(const SiteTables& tables) {
    Report report("input_row");
    Random random(22);
    for (int32_t width = 1; width <= 100; ++width)
        for (int32_t channels = 1; channels <= 4; ++channels)
            for (const bool weighted : {true, false}) {
                const GateCase gate(channels, random);
                const int32_t stride = channels > 2 ? 4 : 2, pitch = padded(width, vector_codes);
                report.begin("%d pixels of %d channels, %s", width, channels, weighted ? "weighted" : "open");
                const int16_t limit = random.chance(0.5) ? 32767 : 255;
                Buffer<float> inverse(channels);
                std::vector<Buffer<float>> x;
                std::vector<Buffer<int16_t>> plane, other_plane;
                x.reserve(4), plane.reserve(4), other_plane.reserve(4);
                const Buffer<int16_t> site(int64_t(width) * stride), other_site(site);
                for (int32_t c = 0; c < channels; ++c) {
                    inverse[c] = std::ldexp(1.0f, random.integer(-10, 10));
                    x.emplace_back(width);
                    plane.emplace_back(pitch);
                    for (int32_t i = 0; i < width; ++i) {
                        plane[c][i] = site[i * stride + c] = int16_t(random.integer(-limit, limit));
                        const float near = float(near_code(plane[c][i], random)) + 0.5f * random.integer(-1, 1);
                        x[c][i] = random.chance(0.02) ? random.real(-1, 1) * 3e38f : near / inverse[c];
                    }
                    other_plane.emplace_back(plane[c]);
                }
                std::memcpy(other_site.data(), site.data(), sizeof(int16_t) * site.size());
                const Buffer<uint64_t> taken(MaskView::words_for(width), 0, ~uint64_t(0)), other_taken(taken);
                const auto run = [&](const SiteKernels& kernels, const std::vector<Buffer<int16_t>>& planes,
                                     const Buffer<int16_t>& sites, const Buffer<uint64_t>& marks) {
                    InputRowArgs args{};
                    args.width = width;
                    args.channels = channels;
                    args.inverse = inverse.data();
                    args.code_limit = limit;
                    args.site = sites.data();
                    args.stride = stride;
                    args.weight = weighted ? gate.weight.data() : nullptr;
                    args.largest = gate.largest;
                    args.limit = gate.limit;
                    args.taken = marks.data();
                    for (int32_t c = 0; c < channels; ++c) {
                        args.x[c] = x[c].data();
                        args.plane[c] = planes[c].data();
                    }
                    kernels.input_row(args);
                };
                run(tables.scalar, plane, site, taken);
                run(tables.tested, other_plane, other_site, other_taken);
                report.same(taken, other_taken, "taken");
                report.same(site, other_site, "sites");
                for (int32_t c = 0; c < channels; ++c)
                    report.same(plane[c].data(), other_plane[c].data(), width, "planes");
            }
    return report.close();
}

bool floats(const SiteTables& tables) {
    Report encode("encode"), decode("decode");
    Random random(23);
    for (int32_t channels = 1; channels <= 100; ++channels) {
        encode.begin("%d channels", channels);
        decode.begin("%d channels", channels);
        Buffer<float> x(channels), unit(channels), expected(channels), actual(channels);
        for (int32_t c = 0; c < channels; ++c) {
            unit[c] = std::ldexp(1.0f, random.integer(-60, 60));
            const float halves = 0.5f * float(random.integer(-70000, 70000));
            constexpr float strange[] = {3e38f, -3e38f, 1e-42f, -0.0f};
            x[c] = random.chance(0.2) ? strange[random.integer(0, 3)] : halves / unit[c];
        }
        Buffer<int16_t> codes(channels), others(channels);
        const int16_t limit = random.chance(0.5) ? 32767 : 16383;
        tables.scalar.encode(x.data(), unit.data(), limit, codes.data(), channels);
        tables.tested.encode(x.data(), unit.data(), limit, others.data(), channels);
        encode.same(codes, others, "codes");
        for (int32_t c = 0; c < channels; ++c)
            encode.check(codes[c] == int16_t(std::clamp(std::rint(double(x[c]) * unit[c]), -double(limit), double(limit))),
                         "not rounded to even, or not clamped", c);
        codes.fill([&] { return random.integer(-32768, 32767); });
        tables.scalar.decode(codes.data(), unit.data(), expected.data(), channels);
        tables.tested.decode(codes.data(), unit.data(), actual.data(), channels);
        decode.same(expected, actual, "floats");
    }
    const int wrong = encode.close();
    return wrong + decode.close();
}

}  // namespace

int test_gate_kernels(const SiteTables& tables) {
    int wrong = gates(tables);
    wrong += input_rows(tables);
    return wrong + floats(tables);
}

}  // namespace mquans::test
