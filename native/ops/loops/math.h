// Elementary functions of one float, without branches, so that loops over them become vector code.
// Fused operations are explicit and nothing is reassociated: every instruction set gives the same bits.
// Relative error below 3e-7 unless noted; polynomials are minimax fits made for these intervals.
#pragma once

#include <cstdint>

namespace mquans::MQ_ISA {

static constexpr float infinity = __builtin_inff();
static constexpr float not_a_number = __builtin_nanf("");

static inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
static inline int32_t bits_of(float x) { return __builtin_bit_cast(int32_t, x); }
static inline float float_of(int32_t bits) { return __builtin_bit_cast(float, bits); }
static inline float power_of_two(int32_t n) { return float_of(int32_t((uint32_t(n) + 127) << 23)); }  // -127 < n < 128
static inline float magnitude(float x) { return __builtin_fabsf(x); }
static inline float larger(float a, float b) { return a > b ? a : b; }
static inline float smaller(float a, float b) { return a < b ? a : b; }

// x = n ln2 + r, |r| <= ln2 / 2; gives n and exp(r) - 1. Cody-Waite reduction.
static inline float reduced_expm1(float x, float& n) {
    n = __builtin_rintf(x * 1.44269504f);
    float r = fma(n, -0.693359375f, x);
    r = fma(n, 2.12194440e-4f, r);
    float q = 1.990783057e-04f;
    q = fma(q, r, 1.393382321e-03f);
    q = fma(q, r, 8.333285339e-03f);
    q = fma(q, r, 4.166646302e-02f);
    q = fma(q, r, 1.666666716e-01f);
    q = fma(q, r, 0.5f);
    return fma(q, r * r, r);
}

// The power of two is applied in two halves, so that results go through denormals to 0 and to inf.
static inline float exp(float x) {
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    float n;
    const float t = reduced_expm1(x, n);
    const int32_t whole = int32_t(n), half = whole >> 1;
    return (1.0f + t) * power_of_two(half) * power_of_two(whole - half);
}

// exp(x) - 1 for x < 88, accurate around 0.
static inline float expm1(float x) {
    x = x < -20.0f ? -20.0f : x;
    float n;
    const float t = reduced_expm1(x, n);
    const float s = power_of_two(int32_t(n));
    return fma(s, t, s - 1.0f);
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }

// x sigmoid(x); 0 below -87, where it is less than 2e-36. So one power of two is enough.
static inline float silu(float x) {
    float e = x < -87.0f ? 87.0f : -x, n;
    e = e < -87.0f ? -87.0f : e;
    const float t = reduced_expm1(e, n);
    const float y = x / (1.0f + (1.0f + t) * power_of_two(int32_t(n)));
    return x < -87.0f ? -0.0f : y;
}

static inline float tanh(float x) {
    float a = magnitude(x);
    a = a > 10.0f ? 10.0f : a;
    const float t = expm1(2.0f * a);
    return __builtin_copysignf(t / (t + 2.0f), x);
}

// x = 2**e * m with m in [sqrt(1/2), sqrt(2)), for finite x > 0; anything for others.
static inline float split_exponent(float x, float& e) {
    const bool tiny = x < 1.17549435e-38f;
    const uint32_t bits = uint32_t(bits_of(tiny ? x * 8388608.0f : x));
    const int32_t whole = int32_t(bits - 0x3f3504f3u) >> 23;
    e = float(whole) - (tiny ? 23.0f : 0.0f);
    return float_of(int32_t(bits - (uint32_t(whole) << 23)));
}

static inline float log(float x) {
    float e;
    const float f = split_exponent(x, e) - 1.0f, w = f * f;
    float p = 7.332343608e-02f;
    p = fma(p, f, -1.165985465e-01f);
    p = fma(p, f, 1.163469627e-01f);
    p = fma(p, f, -1.239671335e-01f);
    p = fma(p, f, 1.425115317e-01f);
    p = fma(p, f, -1.666914970e-01f);
    p = fma(p, f, 2.000068873e-01f);
    p = fma(p, f, -2.499998063e-01f);
    p = fma(p, f, 3.333333135e-01f);
    float y = fma(e, -2.12194440e-4f, f * w * p);
    y = fma(-0.5f, w, y) + f;
    y = fma(e, 0.693359375f, y);
    y = x > 3.40282347e38f ? x : y;
    y = x == 0.0f ? -infinity : y;
    return x >= 0.0f ? y : not_a_number;
}

// log(1 + exp(x)): log1p with the rounding error of 1 + u put back.
static inline float softplus(float x) {
    const float u = exp(-magnitude(x)), w = 1.0f + u;
    return (x < 0.0f ? 0.0f : x) + (log(w) + (u - (w - 1.0f)) / w);
}

// x tanh(log(1 + exp(x))) = x n / (n + 2) with n = exp(x) (exp(x) + 2).
static inline float mish(float x) {
    const float e = exp(x > 20.0f ? 20.0f : x), n = e * (e + 2.0f);
    return x * (n / (n + 2.0f));
}

// exp(z * z) erfc(z) for 0 <= z <= 10.5, as a polynomial in (z - 3) / (z + 3) over 1 + 2 z.
static inline float scaled_erfc(float z) {
    const float s = (z - 3.0f) / (z + 3.0f);
    float p = 3.703168841e-05f;
    p = fma(p, s, -1.777586149e-04f);
    p = fma(p, s, -7.374997367e-04f);
    p = fma(p, s, 1.949044177e-03f);
    p = fma(p, s, 2.527023898e-03f);
    p = fma(p, s, -2.378815226e-02f);
    p = fma(p, s, 6.830649823e-02f);
    p = fma(p, s, -1.192714870e-01f);
    p = fma(p, s, 1.296453774e-01f);
    p = fma(p, s, -4.756239429e-02f);
    p = fma(p, s, -1.356211156e-01f);
    p = fma(p, s, 1.253008008e+00f);
    return p / fma(2.0f, z, 1.0f);
}

static inline float erf(float x) {
    float a = magnitude(x);
    a = a > 10.0f ? 10.0f : a;
    const float u = a * a;
    float p = 7.853854186e-05f;
    p = fma(p, u, -8.010191959e-04f);
    p = fma(p, u, 5.188327748e-03f);
    p = fma(p, u, -2.685381100e-02f);
    p = fma(p, u, 1.128358543e-01f);
    p = fma(p, u, -3.761262596e-01f);
    p = fma(p, u, 1.128379107e+00f);
    const float far = 1.0f - exp(-u) * scaled_erfc(a);
    return __builtin_copysignf(a < 1.0f ? a * p : far, x);
}

// x times the normal distribution function; the square's rounding error is put back into the tail, so
// that large negative x keep their relative accuracy.
static inline float gelu(float x) {
    float a = magnitude(x);
    a = a > 14.8f ? 14.8f : a;
    const float square = a * a, rest = fma(a, a, -square);
    const float tail = 0.5f * exp(-0.5f * square) * fma(-0.5f, rest, 1.0f) * scaled_erfc(a * 0.707106781f);
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3). Relative error below 3e-6
// where the result is below 1e-5.
static inline float gelu_tanh(float x) {
    const float u = x * fma(0.0713548163f, x * x, 1.59576912f);
    return x * sigmoid(u);
}

// sin(x + quarter * pi / 2), reduced in double: accurate for |x| < 1e9.
static inline float sine(float x, double quarter) {
    const double n = __builtin_rint(double(x) * 0.63661977236758134308);
    double r = fma(n, -1.57079632679489655800, double(x));
    r = fma(n, -6.12323399573676603587e-17, r);
    const double turn = n + quarter;
    const float q = float(turn - 4.0 * __builtin_floor(turn * 0.25));
    const float f = float(r), u = f * f;
    float s = 2.717315056e-06f;
    s = fma(s, u, -1.983919938e-04f);
    s = fma(s, u, 8.333329111e-03f);
    s = fma(s, u, -1.666666716e-01f);
    s = fma(s * u, f, f);
    float c = -2.717310394e-07f;
    c = fma(c, u, 2.479892464e-05f);
    c = fma(c, u, -1.388887991e-03f);
    c = fma(c, u, 4.166666791e-02f);
    c = fma(c, u, -0.5f);
    c = fma(c, u, 1.0f);
    const bool odd = q == 1.0f || q == 3.0f;
    const float y = odd ? c : s;
    return q >= 2.0f ? -y : y;
}

// x ** y as C's pow, except that NaN stays NaN for every y but 0. Worked out in double, so large
// exponents lose nothing.
static inline float power(float x, float y) {
    const float a = magnitude(x);
    float e;
    const double m = split_exponent(a, e);
    const double s = (m - 1.0) / (m + 1.0), w = s * s;
    double p = 2.0 / 17.0;
    p = fma(p, w, 2.0 / 15.0);
    p = fma(p, w, 2.0 / 13.0);
    p = fma(p, w, 2.0 / 11.0);
    p = fma(p, w, 2.0 / 9.0);
    p = fma(p, w, 2.0 / 7.0);
    p = fma(p, w, 2.0 / 5.0);
    p = fma(p, w, 2.0 / 3.0);
    p = fma(p, w, 2.0);
    double logarithm = fma(s * p, 1.4426950408889634, double(e));
    logarithm = a == 0.0f ? -1e300 : logarithm;
    logarithm = a > 3.40282347e38f ? 1e300 : logarithm;
    double t = double(y) * logarithm;
    t = t < -160.0 ? -160.0 : t;
    t = t > 160.0 ? 160.0 : t;
    const double n = __builtin_rint(t), r = (t - n) * 0.6931471805599453;
    double q = 1.0 / 3628800.0;
    q = fma(q, r, 1.0 / 362880.0);
    q = fma(q, r, 1.0 / 40320.0);
    q = fma(q, r, 1.0 / 5040.0);
    q = fma(q, r, 1.0 / 720.0);
    q = fma(q, r, 1.0 / 120.0);
    q = fma(q, r, 1.0 / 24.0);
    q = fma(q, r, 1.0 / 6.0);
    q = fma(q, r, 0.5);
    q = fma(q, r, 1.0);
    q = fma(q, r, 1.0);
    const int32_t whole = int32_t(n), half = whole >> 1;
    float z = float(q) * power_of_two(half) * power_of_two(whole - half);
    const bool integral = __builtin_floorf(y) == y;
    const bool odd = y - 2.0f * __builtin_floorf(0.5f * y) == 1.0f;
    const bool negative = bits_of(x) < 0;
    z = (negative && odd) ? -z : z;
    z = (x < 0.0f && !integral && a <= 3.40282347e38f) ? not_a_number : z;
    z = (x != x && y != 0.0f) ? x : z;
    z = y == 2.0f ? x * x : z;
    return y != y ? y : z;
}

}  // namespace mquans::MQ_ISA
