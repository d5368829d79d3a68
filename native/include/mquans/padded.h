// Sizes in whole units.
#pragma once

namespace mquans {

template <class T>
T padded(T value, T to) {
    return (value + to - 1) / to * to;
}

}  // namespace mquans
