// SPDX-License-Identifier: Apache-2.0
#include "metalconv/wisdom.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "metalconv/error.h"

namespace metalconv {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kFormat = "metalconv wisdom";

/// A fact by which the same kernel is faster or slower. The vendor's version is none.
struct Fact {
  const char* name;
  bool hardware;  ///< an update of software leaves it as it is
};
constexpr Fact kFacts[] = {{"instruction set", true},
                           {"threads", true},
                           {"driver", false},
                           {"CUDA", false},
                           {"NVRTC", false},
                           {"compute capability", true},
                           {"OS", false},
                           {"kernels", false},
                           {"GPU family", true},
                           {"architecture", true}};

/// Keys stand in files: what is not printable ASCII could come back changed.
std::string printable_ascii(std::string text) {
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';
  return text;
}

void check(const WisdomEntry& entry) {
  const auto fail = [&](const std::string& sentence) {
    throw Error(ErrorCode::invalid_argument, sentence);
  };
  if (entry.machine.empty()) fail("machine is empty, but must be a device's machine_key");
  if (entry.problem.empty()) fail("problem is empty, but must be a problem's text");
  for (const auto& [kernel, us] : entry.times_us)
    if (!(std::isfinite(us) && us > 0))
      fail(fmt::format("times_us has {} for '{}', but a time must be finite and above 0", us,
                       kernel));
  if (!entry.times_us.contains(entry.kernel))
    fail(fmt::format("kernel is '{}', but must be one that times_us has a time of", entry.kernel));
}

// ---- writing

/// What is no UTF-8 is replaced.
template <class AnyJson>
std::string dump(const AnyJson& json, int indent = -1) {
  return json.dump(indent, ' ', false, AnyJson::error_handler_t::replace);
}

std::string line_of(const WisdomEntry& entry) {
  const nlohmann::ordered_json json = {{"machine", entry.machine},
                                       {"problem", entry.problem},
                                       {"kernel", entry.kernel},
                                       {"times_us", entry.times_us}};
  return dump(json);
}

// ---- reading

[[noreturn]] void fail(const std::string& sentence) { throw Error(ErrorCode::io, sentence); }

/// The value of a key that must be there.
const Json& at(const Json& object, const std::string& where, const char* key) {
  if (!object.is_object())
    fail(fmt::format("{} is {}, but must be an object", where, object.type_name()));
  const auto found = object.find(key);
  if (found == object.end()) fail(fmt::format("{} has no '{}'", where, key));
  return *found;
}

std::string text_at(const Json& object, const std::string& where, const char* key) {
  const Json& value = at(object, where, key);
  if (!value.is_string())
    fail(fmt::format("{} of {} is {}, but must be a string", key, where, value.type_name()));
  return value.get<std::string>();
}

/// Empty when the key is not there.
std::map<std::string, std::string> texts_at(const Json& object, const char* key) {
  std::map<std::string, std::string> texts;
  if (!object.contains(key)) return texts;
  const Json& value = object.at(key);
  if (!value.is_object())
    fail(fmt::format("{} is {}, but must be an object", key, value.type_name()));
  if (const std::size_t bytes = dump(value).size(); bytes > Wisdom::kMaxProvenanceBytes)
    fail(fmt::format("{} has {} bytes, but may have at most {}", key, bytes,
                     Wisdom::kMaxProvenanceBytes));
  for (const auto& item : value.items())
    texts[item.key()] = text_at(value, key, item.key().c_str());
  return texts;
}

std::map<std::string, double> times_at(const Json& object, const std::string& where) {
  const Json& value = at(object, where, "times_us");
  if (!value.is_object())
    fail(fmt::format("times_us of {} is {}, but must be an object", where, value.type_name()));
  std::map<std::string, double> times;
  for (const auto& [kernel, us] : value.items()) {
    if (!us.is_number())
      fail(fmt::format("times_us of {} has {} for '{}', but must have numbers", where,
                       us.type_name(), kernel));
    times[kernel] = us.get<double>();
  }
  return times;
}

void check_version(const Json& json) {
  const Json& format = at(json, "the text", "format");
  if (format != kFormat) fail(fmt::format("its format is not '{}'", kFormat));
  const Json& version = at(json, "the text", "version");
  if (!version.is_number_integer()) fail("version must be an integer");
  if (version != Wisdom::kVersion)
    fail(fmt::format("version is {}, but this metalconv reads {}", version.dump(),
                     Wisdom::kVersion));
}

Json parse_json(std::string_view text) {
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    // The library's sentence after its tag: "[json.exception.parse_error.101] parse error at ..."
    const std::string_view what = e.what();
    const std::size_t tag = what.find("] ");
    fail(printable_ascii(std::string(tag == what.npos ? what : what.substr(tag + 2))));
  }
}

std::string key_of(const DeviceInfo& info, bool hardware_only) {
  std::string key = fmt::format("{}, {}, {} units", info.name, info.model, info.compute_units);
  for (const Fact& fact : kFacts) {
    const auto found = info.facts.find(fact.name);
    if (found != info.facts.end() && (fact.hardware || !hardware_only))
      key += fmt::format(", {} {}", fact.name, found->second);
  }
  return printable_ascii(std::move(key));
}

}  // namespace

std::string machine_key(const DeviceInfo& info) { return key_of(info, false); }
std::string hardware_key(const DeviceInfo& info) { return key_of(info, true); }

void Wisdom::record(WisdomEntry entry) {
  check(entry);
  forget(entry.machine, entry.problem);
  const std::uint64_t age = next_age_++;
  ages_[{entry.machine, entry.problem}] = age;
  entries_.emplace(age, std::move(entry));
  if (entries_.size() <= kMaxEntries) return;
  const WisdomEntry& oldest = entries_.begin()->second;
  ages_.erase({oldest.machine, oldest.problem});
  entries_.erase(entries_.begin());
}

void Wisdom::forget(const std::string& machine, const std::string& problem) {
  const auto found = ages_.find({machine, problem});
  if (found == ages_.end()) return;
  entries_.erase(found->second);
  ages_.erase(found);
}

const WisdomEntry* Wisdom::find(const std::string& machine, const ConvProblem& problem) const {
  if (empty()) return nullptr;
  const auto found = ages_.find({machine, to_text(problem)});
  return found == ages_.end() ? nullptr : &entries_.at(found->second);
}

std::vector<WisdomEntry> Wisdom::entries() const {
  std::vector<WisdomEntry> list;
  for (const auto& [age, entry] : entries_) list.push_back(entry);
  return list;
}

std::string to_text(const Wisdom& wisdom) {
  std::string head =
      fmt::format("{{\"format\": \"{}\", \"version\": {}, ", kFormat, Wisdom::kVersion);
  if (!wisdom.provenance().empty())
    head += fmt::format("\"provenance\": {},\n", dump(Json(wisdom.provenance()), 1));
  head += "\"entries\": [";
  const std::string tail = "\n]}\n";
  std::size_t bytes = head.size() + tail.size();
  std::vector<std::string> lines;  // newest first, as long as there is room
  const std::vector<WisdomEntry> entries = wisdom.entries();
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    std::string line = line_of(*entry);
    bytes += line.size() + 2;  // with its comma and line break
    if (bytes > Wisdom::kMaxBytes) break;
    lines.push_back(std::move(line));
  }
  std::string text = head;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line)
    text += (line == lines.rbegin() ? "\n" : ",\n") + *line;
  return text + tail;
}

Wisdom parse_wisdom(std::string_view text) {
  if (text.size() > Wisdom::kMaxBytes)
    fail(fmt::format("the text has {} bytes, but may have at most {}", text.size(),
                     Wisdom::kMaxBytes));
  const Json json = parse_json(text);
  check_version(json);
  const Json& entries = at(json, "the text", "entries");
  if (!entries.is_array())
    fail(fmt::format("entries is {}, but must be an array", entries.type_name()));
  Wisdom wisdom;
  wisdom.set_provenance(texts_at(json, "provenance"));
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Json& entry = entries[i];
    const std::string where = fmt::format("entry {}", i);
    try {
      wisdom.record({text_at(entry, where, "machine"), text_at(entry, where, "problem"),
                     text_at(entry, where, "kernel"), times_at(entry, where)});
    } catch (const Error& e) {
      if (e.code() == ErrorCode::io) throw;
      fail(fmt::format("{}: {}", where, e.what()));
    }
  }
  return wisdom;
}

LoadedWisdom load_wisdom(const std::string& path) {
  std::error_code error;
  if (fs::symlink_status(path, error).type() == fs::file_type::not_found) return {};
  try {
    return {parse_wisdom(read_file(path, Wisdom::kMaxBytes)), {}};
  } catch (const Error& e) {
    return {{}, fmt::format("the wisdom file {} is ignored: {}", path, e.what())};
  }
}

std::string save_wisdom(const std::string& path, const Wisdom& wisdom) {
  std::error_code error;
  const fs::path folder = fs::path(path).parent_path();
  if (!folder.empty()) fs::create_directories(folder, error);
  if (error)
    fail(fmt::format("the folder '{}' cannot be made: {}", folder.string(), error.message()));
  std::string kept;
  if (fs::is_regular_file(path, error) && !load_wisdom(path).warning.empty()) {
    kept = path + ".damaged";
    fs::rename(path, kept, error);
    if (error) fail(fmt::format("cannot keep {} as {}: {}", path, kept, error.message()));
  }
  write_file(path, to_text(wisdom));
  return kept;
}

}  // namespace metalconv
