// Steps for every operator that is not a reuse layer, on float tensors as they lie in memory.
//
// Dims are physical sizes, row-major, innermost (channels) last; the last two are width and channels,
// all before them are flattened into rows. Axes are indices into Dims. Any tensor may be strided (a
// channel slice of a wider one) unless said otherwise. Operands that are constant are ordinary tensors
// whose mask stays empty. Every factory throws std::invalid_argument when its arguments disagree.
//
// A step recomputes the output pixels whose inputs are marked and marks exactly these; where such a
// mapping would be costly it recomputes a larger part and marks the pixels whose bits changed. With
// Context::dense everything is recomputed and marked, whatever the input masks say.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "mquans/op_loops.h"
#include "mquans/program.h"

namespace mquans {

using Dims = std::vector<int32_t>;
using StepPtr = std::unique_ptr<Step>;

enum class PoolKind : int32_t { max, average };
enum class PadMode : int32_t { constant, reflect, edge };

// A function of a value, alone or with a number; a and b are its parameters, or a is the number.
struct Link {
    enum class Form : int32_t { alone, number_behind, number_in_front } form;
    int32_t kind;  // UnaryKind or BinaryKind
    float a, b;
};
// y = one function after the other of x. x and y may be the same tensor memory (then their pixels must coincide).
StepPtr make_chain(TensorId x, TensorId y, std::vector<Link> links);

// y = f(a, b) with numpy broadcasting; the three Dims have equal rank (padded in front with 1). y must
// not share memory with an operand: when only the other one moves, the old values are needed again.
StepPtr make_binary(BinaryKind kind, TensorId a, const Dims& dims_a, TensorId b, const Dims& dims_b,
                    TensorId y, const Dims& dims_y);

// Inputs that already lie inside y (same memory, channel slices of it) are not copied.
StepPtr make_concat(const std::vector<TensorId>& inputs, const std::vector<Dims>& dims, int32_t axis,
                    TensorId y, const Dims& dims_y);

// y[i] = x[starts + i * steps], one entry per axis; steps may be negative. A channel slice that shares
// x's memory is not copied.
StepPtr make_slice(TensorId x, const Dims& dims_x, const Dims& starts, const Dims& steps, TensorId y,
                   const Dims& dims_y);

// y = take(x, indices, axis), indices >= 0.
StepPtr make_gather(TensorId x, const Dims& dims_x, int32_t axis, const Dims& indices, TensorId y,
                    const Dims& dims_y);

// y[c] = inputs[input_of[c]][channel_of[c]] for every pixel; all tensors have the same pixels.
StepPtr make_select(const std::vector<TensorId>& inputs, const Dims& input_of, const Dims& channel_of,
                    TensorId y);

// begins: padding in front of every axis; what is behind follows from dims_y.
StepPtr make_pad(TensorId x, const Dims& dims_x, const Dims& begins, PadMode mode, float value, TensorId y,
                 const Dims& dims_y);

// Axes of size 1 are repeated; the two Dims have equal rank (padded in front with 1).
StepPtr make_expand(TensorId x, const Dims& dims_x, TensorId y, const Dims& dims_y);

// y's axis i is x's axis perm[i].
StepPtr make_permute(TensorId x, const Dims& dims_x, const Dims& perm, TensorId y, const Dims& dims_y);

// y holds the same elements in the same flat order with other rows, width and channels (reshape). When
// both are compact and share memory only the mask is mapped, otherwise marked pixels are copied.
StepPtr make_alias(TensorId x, const Dims& dims_x, TensorId y, const Dims& dims_y);

// y: windows of x, see Program::add_windows.
StepPtr make_window_marks(TensorId x, int32_t taps, int32_t step, TensorId y);

// Same shape, other stride or place.
StepPtr make_copy(TensorId x, TensorId y);

// Windows over the axes 1 .. rank-2 of [N, space..., C]; all vectors have one entry per spatial axis.
// Windows are clipped to the padded input; an average counts padding only when asked.
struct PoolGeometry {
    PoolKind kind;
    Dims kernel, strides, pads_begin, pads_end, dilations;
    bool count_include_pad;
};
StepPtr make_pool(TensorId x, const Dims& dims_x, const PoolGeometry& geometry, TensorId y,
                  const Dims& dims_y);

// y holds the elements of the axes that are kept, in order; its own shape may have 1s anywhere.
StepPtr make_reduce(ReduceKind kind, TensorId x, const Dims& dims_x, const Dims& axes, TensorId y);

StepPtr make_softmax(TensorId x, const Dims& dims, int32_t axis, bool log, bool nan_is_zero,
                     TensorId y);

// Normalises over the last `axes` axes. scale and bias have that many elements (bias may be empty).
StepPtr make_layer_norm(TensorId x, const Dims& dims, int32_t axes, float epsilon,
                        const std::vector<float>& scale, const std::vector<float>& bias, TensorId y);

// Over all axes of x between the first and the last, image by image, `group` channels together, at most 64.
StepPtr make_pixel_norm(TensorId x, const Dims& dims, int32_t group, float epsilon, TensorId y);

// numpy.matmul of [..., M, K] and [..., K, N]; leading axes broadcast; the three Dims have equal rank.
StepPtr make_matmul(TensorId a, const Dims& dims_a, TensorId b, const Dims& dims_b, TensorId y,
                    const Dims& dims_y);

// Resampling along one axis: output i is the weighted sum of input[k] for k in [begin[i], begin[i+1]).
// Empty begin: the axis is copied. Weight 1 everywhere with one entry per output: nearest neighbour.
struct AxisWeights {
    std::vector<int32_t> begin;  // [outputs + 1]
    std::vector<int32_t> input;
    std::vector<float> weight;
};
// axes: one per axis of x. Weights multiply across axes.
StepPtr make_resize(TensorId x, const Dims& dims_x, const std::vector<AxisWeights>& axes, TensorId y,
                    const Dims& dims_y);

}  // namespace mquans
