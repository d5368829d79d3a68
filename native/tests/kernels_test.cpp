// Compares every kernel of one instruction set with the scalar one, bit for bit, on random data and odd
// shapes: kernels_test ISA. Exits with 1 on a mismatch, with 2 when the CPU lacks the set.
#include <exception>

#include "mquans/isa.h"
#include "tests/check.h"

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: kernels_test ISA\n");
        return 2;
    }
    try {
        const mquans::test::Tables tables{mquans::kernels_for("scalar"), mquans::kernels_for(arguments[1])};
        int wrong = mquans::test::test_convolutions(tables);
        wrong += mquans::test::test_quantize(tables);
        wrong += mquans::test::test_op_loops(tables);
        const mquans::test::SiteTables sites{mquans::site_kernels_for("scalar"),
                                             mquans::site_kernels_for(arguments[1])};
        wrong += mquans::test::test_conv_kernels(sites);
        wrong += mquans::test::test_site_kernels(sites);
        wrong += mquans::test::test_gate_kernels(sites);
        std::printf("%s: %d kernels differ from scalar\n", tables.tested.name, wrong);
        return wrong > 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
