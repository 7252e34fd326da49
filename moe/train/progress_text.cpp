// SPDX-License-Identifier: MIT
#include "moe/train/progress_text.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "moe/base/progress.h"
#include "moe/base/str.h"

namespace moe {
namespace {

constexpr int kBarColumns = 10;

// Five columns up to 999: "1.234", "12.34", "123.4".
std::string loss_text(double loss) {
  const int decimals = loss < 10 ? 3 : loss < 100 ? 2 : 1;
  return loss < 1e4 ? fmt::format("{:.{}f}", loss, decimals) : fmt::format("{:.0e}", loss);
}

std::string rate_text(double per_second) {
  if (per_second < 9999.5) return fmt::format("{:.0f}", per_second);
  if (per_second < 9.995e5) return fmt::format("{:.0f}k", per_second / 1e3);
  return fmt::format("{:.1f}M", per_second / 1e6);
}

// "0:07", "59:59", "23.9h", "12.3d".
std::string short_time(double seconds) {
  if (!(seconds < 1e9)) return "?";
  const int64_t s = std::llround(std::max(0.0, seconds));
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  if (s < 86400) return fmt::format("{:.1f}h", double(s) / 3600);
  return fmt::format("{:.1f}d", double(s) / 86400);
}

std::string short_bytes(uint64_t bytes) {
  const double mib = double(bytes) / 1048576;
  return mib < 999.5 ? fmt::format("{:.0f}MiB", mib) : fmt::format("{:.1f}GiB", mib / 1024);
}

}  // namespace

std::string progress_text(const TrainingProgress& p, int columns) {
  std::string rest = " loss " + loss_text(p.loss);
  if (p.val_loss) rest += " val " + loss_text(*p.val_loss);
  rest += str(" ", rate_text(p.tokens_per_second), " tok/s ETA ", short_time(p.seconds_left));
  if (p.balance) rest += fmt::format(" bal {:.2f}", *p.balance);
  rest += " " + short_bytes(p.memory_bytes);
  const auto add_if_it_fits = [&](const std::string& text) {
    if (int(str("step ", p.step).size() + rest.size() + text.size()) + 1 <= columns - 3)
      rest += text;
  };
  if (p.dead_experts > 0) add_if_it_fits(str(" dead ", p.dead_experts));
  if (p.drop_rate > 0) add_if_it_fits(fmt::format(" drop {:.1f}%", 100 * p.drop_rate));

  std::string step = str("step ", p.step);
  const auto left = [&] { return columns - int(step.size() + rest.size()) - 1; };
  if (const std::string of = str("/", p.steps); left() - int(of.size()) >= kBarColumns) step += of;
  const int bar = std::min(kBarColumns, left());
  return (bar >= 3 ? progress_bar(p.done, bar) + " " : "") + step + rest;
}

}  // namespace moe
