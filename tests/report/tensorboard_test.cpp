// SPDX-License-Identifier: MIT
// TensorBoard event files: every byte against a file that TensorBoard's own library wrote, and what
// happens on failure.
#include "moe/report/tensorboard.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <map>

#include "moe/base/error.h"
#include "moe/report/crc32c.h"

namespace moe {
namespace {

using testing::HasSubstr;

// Files in memory; writes start to fail after `n_writes_allowed`, each failing write leaving half
// its bytes.
class MemoryFs : public Fs {
 public:
  std::map<std::string, std::string> files;
  int n_writes_allowed = 1 << 30, n_syncs = 0;

  std::unique_ptr<WritableFile> create(const std::string& path) override {
    files[path].clear();
    return std::make_unique<File>(*this, files[path]);
  }
  std::unique_ptr<WritableFile> append(const std::string& path) override {
    return std::make_unique<File>(*this, files[path]);
  }
  void rename(const std::string&, const std::string&) override { FAIL(); }
  void remove_file(const std::string&) override { FAIL(); }
  void make_directory(const std::string&) override { FAIL(); }
  void remove_directory(const std::string&) override { FAIL(); }
  void sync_directory(const std::string&) override {}

 private:
  struct File : WritableFile {
    File(MemoryFs& owner, std::string& bytes) : fs(owner), content(bytes) {}
    void write(std::span<const std::byte> bytes) override {
      const bool fails = fs.n_writes_allowed-- <= 0;
      content.append(reinterpret_cast<const char*>(bytes.data()),
                     fails ? bytes.size() / 2 : bytes.size());
      if (fails) throw Error("[fs] disk full", ExitCode::io);
    }
    void sync() override { ++fs.n_syncs; }
    void close() override {}
    MemoryFs& fs;
    std::string& content;
  };
};

constexpr double kStart = 1700000000.25;

TensorBoardOptions options() {
  return {.wall_time_seconds = kStart, .resume_at_step = {}, .host = "host", .pid = 42};
}

// A folder of its own on disk, gone at the end.
class TensorBoardFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder = join_path(testing::TempDir(), str("moe_tensorboard_", ::getpid()));
    make_directories(real_fs(), folder);
  }
  void TearDown() override { remove_all(real_fs(), folder); }
  std::string folder;
};

TEST(Crc32c, EqualsPublishedAnswers) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);  // the check value of every CRC catalogue
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);    // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);  // RFC 3720, B.4
}

TEST(Crc32c, MaskRotatesAndAdds) {
  EXPECT_EQ(masked_crc32c(""), 0xa282ead8u);
  EXPECT_EQ(masked_crc32c("123456789"), ((0xe3069283u >> 15) | (0xe3069283u << 17)) + 0xa282ead8u);
}

TEST(TensorBoard, EveryByteEqualsTheLibrarys) {
  MemoryFs fs;
  std::string path;
  {
    TensorBoardOptions resumed = options();
    resumed.resume_at_step = 501;
    TensorBoardWriter writer(fs, "runs/x", resumed);
    path = writer.path();
    // The scalars of tools/make_report_golden.py.
    writer.scalar("train/loss", 2.5f, 1, kStart + 1);
    writer.scalar("train/loss", 0.0f, 0, 0.0);
    writer.scalar("größe", -0.0f, int64_t{1} << 40, kStart + 2);
    writer.scalar("", std::numeric_limits<float>::infinity(), -1, kStart + 3);
    writer.scalar("nan", std::numeric_limits<float>::quiet_NaN(), 300, kStart + 4);
    writer.scalar(std::string(200, 'x'), 1e-45f, 128, kStart + 5);
  }
  EXPECT_EQ(fs.files[path], read_file(join_path(MOE_GOLDEN_DIR, "report/resumed.tfevents")));
}

TEST(TensorBoard, FileNameTellsTimeHostAndProcess) {
  MemoryFs fs;
  EXPECT_EQ(TensorBoardWriter(fs, "runs/x", options()).path(),
            "runs/x/events.out.tfevents.1700000000.host.42.0");
}

TEST(TensorBoard, HostileHostNameStaysOneFileName) {
  MemoryFs fs;
  TensorBoardOptions hostile = options();
  hostile.host = "../a/b\n";
  EXPECT_EQ(TensorBoardWriter(fs, "x", hostile).path(),
            "x/events.out.tfevents.1700000000..._a_b_.42.0");
}

TEST(TensorBoard, RefusesATimeThatDoesNotFitTheName) {
  MemoryFs fs;
  for (const double time : {-1.0, 1e10, std::nan("")}) {
    TensorBoardOptions bad = options();
    bad.wall_time_seconds = time;
    EXPECT_THROW(TensorBoardWriter(fs, "x", bad), Error);
  }
  EXPECT_TRUE(fs.files.empty());
}

TEST(TensorBoard, BrokenUtf8InATagBecomesReplacementCharacters) {
  MemoryFs fs;
  std::string path;
  {
    TensorBoardWriter writer(fs, "x", options());
    path = writer.path();
    writer.scalar("a\xff", 1, 1, kStart);
  }
  EXPECT_THAT(fs.files[path], HasSubstr("\x0a\x04"  // tag, 4 bytes
                                        "a\xef\xbf\xbd"));
}

TEST(TensorBoard, RecordsReachTheFileAtFlush) {
  MemoryFs fs;
  TensorBoardWriter writer(fs, "x", options());
  const size_t head = fs.files[writer.path()].size();
  EXPECT_GT(head, 0u);  // the first record is there at once, so that a reader accepts the file
  writer.scalar("loss", 1, 1, kStart);
  EXPECT_EQ(fs.files[writer.path()].size(), head);
  writer.flush();
  EXPECT_GT(fs.files[writer.path()].size(), head);
  EXPECT_EQ(fs.n_syncs, 0);
  writer.sync();
  EXPECT_EQ(fs.n_syncs, 1);
}

TEST(TensorBoard, MemoryIsBoundedWithoutAFlush) {
  MemoryFs fs;
  TensorBoardWriter writer(fs, "x", options());
  for (int i = 0; i < 3000; ++i) writer.scalar("loss", 1, i, kStart);
  EXPECT_GT(fs.files[writer.path()].size(), size_t{64} << 10);
}

TEST(TensorBoard, AfterAFailedWriteNothingMoreIsWritten) {
  MemoryFs fs;
  fs.n_writes_allowed = 1;  // the constructor's
  std::string path, torn;
  {
    TensorBoardWriter writer(fs, "x", options());
    path = writer.path();
    writer.scalar("loss", 1, 1, kStart);
    EXPECT_THROW(writer.flush(), Error);
    torn = fs.files[path];
    fs.n_writes_allowed = 1 << 30;  // space again: still nothing may follow the half record
    EXPECT_THROW(writer.scalar("loss", 1, 2, kStart), Error);
    EXPECT_THROW(writer.flush(), Error);
    EXPECT_THROW(writer.sync(), Error);
  }
  EXPECT_EQ(fs.files[path], torn);
}

TEST_F(TensorBoardFolder, AResumedRunsFileSortsAfterEveryEarlierOne) {
  TensorBoardOptions first = options(), second = options();
  first.pid = 9;
  second.pid = 10;  // "10" sorts before "9"
  second.resume_at_step = 7;
  const std::string a = TensorBoardWriter(real_fs(), folder, first).path();
  const std::string b = TensorBoardWriter(real_fs(), folder, second).path();
  second.wall_time_seconds -= 1000;  // a clock set back
  const std::string c = TensorBoardWriter(real_fs(), folder, second).path();
  EXPECT_LT(a, b);
  EXPECT_LT(b, c);
  EXPECT_EQ(list_directory(folder),
            (std::vector<std::string>{file_name(a), file_name(b), file_name(c)}));
}

TEST_F(TensorBoardFolder, DroppingEventsLeavesEachStepOnceAndMendsATornEnd) {
  std::string path, before;
  {
    TensorBoardWriter writer(real_fs(), folder, options());
    path = writer.path();
    for (int64_t step = 1; step <= 3; ++step) writer.scalar("loss", float(step), step, kStart);
    writer.flush();
    before = read_file(path);
    writer.scalar("loss", 4, 4, kStart);
    writer.scalar("loss", 300, 300, kStart);  // a step of two bytes
  }
  const std::string whole = read_file(path);
  drop_events_from(real_fs(), folder, 301);
  EXPECT_EQ(read_file(path), whole);
  write_file_atomic(real_fs(), path, whole + whole.substr(0, 20));  // half a record
  drop_events_from(real_fs(), folder, 4);
  EXPECT_EQ(read_file(path), before);
  drop_events_from(real_fs(), folder, 0);
  EXPECT_LT(read_file(path).size(), 60u);  // the version record stays
  EXPECT_GT(read_file(path).size(), 20u);
}

TEST_F(TensorBoardFolder, DroppingEventsSurvivesDamageAnywhere) {
  std::string path;
  {
    TensorBoardWriter writer(real_fs(), folder, options());
    path = writer.path();
    for (int64_t step = 1; step <= 3; ++step) writer.scalar("loss", float(step), step, kStart);
  }
  const std::string whole = read_file(path);
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string hurt = whole;
    hurt[i] = char(hurt[i] ^ 0x81);
    write_file_atomic(real_fs(), path, hurt);
    drop_events_from(real_fs(), folder, 3);
    EXPECT_LT(read_file(path).size(), whole.size());
    EXPECT_TRUE(starts_with(whole, read_file(path))) << i;  // whole records before the damage
  }
}

TEST_F(TensorBoardFolder, ForeignFileNamesAreIgnored) {
  for (const char* name : {"events.out.tfevents.", "events.out.tfevents.17000x0000.h", "notes.txt"})
    write_file_atomic(real_fs(), join_path(folder, name), "");
  EXPECT_EQ(file_name(TensorBoardWriter(real_fs(), folder, options()).path()),
            "events.out.tfevents.1700000000.host.42.0");
}

}  // namespace
}  // namespace moe
