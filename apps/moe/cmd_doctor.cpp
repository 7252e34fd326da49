// SPDX-License-Identifier: MIT
#include <memory>

#include "moe/base/str.h"
#include "moe/study/doctor.h"

#include "apps/moe/command.h"

namespace moe {

RunCommand add_doctor(CLI::App& app) {
  struct Options {
    std::string run_dir;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option("RUN_DIR", o->run_dir, "folder of a run, finished or not")->required();
  app.add_flag("--json", o->json, "one JSON object: findings, steps, healthy");
  return [o] {
    const std::vector<LoggedStep> log = read_log(o->run_dir);
    const std::vector<Finding> findings = diagnose(log);
    if (o->json) {
      JsonArray all;
      for (const Finding& f : findings)
        all.push_back(JsonObject{
            {"name", f.name}, {"evidence", f.evidence}, {"value", f.value}, {"advice", f.advice}});
      print_json(
          {{"findings", all}, {"steps", int64_t(log.size())}, {"healthy", findings.empty()}});
      return 0;
    }
    for (const Finding& f : findings)
      print_line(str(f.name, ": ", f.evidence, "\n  try: ", f.advice));
    if (findings.empty()) print_line(str("nothing stands out in ", log.size(), " steps"));
    return 0;
  };
}

}  // namespace moe
