#pragma once

#include <nanobind/nanobind.h>

void bind_program(nanobind::module_& m);
void bind_operators(nanobind::module_& m);
void bind_sites(nanobind::module_& m);
void bind_stream(nanobind::module_& m);
