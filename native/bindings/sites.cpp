// Building the integer half of a program from Python.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "bindings/arrays.h"
#include "bindings/bind.h"
#include "ops/common.h"
#include "sites/steps.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace mquans;

namespace {

std::shared_ptr<const SigmoidTable> table_of(Array<int16_t> a, Array<int16_t> b, Array<int16_t> c) {
    if (a.size() == 0) return nullptr;
    require(a.size() == 32 && b.size() == 32 && c.size() == 32, "a table has 32 segments");
    auto table = std::make_shared<SigmoidTable>();
    std::copy_n(a.data(), 32, table->a);
    std::copy_n(b.data(), 32, table->b);
    std::copy_n(c.data(), 32, table->c);
    for (int i = 16; i < 32; ++i) require(!table->a[i] && !table->b[i], "segments from 16 on are constant");
    return table;
}

}  // namespace

void bind_sites(nb::module_& m) {
    nb::class_<ActivationSpec>(m, "Activation", "A function of codes, see codes.h.")
        .def(
            "__init__",
            [](ActivationSpec* self, int32_t kind, Array<int16_t> low, Array<int16_t> high, Array<int16_t> slope,
               Array<int16_t> limit, Array<int16_t> left, Array<int16_t> right, Array<int16_t> gain,
               Array<int16_t> bound, Array<int16_t> rounding, Array<int16_t> table_a,
               Array<int16_t> table_b, Array<int16_t> table_c, int16_t line_slope, int16_t line_start, int16_t scale,
               int16_t start, bool coarser, bool finer, Array<uint8_t> lookup, int16_t first) {
                require(kind >= 0 && kind <= int32_t(ActivationKind::lookup), "no such activation");
                require(lookup.size() == (ActivationKind(kind) == ActivationKind::lookup ? lookup_entries : 0),
                        "a lookup has 256 entries");
                require(ActivationKind(kind) != ActivationKind::elu || table_a.size(), "an elu needs its table");
                new (self) ActivationSpec{ActivationKind(kind), copy(low), copy(high), copy(slope), copy(limit),
                                          copy(left), copy(right), copy(gain), copy(bound), copy(rounding),
                                          table_of(table_a, table_b, table_c),
                                          line_slope, line_start, scale, start, coarser, finer, copy(lookup), first};
            },
            "kind"_a, "low"_a.noconvert(), "high"_a.noconvert(), "slope"_a.noconvert(), "limit"_a.noconvert(),
            "left"_a.noconvert(), "right"_a.noconvert(), "gain"_a.noconvert(), "bound"_a.noconvert(),
            "rounding"_a.noconvert(), "table_a"_a.noconvert(), "table_b"_a.noconvert(),
            "table_c"_a.noconvert(), "line_slope"_a, "line_start"_a, "scale"_a, "start"_a, "coarser"_a,
            "finer"_a, "lookup"_a.noconvert(), "first"_a);
    nb::class_<GateSpec>(m, "Gate", "Which sites are taken; without weights all that are computed.")
        .def(
            "__init__",
            [](GateSpec* self, Array<int16_t> weight, int16_t largest, int32_t limit) {
                require(largest >= 0 && limit >= 0, "bounds of a gate are not negative");
                require(int64_t(largest) * largest * int64_t(weight.size()) <= INT32_MAX, "a gate's sum may overflow");
                new (self) GateSpec{copy(weight), largest, limit};
            },
            "weight"_a.noconvert(), "largest"_a, "limit"_a);
    nb::class_<AxisReach>(m, "Reach", "Which outputs a changed input reaches.")
        .def(nb::init<>())
        .def_rw("same", &AxisReach::same)
        .def(
            "windows",
            [](AxisReach& self, Array<int32_t> row_begin, Array<int32_t> row_input, Array<int32_t> column_begin,
               Array<int32_t> column_output) {
                self.row_begin = copy(row_begin);
                self.row_input = copy(row_input);
                self.column_begin = copy(column_begin);
                self.column_output = copy(column_output);
            },
            "row_begin"_a.noconvert(), "row_input"_a.noconvert(), "column_begin"_a.noconvert(),
            "column_output"_a.noconvert());
    nb::class_<ConvPhaseSpec>(m, "ConvPhase", "Output sites that share their taps.")
        .def(
            "__init__",
            [](ConvPhaseSpec* self, Array<int32_t> row_at, Array<int32_t> column_at, Array<int32_t> tap,
               int32_t inputs, Array<int16_t> weights, Array<int32_t> bias, Array<int32_t> shift, int64_t macs) {
                new (self) ConvPhaseSpec{copy(row_at),  copy(column_at), copy(tap),   inputs,
                                         copy(weights), copy(bias),      copy(shift), macs};
            },
            "row_at"_a.noconvert(), "column_at"_a.noconvert(), "tap"_a.noconvert(), "inputs"_a,
            "weights"_a.noconvert(), "bias"_a.noconvert(), "shift"_a.noconvert(), "macs"_a);

    nb::class_<WindowAxis>(m, "WindowAxis", "The inputs that outputs read along one axis.")
        .def(
            "__init__",
            [](WindowAxis* self, Array<int32_t> grid, int32_t taps, Array<int32_t> weight, Array<float> scale) {
                new (self) WindowAxis{copy(grid), taps, copy(weight), copy(scale)};
            },
            "grid"_a.noconvert(), "taps"_a, "weight"_a.noconvert(), "scale"_a.noconvert());
    nb::class_<CombineOperand>(m, "Operand", "A tensor (or -1: a constant) and how it is aligned, see codes.h.")
        .def(
            "__init__",
            [](CombineOperand* self, CodesId x, Array<int16_t> constant, Array<int16_t> limit, Array<int16_t> left,
               Array<int16_t> right) {
                new (self) CombineOperand{x, copy(constant), copy(limit), copy(left), copy(right)};
            },
            "x"_a, "constant"_a.noconvert(), "limit"_a.noconvert(), "left"_a.noconvert(), "right"_a.noconvert());

    m.def("add_join_sites", &add_join_sites, "program"_a, "name"_a, "parts"_a, "y"_a);
    m.def(
        "add_move_sites",
        [](Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach, Array<int32_t> row,
           Array<int32_t> column, Array<int32_t> channel, Array<int16_t> fill) {
            add_move_sites(program, name, x, y, std::move(reach), {copy(row), copy(column), copy(channel), copy(fill)});
        },
        "program"_a, "name"_a, "x"_a, "y"_a, "reach"_a, "row"_a.noconvert(), "column"_a.noconvert(),
        "channel"_a.noconvert(), "fill"_a.noconvert());
    m.def(
        "add_window_sites",
        [](Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach, bool largest,
           WindowAxis rows, WindowAxis columns, Array<float> factor, int16_t limit, GateSpec gate) {
            add_window_sites(program, name, x, y, std::move(reach),
                             {largest, std::move(rows), std::move(columns), copy(factor), limit}, std::move(gate));
        },
        "program"_a, "name"_a, "x"_a, "y"_a, "reach"_a, "largest"_a, "rows"_a, "columns"_a, "factor"_a.noconvert(),
        "limit"_a, "gate"_a);
    m.def(
        "add_align_sites",
        [](Program& program, const std::string& name, CodesId y, CombineOperand a, ActivationSpec activation,
           GateSpec gate) {
            add_combine_sites(program, name, y, {CombineKind::align, std::move(a), {}, {}, {}, {}}, std::move(activation),
                              std::move(gate));
        },
        "program"_a, "name"_a, "y"_a, "a"_a, "activation"_a, "gate"_a, "One operand and a function of it.");
    m.def(
        "add_sum_sites",
        [](Program& program, const std::string& name, CodesId y, CombineOperand a, CombineOperand b,
           ActivationSpec activation, GateSpec gate) {
            add_combine_sites(program, name, y, {CombineKind::sum, std::move(a), std::move(b), {}, {}, {}},
                              std::move(activation), std::move(gate));
        },
        "program"_a, "name"_a, "y"_a, "a"_a, "b"_a, "activation"_a, "gate"_a);
    m.def(
        "add_product_sites",
        [](Program& program, const std::string& name, CodesId y, CombineOperand a, CombineOperand b,
           Array<int32_t> start, Array<int32_t> shift, ActivationSpec activation, GateSpec gate) {
            add_combine_sites(program, name, y,
                              {CombineKind::product, std::move(a), std::move(b), copy(start), copy(shift), {}},
                              std::move(activation), std::move(gate));
        },
        "program"_a, "name"_a, "y"_a, "a"_a, "b"_a, "start"_a.noconvert(), "shift"_a.noconvert(), "activation"_a,
        "gate"_a);
    m.def(
        "add_whole_sites",
        [](Program& program, const std::string& name, CodesId y, CodesId a, CodesId b, bool product, int32_t a_factor,
           int32_t b_factor, int32_t places, ActivationSpec activation, GateSpec gate) {
            const std::vector<int16_t> none(program.code_tensors.at(y).channels);
            add_combine_sites(program, name, y,
                              {product ? CombineKind::scaled : CombineKind::blend,
                               {a, {}, none, none, none},
                               {b, {}, none, none, none},
                               {},
                               {},
                               {a_factor, b_factor, places}},
                              std::move(activation), std::move(gate));
        },
        "program"_a, "name"_a, "y"_a, "a"_a, "b"_a, "product"_a, "a_factor"_a, "b_factor"_a, "places"_a,
        "activation"_a, "gate"_a, "Whole steps of the sum or product of two operands in whole steps.");
    m.def("add_code_tensor", &Program::add_code_tensor, "program"_a, "dims"_a, "border"_a, "channels"_a,
          "packed"_a = false);
    m.def("add_code_view", &Program::add_code_view, "program"_a, "base"_a, "first_channel"_a, "channels"_a);
    m.def(
        "code_tensor_layout",
        [](const Program& program, CodesId id) {
            const CodesSpec& t = program.code_tensors.at(id);
            return std::tuple(t.row_at, t.stride);
        },
        "program"_a, "id"_a, "(elements to the first site of every row, elements between sites)");
    m.def(
        "site_layers",
        [](const Program& program) {
            std::vector<std::tuple<std::string, CodesId, CodesId, int64_t, int64_t>> rows;
            for (const SiteLayer& layer : program.site_layers)
                rows.emplace_back(layer.name, layer.x, layer.y, layer.macs, layer.inputs);
            return rows;
        },
        "program"_a, "(name, input, output, MACs of one dense evaluation, input values) of layers over sites");
    m.def(
        "set_gate",
        [](Program& program, CodesId y, GateSpec gate) {
            require(program.set_gate(y, std::move(gate)), "there is no gate in front of this tensor");
        },
        "program"_a, "y"_a, "gate"_a, "Another gate in front of a tensor of codes, between frames.");
    m.def("add_conv_sites", &add_conv_sites, "program"_a, "name"_a, "x"_a, "y"_a, "reach"_a, "phases"_a,
          "activation"_a, "gate"_a, "groups"_a, "tiled"_a, "scaled"_a, "least"_a.none(), "macs"_a);
    m.def(
        "add_depthwise_sites",
        [](Program& program, const std::string& name, CodesId x, CodesId y, AxisReach reach, Array<int32_t> row_at,
           Array<int32_t> column_at, Array<int32_t> tap, Array<int16_t> weights, Array<int32_t> bias,
           Array<int32_t> shift, Array<uint8_t> narrow, ActivationSpec activation, GateSpec gate, bool scaled,
           int64_t macs) {
            add_depthwise_sites(program, name, x, y, std::move(reach), copy(row_at), copy(column_at), copy(tap),
                                copy(weights), copy(bias), copy(shift), copy(narrow), std::move(activation),
                                std::move(gate), scaled, macs);
        },
        "program"_a, "name"_a, "x"_a, "y"_a, "reach"_a, "row_at"_a.noconvert(), "column_at"_a.noconvert(),
        "tap"_a.noconvert(), "weights"_a.noconvert(), "bias"_a.noconvert(), "shift"_a.noconvert(), "narrow"_a.noconvert(),
        "activation"_a, "gate"_a, "scaled"_a, "macs"_a);
    m.def(
        "add_input_sites",
        [](Program& program, const std::string& name, int32_t input, CodesId y, Array<float> inverse, int16_t least,
           int16_t largest, GateSpec gate) {
            add_input_sites(program, name, input, y, {copy(inverse), least, largest}, std::move(gate));
        },
        "program"_a, "name"_a, "input"_a, "y"_a, "inverse"_a.noconvert(), "least"_a, "largest"_a, "gate"_a);
    m.def(
        "add_picture_sites",
        [](Program& program, const std::string& name, int32_t input, CodesId y, Array<float> inverse, int16_t least,
           int16_t largest, Array<float> factor, Array<float> offset, Array<float> scale, Array<float> shift,
           GateSpec gate, GateSpec motion) {
            add_picture_sites(program, name, input, y, {copy(inverse), least, largest}, {copy(factor), copy(offset)},
                              {copy(scale), copy(shift)}, std::move(gate), std::move(motion));
        },
        "program"_a, "name"_a, "input"_a, "y"_a, "inverse"_a.noconvert(), "least"_a, "largest"_a, "factor"_a.noconvert(),
        "offset"_a.noconvert(), "scale"_a.noconvert(), "shift"_a.noconvert(), "gate"_a, "motion"_a);
    m.def(
        "add_encode_sites",
        [](Program& program, const std::string& name, TensorId x, CodesId y, Array<float> inverse, int16_t least,
           int16_t largest, GateSpec gate) {
            add_encode_sites(program, name, x, y, {copy(inverse), least, largest}, std::move(gate));
        },
        "program"_a, "name"_a, "x"_a, "y"_a, "inverse"_a.noconvert(), "least"_a, "largest"_a, "gate"_a);
    m.def(
        "add_decode_sites",
        [](Program& program, const std::string& name, CodesId x, TensorId y, Array<float> unit) {
            add_decode_sites(program, name, x, y, copy(unit));
        },
        "program"_a, "name"_a, "x"_a, "y"_a, "unit"_a.noconvert());
}
