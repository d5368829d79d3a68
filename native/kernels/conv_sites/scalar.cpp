#include "kernels/simd/activate_scalar.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {

int32_t order(int32_t position, int32_t) { return position; }

void conv_sites(const ConvArgs& args) {
    for (int32_t k = 0; k < args.block_count; ++k) {
        const ConvBlock& block = args.blocks[k];
        for (int32_t i = 0; i < args.sites; ++i)
            for (int32_t o = 0; o < block.outputs; ++o) {
                int32_t sum = block.bias[o];
                const int16_t* weight = block.weights + 2 * o;
                for (const WindowRun* run = args.runs; run < args.runs + args.run_count; ++run)
                    for (int32_t k = 0; k < run->length; k += 2, weight += 2 * block.outputs) {
                        const int16_t* x = args.x + args.at[i] + block.x_first + run->at + k;
                        sum += weight[0] * x[0] + weight[1] * x[1];
                    }
                const int32_t c = block.y_first + o;
                const int32_t u = args.scaled ? scaled(sum, block.shift[o]) : sum >> block.shift[o];
                store_code(args.held, i, c, saturate(u), args.y + int64_t(i) * args.y_stride);
            }
    }
}

}  // namespace mquans::MQ_ISA
