// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench/run.h"
#include "bench/text.h"
#include "bench/workloads.h"
#include "metalconv/error.h"

namespace metalconv::cli {
namespace {

constexpr const char* kDevices = "Devices";
constexpr const char* kProblem = "1x3x20x24,k16,3x3,p1,bias,relu";

/// How a kind of device is had where the reason of its absence does not say it.
std::string device_remedy(const std::string& name) {
  if (name == "cuda")
    return "needs an NVIDIA GPU with its driver (a container: --gpus all), and NVRTC of CUDA 12 or "
           "13, e.g. pip install nvidia-cuda-nvrtc-cu12; METALCONV_CUDA_PATH can name its folder";
  if (name == "metal") return "needs a Mac with an Apple GPU";
  return {};
}

std::string vendor_remedy(const std::string& device) {
  if (device == "cpu")
    return "apt-get install libdnnl-dev (brew: onednn), or scripts/fetch-onednn3.sh for 3.x, and "
           "build again";
  if (device == "cuda")
    return "pip install nvidia-cudnn-cu12; METALCONV_CUDA_PATH can name its folder";
  return {};
}

/// "2 units, 22.7 GiB free, driver 570.1": what the device says of itself but its vendor.
std::string facts_text(const DeviceInfo& info) {
  std::string text =
      fmt::format("{}, {} free", info.model, bench::bytes_text(double(info.memory_bytes)));
  for (const auto& [key, value] : info.facts)
    if (key != "vendor") text += fmt::format(", {}: {}", key, value);
  return text;
}

/// Our kernel for a small problem, behind the gate.
Finding try_device(Device& device) {
  Finding finding{kDevices, device.info().name, Health::ok, facts_text(device.info()), {}};
  bench::RunOptions options;
  options.time = false;
  options.implementations = {Implementation::optimized};
  bench::Row row;
  try {
    const bench::Result result = bench::run({&device}, bench::select({kProblem}, {}), options);
    if (result.rows.empty()) throw Error(ErrorCode::device, "nothing was computed");
    row = result.rows.front();
  } catch (const Error& e) {
    row.reason = e.what();
  }
  if (row.verdict == bench::Verdict::ok) {
    finding.text += fmt::format("; computes right (kernel {})", row.kernel);
    return finding;
  }
  const bool wrong = row.verdict == bench::Verdict::failed;
  finding.health = wrong ? Health::wrong : Health::bad;
  finding.text +=
      fmt::format("; but {}: {}", wrong ? "computes wrongly" : "cannot compute", row.reason);
  if (!row.reproducer.empty()) finding.remedy = "see it again: " + row.reproducer;
  return finding;
}

Finding vendor_of(const DeviceInfo& info) {
  const std::string& vendor = info.facts.at("vendor");
  const bool none = vendor.starts_with("none");
  return {"Vendor libraries", info.name, none ? Health::absent : Health::ok, vendor,
          none ? vendor_remedy(info.name) : std::string()};
}

/// `text` in lines of at most `width` columns; a word that is longer stands alone.
std::vector<std::string> wrap(const std::string& text, std::size_t width) {
  std::vector<std::string> lines{""};
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    at = end + 1;
    if (word.empty()) continue;
    std::string& line = lines.back();
    if (line.empty())
      line = word;
    else if (bench::columns(line) + 1 + bench::columns(word) <= width)
      line += " " + word;
    else
      lines.push_back(word);
  }
  return lines;
}

const char* mark(Health health) {
  switch (health) {
    case Health::ok:
      return "ok";
    case Health::note:
      return "note";
    case Health::absent:
      return "--";
    case Health::bad:
      return "BAD";
    case Health::wrong:
      return "WRONG";
  }
  return "?";
}

std::string finding_text(const Finding& finding) {
  constexpr std::size_t kIndent = 24, kWidth = 80;
  std::string text = fmt::format("  {:5} {:15} ", mark(finding.health), finding.name);
  bool first = true;
  const auto add = [&](const std::string& words, const char* before) {
    for (const std::string& line : wrap(words, kWidth - kIndent - 3)) {
      text += fmt::format("{:{}}{}{}\n", "", first ? 0 : kIndent, before, line);
      first = false;
      before = *before ? "   " : "";
    }
  };
  add(bench::printable(finding.text), "");
  if (!finding.remedy.empty()) add(bench::printable(finding.remedy), "-> ");
  return text;
}

}  // namespace

std::string_view to_string(Health health) {
  switch (health) {
    case Health::ok:
      return "ok";
    case Health::note:
      return "note";
    case Health::absent:
      return "absent";
    case Health::bad:
      return "bad";
    case Health::wrong:
      return "wrong";
  }
  return "?";
}

std::vector<Finding> examine_devices(const std::vector<DeviceEntry>& devices) {
  std::vector<Finding> findings;
  for (const DeviceEntry& entry : devices) {
    if (entry.device)
      findings.push_back(try_device(*entry.device));
    else
      findings.push_back(
          {kDevices, entry.name, Health::absent, entry.absence, device_remedy(entry.name)});
  }
  for (const DeviceEntry& entry : devices)
    if (entry.device && entry.device->info().facts.contains("vendor"))
      findings.push_back(vendor_of(entry.device->info()));
  return findings;
}

Finding examine_wisdom(const std::string& path, const LoadedWisdom& loaded,
                       const std::vector<DeviceEntry>& devices) {
  Finding finding{"Measured choices", "wisdom", Health::ok, {}, {}};
  const std::string tune = "metalconv tune WORKLOAD measures which kernel is fastest here";
  if (path.empty()) {
    finding.health = Health::absent;
    finding.text = "off: kernels are chosen by estimate";
    return finding;
  }
  if (!loaded.warning.empty()) {
    finding.health = Health::bad;
    finding.text = loaded.warning;
    finding.remedy = tune + ", and keeps the old file as FILE.damaged";
    return finding;
  }
  if (loaded.wisdom.empty()) {
    finding.health = Health::note;
    finding.text = fmt::format("none yet; they go to {}", path);
    finding.remedy = tune;
    return finding;
  }
  int here = 0;
  for (const WisdomEntry& entry : loaded.wisdom.entries())
    here += std::any_of(devices.begin(), devices.end(), [&](const DeviceEntry& d) {
      return d.device && entry.machine == machine_key(d.device->info());
    });
  finding.text =
      fmt::format("{} for the devices here, {} in all, in {}",
                  bench::count_text(std::size_t(here), "choice"), loaded.wisdom.size(), path);
  if (here == 0) {
    finding.health = Health::note;
    finding.remedy = tune;
  }
  return finding;
}

int exit_status(const Examination& examination) {
  const auto any_device = [&](Health health) {
    return std::any_of(
        examination.findings.begin(), examination.findings.end(),
        [&](const Finding& f) { return f.section == kDevices && f.health == health; });
  };
  if (any_device(Health::wrong)) return 1;
  return examination.device.empty() || !any_device(Health::ok) ? 2 : 0;
}

std::string to_text(const Examination& examination) {
  std::string text, section;
  for (const auto& [key, value] : examination.machine)
    for (const std::string& line : wrap(fmt::format("{}: {}", key, bench::printable(value)), 80))
      text += line + "\n";
  int notes = 0;
  for (const Finding& finding : examination.findings) {
    if (finding.section != section) text += fmt::format("\n{}\n", section = finding.section);
    text += finding_text(finding);
    notes += finding.health != Health::ok && finding.health != Health::absent;
  }
  const bool works =
      std::any_of(examination.findings.begin(), examination.findings.end(), [&](const Finding& f) {
        return f.section == kDevices && f.name == examination.device && f.health == Health::ok;
      });
  const std::string used =
      examination.device.empty()
          ? "No device can be used."
          : fmt::format("Commands use {} unless --device names another{}.", examination.device,
                        works ? "" : ": name one that is ok");
  const std::string rest = notes == 0 ? "Nothing to mend."
                                      : fmt::format("To look at: {} above.",
                                                    bench::count_text(std::size_t(notes), "note"));
  return text + "\n" + used + "\n" + rest + "\n";
}

std::string to_json(const Examination& examination) {
  using Json = nlohmann::ordered_json;
  Json machine = Json::object(), findings = Json::array();
  for (const auto& [key, value] : examination.machine) machine[key] = value;
  for (const Finding& f : examination.findings)
    findings.push_back({{"section", f.section},
                        {"name", f.name},
                        {"health", to_string(f.health)},
                        {"text", f.text},
                        {"remedy", f.remedy}});
  const Json json{
      {"schema", 1}, {"machine", machine}, {"device", examination.device}, {"findings", findings}};
  // Names of hardware and folders need not be UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace metalconv::cli
