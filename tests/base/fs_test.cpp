// SPDX-License-Identifier: MIT
#include "moe/base/fs.h"

#include <cerrno>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "moe/base/mmap_file.h"

#include "temp_folder.h"

namespace moe {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

ExitCode exit_code_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.exit_code();
  }
  return ExitCode::ok;
}

TEST(Fs, CreateTruncatesAndAppendContinues) {
  const TempFolder folder;
  const auto put = [](std::unique_ptr<WritableFile> file, std::string_view text) {
    file->write(bytes_of(text));
    file->sync();
    file->close();
  };
  put(real_fs().create(folder / "a"), "long content");
  put(real_fs().create(folder / "a"), "one");
  put(real_fs().append(folder / "a"), " two");
  put(real_fs().append(folder / "b"), "new");
  EXPECT_EQ(read_file(folder / "a"), "one two");
  EXPECT_EQ(read_file(folder / "b"), "new");
  EXPECT_EQ(file_size(folder / "a"), 7u);
  EXPECT_EQ(list_directory(folder.path()), (std::vector<std::string>{"a", "b"}));
}

TEST(Fs, RemovingWhatIsAbsentAndMakingWhatIsPresentIsNoError) {
  const TempFolder folder;
  real_fs().remove_file(folder / "x");
  real_fs().remove_directory(folder / "x");
  real_fs().make_directory(folder / "d");
  real_fs().make_directory(folder / "d");
  EXPECT_TRUE(is_directory(folder / "d"));
}

TEST(Fs, ErrorsNameThePathAndTheReason) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "file", "x");
  EXPECT_EQ(error_of([&] { real_fs().create(folder / "no/x"); }),
            "[fs] cannot create " + folder / "no/x" + ": No such file or directory");
  EXPECT_EQ(error_of([&] { real_fs().make_directory(folder / "file"); }),
            "[fs] cannot make the folder " + folder / "file" + ": File exists");
  EXPECT_NE(error_of([&] { real_fs().rename(folder / "x", folder / "y"); }).find("No such file"),
            std::string::npos);
  EXPECT_NE(error_of([&] { real_fs().sync_directory(folder / "x"); }).find("No such file"),
            std::string::npos);
  EXPECT_EQ(exit_code_of([&] { real_fs().create(folder / "no/x"); }), ExitCode::io);
}

TEST(Fs, AFullDiskIsAnIoErrorThatSaysSo) {
  const auto file = real_fs().create("/dev/full");
  std::string message;
  ExitCode code = ExitCode::ok;
  try {
    file->write(bytes_of("x"));
  } catch (const Error& error) {
    message = error.what();
    code = error.exit_code();
  }
  EXPECT_EQ(message,
            "[fs] cannot write /dev/full: No space left on device; the disk is full, free some "
            "space or choose another folder");
  EXPECT_EQ(code, ExitCode::io);
}

TEST(Fs, ALargeWriteThroughAPipeArrivesWhole) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  const std::string sent(1 << 20, 'x');  // 16 times what a pipe holds: short writes
  const pid_t child = ::fork();
  if (child == 0) {
    const auto file = real_fs().create(folder / "pipe");
    file->write(bytes_of(sent));
    ::_exit(0);
  }
  const std::string received = read_file(folder / "pipe");
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(received.size(), sent.size());
}

TEST(ReadFile, RefusesMissingFoldersAndTooLargeFiles) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "a", "12345");
  EXPECT_EQ(error_of([&] { read_file(folder / "b"); }), "[fs] " + folder / "b" + " does not exist");
  EXPECT_EQ(exit_code_of([&] { read_file(folder / "b"); }), ExitCode::failure);
  EXPECT_NE(error_of([&] { read_file(folder.path()); }).find("is a folder"), std::string::npos);
  EXPECT_EQ(error_of([&] { read_file(folder / "a", 4); }),
            "[fs] " + folder / "a" + " has 5 bytes, more than the 4 that are read here");
  EXPECT_EQ(read_file(folder / "a", 5), "12345");
}

TEST(ReadFile, AnEndlessDeviceStopsAtTheLimit) {
  EXPECT_NE(error_of([] { read_file("/dev/zero", 100'000); }).find("has at least"),
            std::string::npos);
}

TEST(Paths, JoinParentAndNameFitTogether) {
  EXPECT_EQ(join_path("a", "b"), "a/b");
  EXPECT_EQ(join_path("a/", "b"), "a/b");
  EXPECT_EQ(join_path("", "b"), "b");
  EXPECT_EQ(join_path("a", "/b"), "/b");
  EXPECT_EQ(parent_path("a/b"), "a");
  EXPECT_EQ(parent_path("a/b/"), "a");
  EXPECT_EQ(parent_path("a//b"), "a");
  EXPECT_EQ(parent_path("a"), "");
  EXPECT_EQ(parent_path("/a"), "/");
  EXPECT_EQ(parent_path("/"), "/");
  EXPECT_EQ(file_name("a/b.txt"), "b.txt");
  EXPECT_EQ(file_name("a/b/"), "b");
  EXPECT_EQ(file_name("b"), "b");
  EXPECT_EQ(file_name("/"), "/");
  EXPECT_EQ(file_name(""), "");
}

TEST(MakeDirectories, MakesEveryLevel) {
  const TempFolder folder;
  make_directories(real_fs(), folder / "a/b//c/");
  make_directories(real_fs(), folder / "a/b/c");
  EXPECT_TRUE(is_directory(folder / "a/b/c"));
}

TEST(RemoveAll, RemovesATreeButDoesNotFollowLinks) {
  const TempFolder folder;
  make_directories(real_fs(), folder / "keep");
  write_file_atomic(real_fs(), folder / "keep/file", "x");
  make_directories(real_fs(), folder / "tree/sub");
  write_file_atomic(real_fs(), folder / "tree/sub/file", "x");
  ASSERT_EQ(::symlink((folder / "keep").c_str(), (folder / "tree/link").c_str()), 0);
  remove_all(real_fs(), folder / "tree");
  remove_all(real_fs(), folder / "tree");
  EXPECT_FALSE(exists(folder / "tree"));
  EXPECT_TRUE(exists(folder / "keep/file"));
}

TEST(WriteFileAtomic, ReplacesTheFileAndLeavesNothingElse) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "a", "old");
  write_file_atomic(real_fs(), folder / "a", "new");
  EXPECT_EQ(read_file(folder / "a"), "new");
  EXPECT_EQ(list_directory(folder.path()).size(), 1u);
}

TEST(WriteFileAtomic, FollowsLinksAndKeepsThem) {
  const TempFolder folder;
  make_directories(real_fs(), folder / "real");
  ASSERT_EQ(::symlink("real/file", (folder / "relative").c_str()), 0);
  ASSERT_EQ(::symlink((folder / "relative").c_str(), (folder / "absolute").c_str()), 0);
  for (const char* content : {"of nothing", "of the old one"}) {
    write_file_atomic(real_fs(), folder / "absolute", content);
    EXPECT_EQ(read_file(folder / "real/file"), content);
    for (const char* link : {"relative", "absolute"}) {
      struct stat info;
      ASSERT_EQ(::lstat((folder / link).c_str(), &info), 0);
      EXPECT_TRUE(S_ISLNK(info.st_mode)) << link;
    }
  }
  EXPECT_EQ(list_directory(folder / "real").size(), 1u);
  ASSERT_EQ(::symlink("circle", (folder / "circle").c_str()), 0);
  EXPECT_NE(error_of([&] { write_file_atomic(real_fs(), folder / "circle", "x"); }), "");
}

// A rename would leave a file where the pipe or the device was.
TEST(WriteFileAtomic, WritesIntoWhatIsNoRegularFile) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  ASSERT_EQ(::symlink("pipe", (folder / "link").c_str()), 0);
  for (const char* name : {"pipe", "link"}) {
    const pid_t child = ::fork();
    if (child == 0) {
      write_file_atomic(real_fs(), folder / name, "through the pipe");
      ::_exit(0);
    }
    EXPECT_EQ(read_file(folder / "pipe"), "through the pipe");
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    struct stat info;
    ASSERT_EQ(::lstat((folder / "pipe").c_str(), &info), 0);
    EXPECT_TRUE(S_ISFIFO(info.st_mode));
    EXPECT_EQ(list_directory(folder.path()).size(), 2u);
  }
  EXPECT_EQ(exit_code_of([&] { write_file_atomic(real_fs(), folder.path(), "x"); }), ExitCode::io);
}

TEST(FileLock, ASecondHolderIsTurnedAwayUntilTheFirstIsGone) {
  const TempFolder folder;
  const std::string path = folder / "lock";
  {
    FileLock first(path);
    EXPECT_EQ(exit_code_of([&] { FileLock second(path); }), ExitCode::try_again);
    const FileLock moved(std::move(first));
    EXPECT_EQ(exit_code_of([&] { FileLock second(path); }), ExitCode::try_again);
  }
  const FileLock after(path);
}

TEST(FileLock, DiesWithItsProcess) {
  const TempFolder folder;
  const std::string path = folder / "lock";
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const FileLock lock(path);
    (void)!::write(pipe_fds[1], "x", 1);
    ::pause();
  }
  char byte;
  ASSERT_EQ(::read(pipe_fds[0], &byte, 1), 1);  // the child holds the lock
  EXPECT_NE(error_of([&] { FileLock lock(path); }).find("locked by another process"),
            std::string::npos);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  const FileLock lock(path);
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
}

TEST(MmapFile, ShowsTheBytesOfAFile) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "a", "hello");
  write_file_atomic(real_fs(), folder / "empty", "");
  const MmapFile file(folder / "a");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()),
            "hello");
  EXPECT_TRUE(MmapFile(folder / "empty").bytes().empty());
}

TEST(MmapFile, RefusesWhatIsNoRegularFile) {
  const TempFolder folder;
  EXPECT_EQ(error_of([&] { MmapFile file(folder / "x"); }),
            "[fs] " + folder / "x" + " does not exist");
  EXPECT_NE(error_of([&] { MmapFile file(folder.path()); }).find("is a folder"), std::string::npos);
  EXPECT_NE(error_of([] { MmapFile file("/dev/null"); }).find("is not a regular file"),
            std::string::npos);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_NE(error_of([&] { MmapFile file(folder / "pipe"); }).find("is not a regular file"),
            std::string::npos);
}

}  // namespace
}  // namespace moe
