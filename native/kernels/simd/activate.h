// Activations on registers of codes, as codes.h defines them. A function is an object with the constants of one
// register of channels; which one is chosen outside of the loops.
#pragma once

#include "kernels/simd/words.h"
#include "mquans/codes.h"

namespace mquans::MQ_ISA {

#define MQ_MEMBER __attribute__((always_inline))

// S(t), from the table, which lies in registers, or from the line.
template <bool COARSER, bool TABLE>
struct Share {
    Segments segments;
    I16 limit, left, right, line_slope, line_start;

    MQ_MEMBER static const SigmoidTable& table(const ActivationArgs& args) {
        alignas(64) static constexpr SigmoidTable zeros = {};
        return TABLE ? *args.table : zeros;
    }
    MQ_MEMBER explicit Share(const ActivationArgs& args)
        : segments(table(args).a, table(args).b, table(args).c),
          line_slope(all16(args.line_slope)),
          line_start(all16(args.line_start)) {}
    MQ_MEMBER void at(const ActivationArgs& args, int32_t c) {
        if (COARSER) limit = load16(args.limit + c), left = load16(args.left + c);
        right = load16(args.right + c);
    }
    MQ_MEMBER I16 argument(I16 u) const {
        I16 t = u;
        if (COARSER) t = mullo16(max16(min16(u, limit), sub16(all16(0), limit)), left);
        return mulhrs16(t, right);
    }
    MQ_MEMBER I16 operator()(I16 u) const {
        const I16 t = argument(u);
        if (!TABLE) return max16(adds16(mulhrs16(t, line_slope), line_start), all16(0));
        const I16 s = segments.at(abs16(t)), sign = negative(t);
        return sub16(xor16(s, sign), and16(sign, all16(-32768)));  // 1 - s for negative t
    }
};

struct Identity {
    MQ_MEMBER explicit Identity(const ActivationArgs&) {}
    MQ_MEMBER void at(const ActivationArgs&, int32_t) {}
    MQ_MEMBER I16 operator()(I16 u) const { return u; }
};

struct Slope {
    I16 slope;
    MQ_MEMBER explicit Slope(const ActivationArgs&) {}
    MQ_MEMBER void at(const ActivationArgs& args, int32_t c) { slope = load16(args.slope + c); }
    MQ_MEMBER I16 operator()(I16 u) const {
        return xor16(u, and16(xor16(u, mulhrs16(u, slope)), negative(u)));
    }
};

template <bool COARSER, bool TABLE, bool FINER>
struct Gate {
    Share<COARSER, TABLE> share;
    I16 gain, bound, rounding;
    MQ_MEMBER explicit Gate(const ActivationArgs& args) : share(args) {}
    MQ_MEMBER void at(const ActivationArgs& args, int32_t c) {
        share.at(args, c);
        if (FINER) gain = load16(args.gain + c), bound = load16(args.bound + c), rounding = load16(args.rounding + c);
    }
    MQ_MEMBER I16 operator()(I16 u) const {
        const I16 s = share(u);
        if (!FINER) return mulhrs16(u, s);
        const I16 high_half = max16(min16(mulhi16(u, s), bound), sub16(all16(0), bound));
        const I16 low_half = adds_unsigned16(mullo16(u, s), rounding);
        return add16(mullo16(high_half, gain), mulhi_unsigned16(low_half, gain));
    }
};

template <bool COARSER, bool TABLE>
struct Curve {
    Share<COARSER, TABLE> share;
    I16 scale, start;
    MQ_MEMBER explicit Curve(const ActivationArgs& args)
        : share(args), scale(all16(args.scale)), start(all16(args.start)) {}
    MQ_MEMBER void at(const ActivationArgs& args, int32_t c) { share.at(args, c); }
    MQ_MEMBER I16 operator()(I16 u) const { return adds16(mulhrs16(share(u), scale), start); }
};

// By the sign of u: t may have been rounded to zero.
template <bool COARSER>
struct Elu {
    Share<COARSER, true> share;
    I16 slope;
    MQ_MEMBER explicit Elu(const ActivationArgs& args) : share(args) {}
    MQ_MEMBER void at(const ActivationArgs& args, int32_t c) {
        share.at(args, c);
        slope = load16(args.slope + c);
    }
    MQ_MEMBER I16 operator()(I16 u) const {
        const I16 root = share.segments.at(abs16(share.argument(u)));
        const I16 rest = sub16(all16(32767), mulhrs16(root, root));
        return xor16(u, and16(xor16(u, mulhrs16(rest, slope)), negative(u)));
    }
};

// The function, and the clamp of its results.
template <class Function>
struct Clamped {
    Function function;
    I16 low, high;
    static constexpr bool active = true;
    MQ_MEMBER explicit Clamped(const ActivationArgs& args) : function(args) {}
    MQ_MEMBER void at(const ActivationArgs& args, int32_t c) {
        function.at(args, c);
        low = load16(args.low + c), high = load16(args.high + c);
    }
    MQ_MEMBER I16 operator()(I16 u) const { return min16(max16(function(u), low), high); }
};

struct Untouched : Identity {
    using Identity::Identity;
    static constexpr bool active = false;
};

template <bool COARSER, bool TABLE, class F>
MQ_FORCE void with_gain(const ActivationArgs& args, F&& f) {
    args.finer ? f(Clamped<Gate<COARSER, TABLE, true>>(args)) : f(Clamped<Gate<COARSER, TABLE, false>>(args));
}

// Calls f with the activation's object.
template <class F>
MQ_FORCE void with_activation(const ActivationArgs& args, F&& f) {
    const bool coarser = args.coarser, table = args.table;
    switch (args.kind) {
        case ActivationKind::lookup:  // was done before
        case ActivationKind::none:
            if (!args.low) return f(Untouched(args));
            return f(Clamped<Identity>(args));
        case ActivationKind::slope: return f(Clamped<Slope>(args));
        case ActivationKind::gate:
            if (table) return coarser ? with_gain<true, true>(args, f) : with_gain<false, true>(args, f);
            return coarser ? with_gain<true, false>(args, f) : with_gain<false, false>(args, f);
        case ActivationKind::curve:
            if (!table) return coarser ? f(Clamped<Curve<true, false>>(args)) : f(Clamped<Curve<false, false>>(args));
            return coarser ? f(Clamped<Curve<true, true>>(args)) : f(Clamped<Curve<false, true>>(args));
        case ActivationKind::elu: return coarser ? f(Clamped<Elu<true>>(args)) : f(Clamped<Elu<false>>(args));
    }
}

}  // namespace mquans::MQ_ISA
