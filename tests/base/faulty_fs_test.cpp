// SPDX-License-Identifier: MIT
#include "moe/base/faulty_fs.h"

#include <cerrno>
#include <gtest/gtest.h>
#include <map>
#include <set>

#include "temp_folder.h"

namespace moe {
namespace {

void put(Fs& fs, const std::string& path, std::string_view text, bool sync) {
  const auto file = fs.create(path);
  file->write(std::as_bytes(std::span(text)));
  if (sync) file->sync();
  file->close();
}

/// What a power cut leaves, as "name=content" per file.
std::set<std::string> after_power_cut(const FaultyFs& fs, uint64_t seed) {
  const TempFolder folder;
  fs.materialise(folder / "root", seed);
  std::set<std::string> files;
  const auto visit = [&](const auto& self, const std::string& path,
                         const std::string& prefix) -> void {
    for (const std::string& name : list_directory(path)) {
      const std::string child = join_path(path, name);
      if (is_directory(child)) {
        files.insert(prefix + name + "/");
        self(self, child, prefix + name + "/");
      } else {
        files.insert(prefix + name + "=" + read_file(child));
      }
    }
  };
  visit(visit, folder / "root", "");
  return files;
}

using Files = std::set<std::string>;

TEST(FaultyFs, NothingIsDurableBeforeItIsSynced) {
  const TempFolder folder;
  FaultyFs fs(folder.path());
  put(fs, folder / "a", "data", true);
  EXPECT_EQ(after_power_cut(fs, 0), Files{}) << "the data are on disk, the name is not";
  EXPECT_EQ(after_power_cut(fs, 1), Files{"a=data"});
  fs.sync_directory(folder.path());
  EXPECT_EQ(after_power_cut(fs, 0), Files{"a=data"});
  put(fs, folder / "b", "data", false);
  fs.sync_directory(folder.path());
  EXPECT_EQ(after_power_cut(fs, 0), (Files{"a=data", "b="}))
      << "the name is on disk, the data are not";
}

TEST(FaultyFs, ContentFromBeforeIsDurable) {
  const TempFolder folder;
  make_directories(real_fs(), folder / "d");
  write_file_atomic(real_fs(), folder / "d/a", "old");
  FaultyFs fs(folder.path());
  put(fs, folder / "d/a", "new", false);
  EXPECT_EQ(after_power_cut(fs, 0), (Files{"d/", "d/a=old"}));
  EXPECT_EQ(after_power_cut(fs, 1), (Files{"d/", "d/a=new"}));
}

TEST(FaultyFs, UnsyncedDataMayBeCutOrZeroedButAppendingNeverHurtsWhatWasSynced) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "log", "safe");
  FaultyFs fs(folder.path());
  const auto file = fs.append(folder / "log");
  file->write(std::as_bytes(std::span(std::string_view("1234"))));
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const std::string content = *after_power_cut(fs, seed).begin();
    ASSERT_TRUE(content.starts_with("log=safe")) << content;
    seen.insert(content);
  }
  EXPECT_TRUE(seen.contains("log=safe"));
  EXPECT_TRUE(seen.contains("log=safe12"));
  EXPECT_TRUE(seen.contains("log=safe1234"));
  EXPECT_TRUE(seen.contains(std::string("log=safe1\0\0\0", 12)));
}

TEST(FaultyFs, EntriesOfOneFolderAreLostIndependentlyButARenameIsWhole) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "old", "x");
  FaultyFs fs(folder.path());
  put(fs, folder / "a", "a", true);
  put(fs, folder / "b", "b", true);
  fs.rename(folder / "old", folder / "new");
  std::set<Files> seen;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Files files = after_power_cut(fs, seed);
    ASSERT_NE(files.contains("old=x"), files.contains("new=x"));
    seen.insert(files);
  }
  EXPECT_EQ(seen.size(), 8u) << "every subset of the three changes";
}

TEST(FaultyFs, ASyncedFolderMakesARenameAcrossFoldersWhole) {
  const TempFolder folder;
  FaultyFs fs(folder.path());
  fs.make_directory(folder / "d");
  fs.sync_directory(folder.path());
  put(fs, folder / "a", "x", true);
  fs.rename(folder / "a", folder / "d/a");
  fs.sync_directory(folder / "d");
  for (uint64_t seed = 0; seed < 50; ++seed)
    ASSERT_EQ(after_power_cut(fs, seed), (Files{"d/", "d/a=x"}))
        << "neither lost nor doubled, seed " << seed;
}

TEST(FaultyFs, ARemovedFileMayComeBackUntilTheFolderIsSynced) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "a", "x");
  FaultyFs fs(folder.path());
  fs.remove_file(folder / "a");
  EXPECT_EQ(after_power_cut(fs, 0), Files{"a=x"});
  fs.sync_directory(folder.path());
  EXPECT_EQ(after_power_cut(fs, 0), Files{});
}

TEST(FaultyFs, TheChosenCallFailsLikeTheRealOneAndTheRestWorks) {
  const TempFolder folder;
  FaultyFs fs(folder.path());
  fs.fail_at(2, ENOSPC);
  const auto file = fs.create(folder / "a");
  EXPECT_EQ(
      error_of([&] { file->write(std::as_bytes(std::span(std::string_view("1234")))); }),
      "[fs] cannot write " + folder / "a" +
          ": No space left on device; the disk is full, free some space or choose another folder");
  EXPECT_EQ(read_file(folder / "a"), "12") << "half of the bytes are written";
  fs.remove_file(folder / "a");
  EXPECT_EQ(fs.n_calls(), 3);
  EXPECT_FALSE(exists(folder / "a"));
}

TEST(FaultyFs, AfterAFailedSyncTheDataNeverBecomeDurable) {
  const TempFolder folder;
  FaultyFs fs(folder.path());
  const auto file = fs.create(folder / "a");
  fs.sync_directory(folder.path());
  file->write(std::as_bytes(std::span(std::string_view("1234"))));
  fs.fail_at(4, EIO);
  EXPECT_NE(error_of([&] { file->sync(); }), "");
  file->sync();
  EXPECT_EQ(after_power_cut(fs, 0), Files{"a="});
}

TEST(FaultyFs, ACrashStopsEveryLaterCall) {
  const TempFolder folder;
  FaultyFs fs(folder.path());
  fs.crash_at(3);
  const auto file = fs.create(folder / "a");
  file->write(std::as_bytes(std::span(std::string_view("12"))));
  EXPECT_THROW(file->write(std::as_bytes(std::span(std::string_view("3456")))), SimulatedCrash);
  EXPECT_TRUE(fs.crashed());
  file->write(std::as_bytes(std::span(std::string_view("78"))));
  fs.remove_file(folder / "a");
  put(fs, folder / "b", "b", true);
  EXPECT_EQ(fs.n_calls(), 3);
  EXPECT_EQ(list_directory(folder.path()), std::vector<std::string>{"a"});
  EXPECT_EQ(read_file(folder / "a"), "1234") << "half of the last write";
}

TEST(FaultyFs, PathsOutsideItsRootAreRefused) {
  const TempFolder folder;
  FaultyFs fs(folder.path());
  EXPECT_NE(error_of([&] { fs.make_directory("/tmp"); }), "");
}

/// Runs work on a fresh folder with "a" = "old" for every call it makes, with the fault set for
/// that call.
template <class SetFault, class Check>
void at_every_call(SetFault set_fault, Check check) {
  for (int64_t call = 1;; ++call) {
    const TempFolder folder;
    write_file_atomic(real_fs(), folder / "a", "old");
    FaultyFs fs(folder.path());
    set_fault(fs, call);
    bool failed = false;
    try {
      write_file_atomic(fs, folder / "a", "new");
    } catch (const SimulatedCrash&) {
      failed = true;
    } catch (const Error&) {
      failed = true;
    }
    check(fs, folder, failed);
    if (fs.n_calls() < call) return;  // the fault lay beyond the last call
    ASSERT_LT(call, 100);
  }
}

TEST(WriteFileAtomic, AProcessKilledAtAnyCallLeavesOldOrNew) {
  at_every_call([](FaultyFs& fs, int64_t call) { fs.crash_at(call); },
                [](FaultyFs&, const TempFolder& folder, bool failed) {
                  const std::string content = read_file(folder / "a");
                  EXPECT_TRUE(content == "old" || content == "new") << content;
                  EXPECT_TRUE(failed || content == "new");
                });
}

TEST(WriteFileAtomic, APowerCutAtAnyCallLeavesOldOrNewAndNewOnceItReturned) {
  at_every_call([](FaultyFs& fs, int64_t call) { fs.crash_at(call); },
                [](FaultyFs& fs, const TempFolder&, bool failed) {
                  for (uint64_t seed = 0; seed < 30; ++seed) {
                    const Files files = after_power_cut(fs, seed);
                    EXPECT_NE(files.contains("a=old"), files.contains("a=new"));
                    EXPECT_TRUE(failed || files == Files{"a=new"});
                  }
                });
}

TEST(WriteFileAtomic, AFailureOfAnyCallKeepsTheOldFileOrFinishesTheNewAndLeavesNoLitter) {
  for (const int error_number : {ENOSPC, EIO})
    at_every_call([&](FaultyFs& fs, int64_t call) { fs.fail_at(call, error_number); },
                  [](FaultyFs&, const TempFolder& folder, bool failed) {
                    const std::string content = read_file(folder / "a");
                    EXPECT_TRUE(content == "old" || content == "new") << content;
                    EXPECT_TRUE(failed || content == "new");
                    EXPECT_EQ(list_directory(folder.path()).size(), 1u);
                  });
}

}  // namespace
}  // namespace moe
