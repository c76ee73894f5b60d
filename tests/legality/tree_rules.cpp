// SPDX-License-Identifier: Apache-2.0
#include "legality/tree_rules.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <set>

namespace metalconv::legality {
namespace {

using nlohmann::json;

constexpr const char* kSpaces[] = {"device", "constant", "threadgroup", "address_space"};

bool names_space(const std::string& type) {
  return std::any_of(std::begin(kSpaces), std::end(kSpaces),
                     [&](const char* space) { return type.find(space) != std::string::npos; });
}

// Where offsets into the text lie, as its #line directives count.
class Places {
 public:
  explicit Places(const std::string& text) {
    static const std::regex kLine("#line (\\d+) \"(.*)\"");
    std::string file;
    int line = 1;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      starts_[at] = {file, line++};
      std::smatch m;
      const std::string words = text.substr(at, end - at);
      if (std::regex_match(words, m, kLine)) {
        line = std::stoi(m[1]);
        file = m[2];
      }
      at = end + 1;
    }
  }
  std::pair<std::string, int> of(std::size_t offset) const {
    return std::prev(starts_.upper_bound(offset))->second;
  }

 private:
  std::map<std::size_t, std::pair<std::string, int>> starts_;
};

// The offset in the main text; nothing for what lies in the dialect's header.
std::optional<std::size_t> offset_of(const json& location) {
  const auto expansion = location.find("expansionLoc");
  const json& at = expansion == location.end() ? location : *expansion;
  if (!at.contains("offset") || at.contains("includedFrom")) return std::nullopt;
  return at["offset"].get<std::size_t>();
}

class TreeRules {
 public:
  explicit TreeRules(const std::string& text) : text_(text), places_(text) {}

  std::vector<Finding> run(const json& unit) {
    for (const json& declaration : children(unit)) walk(declaration, {});
    for (const auto& [function, calls] : calls_) check_recursion(function);
    return std::move(findings_);
  }

 private:
  struct Scope {
    std::string function;  // the id of the one around
    bool in_class = false;
  };

  static const json& children(const json& node) {
    static const json kNone = json::array();
    const auto inner = node.find("inner");
    return inner == node.end() ? kNone : *inner;
  }
  static std::string word(const json& node, const char* key) { return node.value(key, ""); }
  static std::string type_of(const json& node) {
    const auto type = node.find("type");
    return type == node.end() ? "" : word(*type, "qualType");
  }

  void add(const char* rule, std::size_t offset, std::string message) {
    const auto [file, line] = places_.of(offset);
    for (const Finding& f : findings_) {
      if (f.rule == rule && f.line == line && f.file == file) return;  // another instantiation
    }
    findings_.push_back({rule, file, line, std::move(message)});
  }

  void walk(const json& node, Scope scope) {
    if (!node.is_object() || node.value("isImplicit", false)) return;
    const std::string kind = word(node, "kind");
    if (const auto range = node.find("range"); range != node.end() && range->contains("begin")) {
      if (const auto begin = offset_of((*range)["begin"])) check(node, kind, *begin, scope);
    }
    if (kind == "FunctionDecl" || kind == "CXXMethodDecl") scope.function = word(node, "id");
    if (kind == "CXXRecordDecl") scope.in_class = true;
    for (const json& child : children(node)) walk(child, scope);
  }

  void check(const json& node, const std::string& kind, std::size_t begin, const Scope& scope) {
    if (kind.ends_with("CastExpr")) check_cast(node, kind, begin);
    if (kind == "VarDecl") check_storage(node, begin, scope);
    if (kind == "VarDecl" || kind == "ParmVarDecl" || kind == "FieldDecl" ||
        kind == "FunctionDecl" || kind == "CXXMethodDecl") {
      check_pointer(node, begin);
    }
    if (kind == "FunctionDecl" || kind == "CXXMethodDecl") note_function(node, begin);
    if (const auto called = node.find("referencedDecl"); called != node.end()) {
      note_call(scope, word(*called, "id"));
    }
    note_call(scope, word(node, "referencedMemberDecl"));
  }

  void check_cast(const json& node, const std::string& kind, std::size_t begin) {
    if (kind == "ImplicitCastExpr" || word(node, "castKind") != "AddressSpaceConversion") return;
    add("address-space-cast", begin, "a cast to '" + type_of(node) + "' changes the address space");
  }

  void check_storage(const json& node, std::size_t begin, const Scope& scope) {
    const bool is_static = word(node, "storageClass") == "static";
    if (scope.function.empty() ? scope.in_class : !is_static) return;
    // Of a pointer only what stands behind the star would count.
    const std::string type = type_of(node);
    if (names_space(type) && type.find('*') == std::string::npos) return;
    add("global-space", begin,
        "'" + word(node, "name") +
            "' lives as long as the program: only constants may, in the "
            "constant address space");
  }

  // Every pointer and every reference names the space it reaches into.
  void check_pointer(const json& node, std::size_t begin) {
    const auto name = offset_of(node.value("loc", json::object()));
    if (!name || *name <= begin) return;
    const std::string type = type_of(node);
    const std::string result = type.substr(0, type.find('('));
    if (result.find_first_of("*&") == std::string::npos) return;
    // The word `thread` stands for nothing to clang, so its range may begin behind it.
    const std::size_t before =
        begin == 0 ? std::string::npos : text_.find_last_of(";{}(,<>", begin - 1);
    const std::size_t first = before == std::string::npos ? 0 : before + 1;
    const std::string words = text_.substr(first, *name - first);
    static const std::regex kNamed("\\b(device|constant|threadgroup|thread|auto)\\b");
    if (words.find_first_of("*&") == std::string::npos || std::regex_search(words, kNamed)) return;
    add("missing-space", begin,
        "'" + word(node, "name") +
            "' points without an address space: device, constant, "
            "threadgroup or thread");
  }

  // A declaration and its definition are one function.
  void note_function(const json& node, std::size_t begin) {
    const std::string id = word(node, "id"), previous = word(node, "previousDecl");
    const auto first = first_declarations_.find(previous);
    first_declarations_[id] = first == first_declarations_.end() ? id : first->second;
    functions_.emplace(first_declarations_[id], begin);
  }

  std::string function_of(const std::string& id) const {
    const auto first = first_declarations_.find(id);
    return first == first_declarations_.end() ? id : first->second;
  }

  void note_call(const Scope& scope, const std::string& callee) {
    if (scope.function.empty() || callee.empty()) return;
    calls_[function_of(scope.function)].insert(function_of(callee));
  }

  void check_recursion(const std::string& function) {
    std::set<std::string> reached;
    std::vector<std::string> open = {function};
    while (!open.empty()) {
      const std::string at = open.back();
      open.pop_back();
      for (const std::string& callee : calls_[at]) {
        if (callee == function)
          return add("no-recursion", functions_[function], "Metal has no recursion");
        if (functions_.count(callee) != 0 && reached.insert(callee).second) open.push_back(callee);
      }
    }
  }

  const std::string& text_;
  Places places_;
  std::map<std::string, std::string> first_declarations_;
  std::map<std::string, std::size_t> functions_;
  std::map<std::string, std::set<std::string>> calls_;  // also mentions; only functions_ count
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> check_tree(const std::string& tree, const std::string& text) {
  return TreeRules(text).run(json::parse(tree));
}

}  // namespace metalconv::legality
