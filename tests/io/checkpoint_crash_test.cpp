// SPDX-License-Identifier: MIT
// Checkpoints on a disk that fails, a process that dies and a power cut that reorders, at every
// single call of a save: the newest valid checkpoint is the old one or the new one, whole.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <optional>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "moe/base/faulty_fs.h"
#include "moe/io/checkpoint.h"
#include "moe/io/safetensors_folder.h"

#include "tests/io/io_testing.h"

namespace moe {
namespace {

// Disks tried after each crash: nothing unsynced kept, everything kept, ten mixtures.
constexpr uint64_t kPowerCuts = 12;

/// A checkpoint of one small file and two shards of tensors, all of whose bytes depend on
/// `content`.
void save(Fs& fs, const std::string& run, int64_t step, int content, int keep) {
  CheckpointWriter writer(fs, run, step);
  writer.add_file("state.json", str("{\"content\": ", content, "}"));
  std::vector<TensorSource> tensors;
  for (const char* name : {"a", "b"})
    tensors.push_back(
        tensor_source(name, Tensor::from<int32_t>({8}, std::vector<int32_t>(8, content))));
  writer.add_tensors("model", tensors, {}, 32);
  writer.commit(keep);
}

/// The content of the newest valid checkpoint, after checking that each of its files holds the
/// same; 0 when there is none.
int newest_content(const std::string& run) {
  const NewestCheckpoint newest = newest_valid_checkpoint(run);
  if (newest.path.empty()) return 0;
  const SafetensorsFolder folder(newest.path);
  EXPECT_EQ(folder.items().size(), 2u);
  const int content = folder.tensor("a").data<int32_t>()[0];
  for (const int32_t value : folder.tensor("b").data<int32_t>()) EXPECT_EQ(value, content);
  EXPECT_EQ(read_file(join_path(newest.path, "state.json")), str("{\"content\": ", content, "}"));
  return content;
}

/// What is on the disk before the save of (step, content 2, keep); the newest valid checkpoint
/// there has content `old`.
struct Scenario {
  const char* name;
  int64_t step;
  int keep;
  int old;
  bool has_damage;
  void (*prepare)(const std::string& run);
};
const Scenario kScenarios[] = {
    {"first checkpoint of a run", 20, 3, 0, false, [](const std::string&) {}},
    {"one more", 20, 3, 1, false, [](const std::string& run) { save(real_fs(), run, 10, 1, 3); }},
    {"the only one kept", 20, 1, 1, false,
     [](const std::string& run) { save(real_fs(), run, 10, 1, 3); }},
    {"same step again", 10, 1, 1, false,
     [](const std::string& run) { save(real_fs(), run, 10, 1, 3); }},
    {"same step, which is damaged", 20, 3, 1, true,
     [](const std::string& run) {
       save(real_fs(), run, 10, 1, 3);
       save(real_fs(), run, 20, 3, 3);
       put(join_path(run, "checkpoints/ckpt-000020/state.json"), "damaged");
     }},
    {"leftovers of interrupted saves", 20, 3, 1, false,
     [](const std::string& run) {
       save(real_fs(), run, 10, 1, 3);
       const std::string folder = join_path(run, "checkpoints/");
       std::filesystem::copy(folder + "ckpt-000010", folder + "ckpt-000020.tmp-1");
       std::filesystem::rename(folder + "ckpt-000010", folder + "ckpt-000010.old-1");
       put(folder + "latest.tmp-1", "x");
     }},
};

class CheckpointCrash : public testing::Test {
 protected:
  /// A disk as the scenario leaves it, in a folder of its own.
  std::string disk(const Scenario& scenario) {
    const std::string disk = folder_ / str("disk", n_disks_++);
    std::filesystem::create_directories(join_path(disk, "run"));
    scenario.prepare(join_path(disk, "run"));
    return disk;
  }
  static std::vector<std::string> leftovers(const std::string& run) {
    std::vector<std::string> found;
    for (const std::string& name : list_directory(join_path(run, "checkpoints")))
      if (name.find('.') != std::string::npos) found.push_back(name);
    return found;
  }
  TempFolder folder_;
  int n_disks_ = 0;
};

// Many disks: slow.
using CheckpointCrashSlow = CheckpointCrash;

TEST_F(CheckpointCrashSlow, AKillOrAPowerCutAtAnyCallLeavesTheOldOrTheNew) {
  for (const Scenario& scenario : kScenarios) {
    SCOPED_TRACE(scenario.name);
    bool crashed = true;
    int64_t n = 0;
    while (crashed) {
      SCOPED_TRACE(str("crash at call ", ++n));
      const std::string disk_path = disk(scenario), run = join_path(disk_path, "run");
      FaultyFs fs(disk_path);
      fs.crash_at(n);
      try {
        save(fs, run, scenario.step, 2, scenario.keep);
      } catch (const SimulatedCrash&) {
      }
      crashed = fs.crashed();
      const auto check = [&](const std::string& run_after) {
        const int content = newest_content(run_after);
        // Once commit() has returned, nothing may take the new one back.
        EXPECT_TRUE(content == 2 || (crashed && content == scenario.old)) << content;
      };
      // Life goes on: the next save works and clears up.
      const auto check_next_save = [&](const std::string& run_after) {
        save(real_fs(), run_after, 30, 4, 1);
        EXPECT_EQ(newest_content(run_after), 4);
        EXPECT_EQ(leftovers(run_after), std::vector<std::string>{});
      };
      for (uint64_t seed = 0; seed < kPowerCuts; ++seed) {
        SCOPED_TRACE(str("power cut ", seed));
        const std::string after = folder_ / "after";
        fs.materialise(after, seed);
        check(join_path(after, "run"));
        if (seed % 4 == 0) check_next_save(join_path(after, "run"));
        std::filesystem::remove_all(after);
      }
      check(run);
      // A kill leaves leftovers, but nothing that is called a checkpoint and is none.
      int n_damaged = 0;
      for (const CheckpointFolder& folder : list_checkpoints(run))
        n_damaged += !verify_checkpoint(folder.path).empty();
      EXPECT_LE(n_damaged, scenario.has_damage ? 1 : 0);
      check_next_save(run);
      std::filesystem::remove_all(disk_path);
      if (HasFailure()) return;
    }
    EXPECT_GT(n, 20);  // the save was really walked through
  }
}

TEST_F(CheckpointCrash, AnErrorAtAnyCallIsReportedAndKeepsTheOld) {
  for (const Scenario& scenario : kScenarios)
    for (const int error_number : {ENOSPC, EIO}) {
      SCOPED_TRACE(str(scenario.name, ", error ", error_number));
      bool failed = true;
      int64_t n = 0;
      while (failed) {
        SCOPED_TRACE(str("error at call ", ++n));
        const std::string disk_path = disk(scenario), run = join_path(disk_path, "run");
        FaultyFs fs(disk_path);
        fs.fail_at(n, error_number);
        std::optional<Error> error;
        try {
          save(fs, run, scenario.step, 2, scenario.keep);
        } catch (const Error& thrown) {
          error = thrown;
        }
        failed = fs.n_calls() >= n;
        EXPECT_EQ(error.has_value(), failed);
        const int content = newest_content(run);
        if (error) {
          EXPECT_EQ(error->exit_code(), ExitCode::io) << error->what();
          // The new one counts exactly when the error says so, or when the rename is what failed
          // last.
          const bool in_place = std::string(error->what()).find("is in place") != std::string::npos;
          EXPECT_EQ(content, in_place ? 2 : scenario.old) << error->what();
          // Clearing away is what may have failed where there was something to clear away.
          const std::string_view name = scenario.name;
          if (name == "one more" || (name == "same step again" && !in_place)) {
            EXPECT_EQ(leftovers(run), std::vector<std::string>{}) << error->what();
          }
        } else {
          EXPECT_EQ(content, 2);
        }
        fs.fail_at(0, 0);  // never
        // The job goes on and tries again at the next interval, on the same disk.
        save(fs, run, 30, 4, 1);
        EXPECT_EQ(newest_content(run), 4);
        EXPECT_EQ(leftovers(run), std::vector<std::string>{});
        std::filesystem::remove_all(disk_path);
        if (HasFailure()) return;
      }
    }
}

TEST_F(CheckpointCrash, AFailedSyncIsNeverTriedAgainOnTheSameFile) {
  // The model drops a file's data for good once its fsync failed, so a second fsync of it would
  // "succeed" and a power cut would find nothing. After a failed save and one more, each power cut
  // must find the second one.
  const Scenario& scenario = kScenarios[1];
  bool failed = true;
  for (int64_t n = 1; failed; ++n) {
    SCOPED_TRACE(str("error at call ", n));
    const std::string disk_path = disk(scenario), run = join_path(disk_path, "run");
    FaultyFs fs(disk_path);
    fs.fail_at(n, EIO);
    try {
      save(fs, run, 20, 2, 3);
      failed = false;
    } catch (const Error&) {
    }
    fs.fail_at(0, 0);  // never
    save(fs, run, 20, 3, 3);
    for (uint64_t seed = 0; seed < 4; ++seed) {
      const std::string after = folder_ / "after";
      fs.materialise(after, seed);
      EXPECT_EQ(newest_content(join_path(after, "run")), 3);
      std::filesystem::remove_all(after);
    }
    std::filesystem::remove_all(disk_path);
    if (HasFailure()) return;
  }
}

TEST_F(CheckpointCrash, AFolderThatADeadProcessMadeBecomesDurable) {
  const std::string disk_path = disk(kScenarios[0]), run = join_path(disk_path, "run");
  FaultyFs fs(disk_path);
  fs.make_directory(join_path(run, "checkpoints"));  // and no sync of `run`
  save(fs, run, 20, 2, 3);
  fs.materialise(folder_ / "after", 0);
  EXPECT_EQ(newest_content(folder_ / "after/run"), 2);
}

TEST_F(CheckpointCrash, AFileStreamedIntoPlaceIsTheOldOrTheNew) {
  const auto write = [](Fs& fs, const std::string& path, std::string_view content) {
    write_file_streaming(fs, path, [&](const ByteSink& sink) { sink(as_bytes(content)); });
  };
  const auto one = [&](int64_t n, bool crash) {
    const std::string disk_path = folder_ / str("disk", n_disks_++);
    std::filesystem::create_directories(disk_path);
    const std::string path = join_path(disk_path, "x");
    put(path, "old");
    FaultyFs fs(disk_path);
    if (crash)
      fs.crash_at(n);
    else
      fs.fail_at(n, ENOSPC);
    try {
      write(fs, path, "the new");
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::io);
      EXPECT_EQ(list_directory(disk_path), (std::vector<std::string>{"x"}));
    } catch (const SimulatedCrash&) {
    }
    for (uint64_t seed = 0; seed < kPowerCuts; ++seed) {
      const std::string after = folder_ / "after";
      fs.materialise(after, seed);
      const std::string content = read_file(join_path(after, "x"));
      EXPECT_TRUE(content == "old" || content == "the new") << content;
      std::filesystem::remove_all(after);
    }
    return fs.n_calls();
  };
  // create, write, sync, close, rename, sync of the folder; one more call than there is: nothing
  // fails.
  for (int64_t n = 1; n <= 7; ++n) {
    SCOPED_TRACE(str("call ", n));
    EXPECT_GE(one(n, true), std::min<int64_t>(n, 6));
    EXPECT_GE(one(n, false), std::min<int64_t>(n, 6));
  }
}

/// What a child process has saved for certain, seen by its parent.
struct Acknowledged {
  std::atomic<int> content{0};
};

TEST(CheckpointKillSlow, RealKillsAtRandomMomentsLoseNothingThatWasAcknowledged) {
  const TempFolder run;
  void* shared = mmap(nullptr, sizeof(Acknowledged), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto* acknowledged = new (shared) Acknowledged;

  std::mt19937_64 random(7);
  // Two seconds, or longer where a process starts slowly, until enough kills hit a save in the
  // middle.
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  int n_kills = 0, n_interrupted = 0;
  while (seconds() < 2 || ((n_kills < 10 || n_interrupted < 3) && seconds() < 60)) {
    const int first = acknowledged->content + 1;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        // Content and step rise together; every second step is saved twice.
        for (int content = first;; ++content) {
          save(real_fs(), run.path(), content / 2, content, 2);
          acknowledged->content = content;
        }
      } catch (...) {
        _exit(1);
      }
    }
    // Half of the children get as far as one save; then any moment is one in the middle of another.
    if (random() % 2)
      while (acknowledged->content < first && seconds() < 60) usleep(50);
    usleep(useconds_t(random() % 4000));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << status;
    ++n_kills;
    const int content = newest_content(run.path()), saved = acknowledged->content;
    ASSERT_TRUE(content == saved || content == saved + 1)
        << "found " << content << ", acknowledged " << saved;
    for (const std::string& name : list_directory(run.path())) EXPECT_EQ(name, "checkpoints");
    if (exists(run / "checkpoints"))
      for (const std::string& name : list_directory(run / "checkpoints"))
        n_interrupted +=
            name.find(".tmp-") != std::string::npos || name.find(".old-") != std::string::npos;
    acknowledged->content = content;
  }
  EXPECT_GE(n_kills, 10);
  EXPECT_GE(n_interrupted, 3);
  munmap(shared, sizeof(Acknowledged));
}

}  // namespace
}  // namespace moe
