// SPDX-License-Identifier: MIT
// The one writer of stderr: whole lines, and the line that redraws below them. Log lines and
// progress lines go through it, so that one never lands in the middle of the other. Safe to call
// from any thread.
#pragma once

#include <string_view>

namespace moe {

/// Writes text and a newline. A redrawn line that is open is cleared first and drawn again below.
void write_stderr_line(std::string_view text);
/// Replaces the open redrawn line (or opens one) by text, which must fit in the terminal's width.
void redraw_stderr_line(std::string_view text);
/// Ends the redrawn line: it stays as it is and later lines follow. Does nothing when none is open.
void end_stderr_line();

}  // namespace moe
