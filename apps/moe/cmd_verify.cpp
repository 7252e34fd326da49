// SPDX-License-Identifier: MIT
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/log.h"
#include "moe/base/progress.h"
#include "moe/eval/parity.h"
#include "moe/families/model_folder.h"
#include "moe/io/checkpoint.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

// The planted fault: a twin of the first fast table whose product loses the order of its chain when
// several rows run together, the classic mistake of a kernel that picks another blocking for larger
// batches.
void reordered_gemm(const GroupedGemm& g) {
  ref_kernels<float>().grouped_gemm(g);
  if (g.y.rows < 2 || g.gather_R || g.scatter_R) return;
  for (int64_t e = 0; e < g.w.experts; ++e)
    for (int64_t r = g.offsets_E1[size_t(e)]; r < g.offsets_E1[size_t(e) + 1]; ++r)
      for (int64_t s = 0; s < g.w.map.out_cols(); ++s) {
        const float* column = g.w.expert<float>(e) + s / 16 * 16 * g.w.map.cols + s % 16;
        float sum = 0;
        for (int64_t k = g.w.map.cols - 1; k >= 0; --k)
          sum = std::fma(g.x.at<float>(r, k), column[k * 16], sum);
        g.y.at<float>(r, s) = g.bias_EN ? sum + g.bias_EN.at<float>(e, s) : sum;
      }
}

int run_parity(const std::string& path, bool plant, bool json) {
  const ModelFolder folder = load_model_folder(path);
  std::vector<const Kernels*> tables = all_f32_tables();
  Kernels planted = *tables.back();
  planted.name = "planted";
  planted.grouped_gemm = reordered_gemm;
  if (plant) tables = {&planted};
  ProgressLine progress(json ? ProgressLine::Style::silent : ProgressLine::Style::automatic);
  const ParityReport r = check_parity(*folder.model, tables, 1, [&](double done) {
    progress.update(progress_bar(done, 20) + " comparing logits");
  });
  progress.finish();
  if (json) {
    print_json({{"comparisons", r.comparisons}, {"differing_bits", r.differing_bits}});
  } else {
    print_line(str(with_commas(r.comparisons), " logits compared with the scalar reference, ",
                   with_commas(r.differing_bits), " differing bits"));
    if (!r.first_difference.empty()) print_line("first difference: " + r.first_difference);
  }
  return r.differing_bits == 0 ? 0 : 1;
}

}  // namespace

RunCommand add_verify(CLI::App& app) {
  struct Options {
    std::string folder;
    bool parity = false, plant = false, json = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option("DIR", o->folder, "checkpoint, run folder or Hugging Face folder")->required();
  auto* parity = app.add_flag("--parity", o->parity,
                              "compare logits bit by bit over batches, threads, prefill and "
                              "decode, caches, packing and kernel tables");
  app.add_flag("--plant", o->plant,
               "with --parity: put a wrong kernel in; differences must be found")
      ->needs(parity);
  app.add_flag("--json", o->json, "one JSON object");
  return [o] {
    if (o->parity) return run_parity(o->folder, o->plant, o->json);
    std::vector<std::string> folders;
    if (exists(join_path(o->folder, "manifest.json")) ||
        !is_directory(join_path(o->folder, "checkpoints")))
      folders.push_back(o->folder);
    else
      for (const CheckpointFolder& checkpoint : list_checkpoints(o->folder))
        folders.push_back(checkpoint.path);
    MOE_CHECK(!folders.empty(), "[verify] ", printable(o->folder), " holds no checkpoint");
    MOE_CHECK(exists(o->folder), "[verify] ", printable(o->folder), " does not exist");
    bool good = true;
    JsonArray problems;
    for (const std::string& folder : folders) {
      MOE_CHECK(exists(join_path(folder, "manifest.json")), "[verify] ", printable(folder),
                " has no manifest.json; only checkpoints of moe carry one");
      const std::vector<CheckpointProblem> found = verify_checkpoint(folder);
      for (const CheckpointProblem& problem : found) {
        good = false;
        JsonArray tensors;
        for (const std::string& t : problem.tensors) tensors.push_back(Json(t));
        problems.push_back(JsonObject{{"checkpoint", folder},
                                      {"file", problem.file},
                                      {"offset", problem.offset},
                                      {"reason", problem.reason},
                                      {"tensors", tensors}});
        if (!o->json) print_line(str(folder, ": ", problem.text()));
      }
      if (found.empty() && !o->json) print_line(folder + ": valid");
    }
    if (o->json) print_json({{"valid", good}, {"problems", problems}});
    return good ? 0 : 1;
  };
}

}  // namespace moe
