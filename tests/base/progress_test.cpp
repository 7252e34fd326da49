// SPDX-License-Identifier: MIT
#include "moe/base/progress.h"

#include <cmath>
#include <cstdlib>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "moe/base/log.h"
#include "moe/base/str.h"

namespace moe {
namespace {

using Style = ProgressLine::Style;

/// Catches what is written to fd 2.
template <class F>
std::string stderr_of(F&& f) {
  ::testing::internal::CaptureStderr();
  f();
  return ::testing::internal::GetCapturedStderr();
}

TEST(ProgressLine, PipedLinesComeNowAndThenWithTheFirstAndTheLast) {
  const std::string text = stderr_of([] {
    ManualClock clock;
    ProgressLine line(Style::plain, 5, clock);
    for (int step = 0; step < 13; ++step) {
      line.update(str("step ", step));
      clock.advance(1);
    }
  });
  EXPECT_EQ(text, "step 0\nstep 5\nstep 10\nstep 12\n");
}

TEST(ProgressLine, IsSilentWhenQuietAndResultsAreNot) {
  const std::string text = stderr_of([] {
    set_quiet(true);
    ProgressLine().update("step 1", true);
    log_info("details");
    log_result("the result");
    set_quiet(false);
  });
  EXPECT_EQ(text, "the result\n");
}

TEST(Memory, SomeIsAvailableAndNoMoreThanTheMachineCanHave) {
  EXPECT_GT(available_bytes(), uint64_t{1} << 20);
  EXPECT_LT(available_bytes(), uint64_t{1} << 50);
}

TEST(ProgressLine, AForcedLineComesAtOnce) {
  const std::string text = stderr_of([] {
    ManualClock clock;
    ProgressLine line(Style::plain, 5, clock);
    line.update("a");
    line.update("b");
    line.update("c", true);
  });
  EXPECT_EQ(text, "a\nc\n");
}

TEST(ProgressLine, FinishingStartsAnew) {
  const std::string text = stderr_of([] {
    ManualClock clock;
    ProgressLine line(Style::plain, 5, clock);
    line.update("a");
    line.finish();
    line.update("b");
  });
  EXPECT_EQ(text, "a\nb\n");
}

TEST(ProgressLine, PipedTextHasNoEscapeCodes) {
  const std::string text = stderr_of([] {
    ProgressLine line;  // stderr is a file here
    line.update("a\x1b[31m\nb");
    line.note("note");
    log_info("log");
  });
  EXPECT_EQ(text, "a\\x1B[31m\\x0Ab\nnote\nlog\n");
}

TEST(ProgressLine, ATerminalLineIsRedrawnAndNotesGoAboveIt) {
  const std::string text = stderr_of([] {
    ManualClock clock;
    ProgressLine line(Style::line, 5, clock);
    line.update("one");
    clock.advance(1);
    line.update("two");
    line.update("too soon");
    log_warning("careful");
    line.note("note");
  });
  EXPECT_EQ(text,
            "\rone\x1b[K"
            "\rtwo\x1b[K"
            "\r\x1b[Kwarning: careful\ntwo"
            "\r\x1b[Knote\ntwo"
            "\rtoo soon\x1b[K\n");
}

TEST(ProgressLine, IsCutToTheWidthOfTheTerminal) {
  const std::string text = stderr_of([] {
    ProgressLine line(Style::line);
    line.update(std::string(200, 'x'));
  });
  EXPECT_EQ(text,
            "\r" + std::string(79, 'x') + "\x1b[K\n");  // no terminal: 80 columns, one kept free
  const std::string wide = stderr_of([] {
    ProgressLine line(Style::line);
    std::string chinese;
    for (int i = 0; i < 100; ++i) chinese += "\xE4\xB8\xAD";
    line.update(chinese);
  });
  EXPECT_EQ(wide.size(), 1 + 39 * 3 + 4u) << "39 characters of two columns";
}

TEST(ProgressLine, SilentWritesNothing) {
  EXPECT_EQ(stderr_of([] {
              ProgressLine line(Style::silent);
              line.update("a", true);
              line.note("b");
            }),
            "");
}

TEST(Terminal, WidthAndColoursFollowTheTerminalAndTheEnvironment) {
  int controller = -1, terminal = -1;
  winsize size{.ws_row = 24, .ws_col = 132, .ws_xpixel = 0, .ws_ypixel = 0};
  ASSERT_EQ(::openpty(&controller, &terminal, nullptr, nullptr, &size), 0);
  ::setenv("TERM", "xterm", 1);
  ::unsetenv("NO_COLOR");
  EXPECT_TRUE(is_terminal(terminal));
  EXPECT_TRUE(wants_color(terminal));
  EXPECT_EQ(terminal_width(terminal), 132);
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(wants_color(terminal));
  EXPECT_TRUE(is_terminal(terminal));
  ::unsetenv("NO_COLOR");
  ::setenv("TERM", "dumb", 1);
  EXPECT_FALSE(is_terminal(terminal));
  EXPECT_FALSE(wants_color(terminal));
  ::close(controller);
  ::close(terminal);
  EXPECT_FALSE(is_terminal(terminal));
  EXPECT_EQ(terminal_width(terminal), 80);
}

TEST(ProgressBar, FillsFromLeftToRight) {
  EXPECT_EQ(progress_bar(0, 12), "[----------]");
  EXPECT_EQ(progress_bar(0.49, 12), "[####------]");
  EXPECT_EQ(progress_bar(1, 12), "[##########]");
  EXPECT_EQ(progress_bar(7, 4), "[##]");
  EXPECT_EQ(progress_bar(-1, 4), "[--]");
  EXPECT_EQ(progress_bar(std::nan(""), 4), "[--]");
  EXPECT_EQ(progress_bar(0.5, 0), "[]");
}

TEST(Memory, ResidentBytesGrowWithTouchedMemory) {
  const uint64_t before = resident_bytes();
  std::vector<char> block(64 << 20, 1);
  EXPECT_GT(resident_bytes(), before + (60 << 20));
  EXPECT_GE(peak_resident_bytes() + (1 << 20),
            resident_bytes());  // the kernel counts in batches of some pages
  EXPECT_EQ(block[1], 1);
}

TEST(Log, QuietSilencesInformationButNoWarning) {
  const std::string text = stderr_of([] {
    set_quiet(true);
    log_info("a");
    log_warning("b\n");
    set_quiet(false);
    log_info("c");
  });
  EXPECT_EQ(text, "warning: b\\x0A\nc\n");
}

}  // namespace
}  // namespace moe
