// One-dimensional arrays from Python, and what the core keeps of them.
#pragma once

#include <nanobind/ndarray.h>

#include <vector>

template <class T>
using Array = nanobind::ndarray<const T, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;

template <class T>
std::vector<T> copy(const Array<T>& array) {
    return {array.data(), array.data() + array.size()};
}
