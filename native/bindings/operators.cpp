// The native operators: add_<operator>(program, step name, ...), one per factory of mquans/ops.h.
#include "mquans/ops.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#include "bindings/bind.h"

namespace nb = nanobind;
using namespace mquans;

namespace {

using AxisTable = std::tuple<std::vector<int32_t>, std::vector<int32_t>, std::vector<float>>;

// Adds one function `name(program, step_name, ...)` with the factory's arguments, positional.
template <class... Args>
void method(nb::module_& m, const char* name, StepPtr (*factory)(Args...)) {
    m.def(name, [factory](Program& program, const std::string& step, std::decay_t<Args>... args) {
        program.add_step(step, factory(args...));
    });
}

StepPtr chain(TensorId x, TensorId y, std::vector<std::tuple<int32_t, int32_t, float, float>> links) {
    std::vector<Link> chained;
    for (auto& [form, kind, a, b] : links) chained.push_back({Link::Form(form), kind, a, b});
    return make_chain(x, y, std::move(chained));
}
StepPtr binary(int32_t kind, TensorId a, Dims dims_a, TensorId b, Dims dims_b, TensorId y, Dims dims_y) {
    return make_binary(BinaryKind(kind), a, dims_a, b, dims_b, y, dims_y);
}
StepPtr pad(TensorId x, Dims dims_x, Dims begins, int32_t mode, float value, TensorId y, Dims dims_y) {
    return make_pad(x, dims_x, begins, PadMode(mode), value, y, dims_y);
}
StepPtr pool(TensorId x, Dims dims_x, int32_t kind, Dims kernel, Dims strides, Dims pads_begin,
             Dims pads_end, Dims dilations, bool count_include_pad, TensorId y, Dims dims_y) {
    const PoolGeometry geometry{PoolKind(kind), kernel, strides, pads_begin, pads_end, dilations,
                                count_include_pad};
    return make_pool(x, dims_x, geometry, y, dims_y);
}
StepPtr reduce(int32_t kind, TensorId x, Dims dims_x, Dims axes, TensorId y) {
    return make_reduce(ReduceKind(kind), x, dims_x, axes, y);
}
StepPtr resize(TensorId x, Dims dims_x, std::vector<AxisTable> axes, TensorId y, Dims dims_y) {
    std::vector<AxisWeights> weights;
    for (auto& [begin, input, weight] : axes) weights.push_back({begin, input, weight});
    return make_resize(x, dims_x, weights, y, dims_y);
}

}  // namespace

void bind_operators(nb::module_& m) {
    method(m, "add_chain", chain);
    method(m, "add_binary", binary);
    method(m, "add_concat", make_concat);
    method(m, "add_select", make_select);
    method(m, "add_slice", make_slice);
    method(m, "add_gather", make_gather);
    method(m, "add_pad", pad);
    method(m, "add_expand", make_expand);
    method(m, "add_permute", make_permute);
    method(m, "add_alias", make_alias);
    method(m, "add_window_marks", make_window_marks);
    method(m, "add_copy", make_copy);
    method(m, "add_pool", pool);
    method(m, "add_reduce", reduce);
    method(m, "add_softmax", make_softmax);
    method(m, "add_layer_norm", make_layer_norm);
    method(m, "add_pixel_norm", make_pixel_norm);
    method(m, "add_matmul", make_matmul);
    method(m, "add_resize", resize);
}
