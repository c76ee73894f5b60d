// SPDX-License-Identifier: Apache-2.0
// The stand-in's own Foundation objects.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "metal_standin/objc.h"

namespace metalconv::standin {

using UInteger = unsigned long;
using Integer = long;

struct String : Object {
  explicit String(std::string value);
  std::string text;
};

struct Number : Object {
  explicit Number(long long v);
  long long value;
};

struct Array : Object {
  Array();
  void dispose() override { items.clear(); }
  std::vector<Strong<Object>> items;
};

struct Dictionary : Object {
  Dictionary();
  void dispose() override { items.clear(); }
  std::vector<std::pair<Strong<Object>, Strong<Object>>> items;  // key, value
};

struct Error : Object {
  Error(const std::string& error_domain, Integer error_code, const std::string& words);
  void dispose() override { domain = text = {}; }
  Strong<String> domain, text;
  Integer code;
};

/// Gives the classes their methods. Before the first message.
void define_foundation();

}  // namespace metalconv::standin
