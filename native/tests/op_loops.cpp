// The loops of the float operators.
#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "tests/check.h"

namespace mquans::test {
namespace {

constexpr int32_t lengths[] = {1, 2, 3, 4, 5, 8, 15, 16, 17, 24, 31, 32, 33, 48, 96, 257};
constexpr float inf = __builtin_inff();
constexpr float specials[] = {
    0.0f,     -0.0f,     1.0f,     -1.0f,     2.0f,      -2.0f,    3.0f,      -3.0f,
    0.5f,     -0.5f,     1.5f,     -1.5f,     2.5f,      -2.5f,    20.0f,     -20.0f,
    1e-45f,   -1e-45f,   1e-40f,   -1e-40f,   0x1p-126f, 1e-20f,   -0x1p-126f, -1e-20f,
    88.72283f, -88.0f,   89.0f,    -103.9f,   -104.5f,   1e9f,     -1e9f,     16777217.0f,
    0x1p23f,  -0x1p23f,  0x1.fffffep22f,      3e38f,     -3e38f,   0x1.fffffep127f,
    -0x1.fffffep127f,    inf,      -inf,      __builtin_nanf(""),
};

float special(Random& random) { return specials[random.integer(0, int32_t(std::size(specials)) - 1)]; }

// Mostly values as networks have them, some of every magnitude, some at the edges.
float wild(Random& random) {
    switch (random.integer(0, 7)) {
        case 0: return special(random);
        case 1: return __builtin_bit_cast(float, uint32_t(random.bits()));
        case 2: return random.real(-120.0f, 120.0f);
        default: return random.real(-6.0f, 6.0f);
    }
}

float tame(Random& random) { return random.real(-3.0f, 3.0f); }

Buffer<float> wilds(int64_t n, Random& random) {
    Buffer<float> values(n);
    values.fill([&] { return wild(random); });
    return values;
}

Buffer<float> tames(int64_t n, Random& random) {
    Buffer<float> values(n);
    values.fill([&] { return tame(random); });
    return values;
}

bool unary(const Tables& tables) {
    Report report("unary");
    Random random(11);
    const auto compare = [&](int32_t kind, const Buffer<float>& x, bool in_place) {
        const std::array<float, 2> parameters[] = {{0.1f, 0.5f}, {-1.0f, 6.0f}, {1.67326f, 1.0507f}};
        for (const auto& [a, b] : parameters) {
            report.begin("kind %d a %g b %g n %lld in place %d", kind, double(a), double(b),
                         static_cast<long long>(x.size()), in_place);
            const Buffer<float> expected(x), actual(x);
            const int64_t n = x.size();
            UnaryArgs args{UnaryKind(kind), a, b, in_place ? expected.data() : x.data(), expected.data(), n};
            tables.scalar.unary(args);
            args.y = actual.data();
            args.x = in_place ? actual.data() : x.data();
            tables.tested.ops->unary(args);
            report.same(expected, actual, "y");
            args.x = x.data();
            tables.tested.unary(args);
            report.same(expected, actual, "y of the kernel");
        }
    };
    for (int32_t kind = 0; kind <= int32_t(UnaryKind::quantize); ++kind) {
        for (const int32_t n : lengths) compare(kind, wilds(n, random), n & 2);
        compare(kind, wilds(3001, random), false);
        Buffer<float> edges(int64_t(std::size(specials)));
        std::copy(std::begin(specials), std::end(specials), edges.data());
        compare(kind, edges, true);
    }
    return report.close();
}

bool binary(const Tables& tables) {
    Report report("binary");
    Random random(12);
    const auto compare = [&](BinaryArgs args, int64_t y_size) {
        report.begin("kind %d %dx%d steps %d %d %d scalars %d %d", int(args.kind), args.pixels, args.channels,
                     int(args.a_step), int(args.b_step), int(args.y_step), args.a_scalar, args.b_scalar);
        const Buffer<float> expected(y_size, 0, 9.0f), actual(expected);
        args.y = expected.data();
        tables.scalar.ops->binary(args);
        args.y = actual.data();
        tables.tested.ops->binary(args);
        report.same(expected, actual, "y");
    };
    for (int32_t kind = 0; kind <= int32_t(BinaryKind::mask); ++kind) {
        for (const int32_t n : lengths)
            for (int32_t form = 0; form < 16; ++form) {
                const bool a_scalar = form & 1, b_scalar = form & 2, a_still = form & 4, strided = form & 8;
                const int32_t pixels = random.integer(1, 4), gap = strided ? 3 : 0;
                const int64_t a_step = a_still ? 0 : (a_scalar ? 1 : n) + gap;
                const int64_t b_step = (b_scalar ? 1 : n) + gap, y_step = n + gap;
                // Exactly what the last pixel ends at: one element more must not be read.
                const Buffer<float> a = wilds((pixels - 1) * a_step + (a_scalar ? 1 : n), random),
                                    b = wilds((pixels - 1) * b_step + (b_scalar ? 1 : n), random);
                if (b_scalar && random.chance(0.3)) b[0] = 2.0f;
                compare({BinaryKind(kind), a.data(), b.data(), nullptr, a_step, b_step, y_step, a_scalar,
                         b_scalar, pixels, n}, (pixels - 1) * y_step + n);
            }
        // Single channels side by side.
        for (const int32_t pixels : lengths) {
            const Buffer<float> a = wilds(pixels, random), b = wilds(pixels, random);
            for (const auto& [a_step, b_step] : {std::pair{1, 1}, {0, 1}, {1, 0}})
                compare({BinaryKind(kind), a.data(), b.data(), nullptr, a_step, b_step, 1, !a_step, !b_step,
                         pixels, 1}, pixels);
        }
        for (const float value : specials) {
            const int32_t n = int32_t(std::size(specials));
            compare({BinaryKind(kind), &value, specials, nullptr, 0, n, n, true, false, 1, n}, n);
            compare({BinaryKind(kind), specials, &value, nullptr, n, 0, n, false, true, 1, n}, n);
        }
    }
    return report.close();
}

bool windows(const Tables& tables) {
    Report report("window_weighted");
    Random random(13);
    for (int32_t count = 1; count <= 13; ++count)
        for (const int32_t n : lengths) {
            report.begin("%d pixels of %d", count, n);
            std::vector<Buffer<float>> pixels;
            std::vector<const float*> x;
            pixels.reserve(count);
            for (int32_t i = 0; i < count; ++i) {
                pixels.push_back(count & 1 ? tames(n, random) : wilds(n, random));
                x.push_back(pixels.back().data());
            }
            const Buffer<float> weight = tames(count, random), expected(n), actual(n);
            WindowArgs args{x.data(), weight.data(), count, expected.data(), n};
            tables.scalar.ops->window_weighted(args);
            args.y = actual.data();
            tables.tested.ops->window_weighted(args);
            report.same(expected, actual, "y");
        }
    return report.close();
}

int pools(const Tables& tables) {
    int wrong = 0;
    const std::pair<const char*, void (*OpLoops::*)(const PoolArgs&)> kernels[] = {
        {"pool_max", &OpLoops::pool_max},
        {"pool_average", &OpLoops::pool_average},
    };
    for (const auto& [name, kernel] : kernels) {
        Report report(name);
        Random random(18);
        constexpr int32_t width = 9;
        for (int32_t count = 1; count <= 5; ++count)
            for (const int32_t n : lengths) {
                const int32_t step = n + random.integer(0, 3), y_step = n + random.integer(0, 3);
                report.begin("%d lines of %d channels, step %d to %d", count, n, step, y_step);
                std::vector<Buffer<float>> inputs;
                std::vector<const float*> lines;
                inputs.reserve(count);
                for (int32_t i = 0; i < count; ++i) {
                    inputs.push_back(n & 1 ? tames(width * step, random) : wilds(width * step, random));
                    lines.push_back(inputs.back().data());
                }
                // Windows of 1 to `width` columns in any order.
                std::vector<int32_t> begin{0}, columns;
                for (int32_t x = 0; x < width; ++x) {
                    for (int32_t k = random.integer(0, x); k >= 0; --k)
                        columns.push_back(random.integer(0, width - 1));
                    begin.push_back(int32_t(columns.size()));
                }
                const Buffer<float> places = tames(width, random);
                const Buffer<float> expected(width * y_step), actual(expected);
                PoolArgs args{lines.data(), count, begin.data(), columns.data(), step, 1.5f, places.data(),
                              expected.data(), y_step, 2, width, n};
                (tables.scalar.ops->*kernel)(args);
                args.y = actual.data();
                (tables.tested.ops->*kernel)(args);
                report.same(expected, actual, "y");
            }
        wrong += report.close();
    }
    return wrong;
}

int reductions(const Tables& tables) {
    Report values("reduce_values"), pixels("reduce_pixels"), each("reduce_rows");
    Random random(14);
    for (int32_t kind = 0; kind <= int32_t(ReduceKind::sum_square); ++kind)
        for (const int32_t n : lengths)
            for (const bool strange : {false, true}) {
                values.begin("kind %d n %d", kind, n);
                const Buffer<float> x = strange ? wilds(n, random) : tames(n, random);
                const float expected = tables.scalar.ops->reduce_values(ReduceKind(kind), x.data(), n);
                const float actual = tables.tested.ops->reduce_values(ReduceKind(kind), x.data(), n);
                values.same(&expected, &actual, 1, "result");

                const int32_t count = random.integer(0, 5), step = n + (strange ? 0 : 3);
                pixels.begin("kind %d %dx%d step %d", kind, count, n, step);
                const int64_t size = count ? int64_t(count - 1) * step + n : 0;
                const Buffer<float> rows = strange ? wilds(size, random) : tames(size, random);
                const Buffer<float> y = tames(n, random), y_actual(y);
                tables.scalar.ops->reduce_pixels({ReduceKind(kind), rows.data(), step, count, n, y.data()});
                tables.tested.ops->reduce_pixels(
                    {ReduceKind(kind), rows.data(), step, count, n, y_actual.data()});
                pixels.same(y, y_actual, "y");

                each.begin("kind %d %dx%d step %d", kind, count, n, step);
                const Buffer<float> row(count), row_actual(count);
                tables.scalar.ops->reduce_rows({ReduceKind(kind), rows.data(), step, count, n, row.data()});
                tables.tested.ops->reduce_rows({ReduceKind(kind), rows.data(), step, count, n, row_actual.data()});
                each.same(row, row_actual, "y");
            }
    const int wrong = values.close() + pixels.close();
    return wrong + each.close();
}

int softmax(const Tables& tables) {
    Report values("softmax_values"), pixels("softmax_pixels"), few("softmax_few");
    Random random(15);
    for (const int32_t n : lengths)
        for (const bool log : {false, true})
            for (int32_t variant = 0; variant < 6; ++variant) {
                const bool strange = variant & 1;
                const int32_t count = variant < 4 ? variant + 1 : 7 * variant, gap = variant / 2;
                const int64_t size = int64_t(count - 1) * (n + gap) + n;
                const Buffer<float> x = strange ? wilds(size, random) : tames(size, random);
                const Buffer<float> expected(size, 0, 9.0f), actual(expected), scratch(2 * std::max(n, count));
                SoftmaxArgs args{x.data(), expected.data(), n + gap, n + gap, count, n, scratch.data(), log,
                                 !log && variant > 2};
                SoftmaxArgs tested = args;
                tested.y = actual.data();
                values.begin("n %d log %d wild %d", n, log, strange);
                tables.scalar.ops->softmax_values(args);
                tables.tested.ops->softmax_values(tested);
                values.same(expected, actual, "y");
                pixels.begin("%dx%d gap %d log %d wild %d", count, n, gap, log, strange);
                tables.scalar.ops->softmax_pixels(args);
                tables.tested.ops->softmax_pixels(tested);
                pixels.same(expected, actual, "y");
                if (n < 1 || n >= SoftmaxArgs::many_channels) continue;
                few.begin("%dx%d gap %d log %d wild %d", count, n, gap, log, strange);
                tables.scalar.ops->softmax_few(args);
                tables.tested.ops->softmax_few(tested);
                few.same(expected, actual, "y");
                for (int32_t p = 0; p < count; ++p) {
                    args.x = x.data() + int64_t(p) * args.x_step;
                    args.y = actual.data() + int64_t(p) * args.y_step;
                    args.count = 1;
                    tables.tested.ops->softmax_few(args);
                }
                few.same(expected, actual, "y, pixel by pixel");
            }
    const int wrong = values.close() + pixels.close();
    return wrong + few.close();
}

bool layer_norm(const Tables& tables) {
    Report report("layer_norm");
    Random random(16);
    for (const int32_t n : lengths)
        for (int32_t variant = 0; variant < 6; ++variant) {
            const int32_t pixels = variant / 2 + 1, gap = variant & 1 ? 3 : 0;
            report.begin("%dx%d gap %d", pixels, n, gap);
            const int64_t size = int64_t(pixels - 1) * (n + gap) + n;
            const Buffer<float> x = variant == 5 ? wilds(size, random) : tames(size, random);
            const Buffer<float> scale = tames(int64_t(pixels) * n, random);
            const Buffer<float> bias = tames(int64_t(pixels) * n, random);
            const Buffer<float> expected(size, 0, 9.0f), actual(expected);
            NormArgs args{x.data(), expected.data(), n + gap, n + gap, pixels, n,
                          scale.data(), bias.data(), 1e-5f};
            tables.scalar.ops->layer_norm(args);
            args.y = actual.data();
            tables.tested.ops->layer_norm(args);
            report.same(expected, actual, "y");
        }
    return report.close();
}

bool norm_pixels(const Tables& tables) {
    Report report("norm_pixels");
    Random random(18);
    for (const int32_t n : {1, 2, 3, 5, 8, 15, 16, 17, 33, 63, 64})
        for (const int32_t count : {1, 2, 63, 64, 65, 200})
            for (const bool strange : {false, true}) {
                const int32_t group = n % 3 ? n % 2 ? 1 : n / 2 : n / 3;
                const int32_t gap = random.integer(0, 2);
                const int64_t size = int64_t(count - 1) * (n + gap) + n;
                report.begin("%dx%d groups of %d gap %d", count, n, group, gap);
                const Buffer<float> x = strange ? wilds(size, random) : tames(size, random);
                const Buffer<float> expected(size, 0, 9.0f), actual(expected);
                PixelNormArgs args{x.data(), expected.data(), n + gap, n + gap, count, n, group, 1e-5f};
                tables.scalar.ops->norm_pixels(args);
                args.y = actual.data();
                tables.tested.ops->norm_pixels(args);
                report.same(expected, actual, "y");
            }
    return report.close();
}

bool matmul(const Tables& tables) {
    Report report("matmul");
    Random random(17);
    for (const int32_t m : {1, 2, 3, 5, 13, 27})
        for (const int32_t k : {1, 3, 4, 17, 33, 256, 257})
            for (const int32_t n : lengths) {
                const int32_t gap = random.integer(0, 2);
                report.begin("%dx%dx%d gap %d", m, k, n, gap);
                const Buffer<float> a = tames(int64_t(m - 1) * (k + gap) + k, random),
                                    b = tames(int64_t(k - 1) * (n + gap) + n, random);
                if (random.chance(0.1)) a[0] = special(random);
                const Buffer<float> expected(int64_t(m - 1) * (n + gap) + n, 0, 9.0f), actual(expected);
                MatMulArgs args{a.data(), b.data(), expected.data(), k + gap, n + gap, n + gap, m, k, n};
                tables.scalar.ops->matmul(args);
                args.y = actual.data();
                tables.tested.ops->matmul(args);
                report.same(expected, actual, "y");
            }
    return report.close();
}

}  // namespace

int test_op_loops(const Tables& tables) {
    int wrong = unary(tables);
    wrong += binary(tables);
    wrong += windows(tables);
    wrong += pools(tables);
    wrong += reductions(tables);
    wrong += softmax(tables);
    wrong += layer_norm(tables);
    wrong += norm_pixels(tables);
    wrong += matmul(tables);
    return wrong;
}

}  // namespace mquans::test
