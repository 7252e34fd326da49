// SPDX-License-Identifier: MIT
// operator new that counts, the same as in tests/base.
#include "tests/base/allocation_peak.cpp"
