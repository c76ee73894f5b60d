// SPDX-License-Identifier: Apache-2.0
#include "metal_standin/foundation.h"

#include "metal_standin/control.h"

namespace metalconv::standin {

STANDIN_CLASS(ns_array, "NSArray");
STANDIN_CLASS(ns_autorelease_pool, "NSAutoreleasePool");
STANDIN_CLASS(ns_dictionary, "NSDictionary");
STANDIN_CLASS(ns_error, "NSError");
STANDIN_CLASS(ns_mutable_array, "NSMutableArray");
STANDIN_CLASS(ns_mutable_dictionary, "NSMutableDictionary");
STANDIN_CLASS(ns_number, "NSNumber");
STANDIN_CLASS(ns_process_info, "NSProcessInfo");
STANDIN_CLASS(ns_string, "NSString");

namespace {

struct AutoreleasePool : Object {
  AutoreleasePool() : Object(ns_autorelease_pool), pool(push_pool()) {}
  void dispose() override { pop_pool(pool); }
  std::size_t pool;
};

struct ProcessInfo : Object {
  ProcessInfo() : Object(ns_process_info) {}
};

struct OsVersion {
  Integer major, minor, patch;
};

void define_strings() {
  ns_string.class_method(
      "stringWithCString:encoding:", +[](Class*, Selector, const char* text, UInteger) {
        return make_autoreleased<String>(text);
      });
  ns_string.class_method(
      "stringWithUTF8String:",
      +[](Class*, Selector, const char* text) { return make_autoreleased<String>(text); });
  ns_string.method(
      "UTF8String", +[](String* self, Selector) { return self->text.c_str(); });
}

void define_numbers() {
  ns_number.class_method(
      "numberWithInt:", +[](Class*, Selector, int v) { return make_autoreleased<Number>(v); });
  // What an int64_t is on Linux, and on a Mac.
  ns_number.class_method(
      "numberWithLong:", +[](Class*, Selector, long v) { return make_autoreleased<Number>(v); });
  ns_number.class_method(
      "numberWithLongLong:",
      +[](Class*, Selector, long long v) { return make_autoreleased<Number>(v); });
}

void define_collections() {
  ns_array.class_method(
      "arrayWithObjects:count:", +[](Class*, Selector, Object** from, UInteger n) {
        auto* array = make_autoreleased<Array>();
        for (UInteger i = 0; i < n; ++i) array->items.emplace_back(from[i]);
        return array;
      });
  ns_mutable_array.class_method(
      "array", +[](Class*, Selector) { return make_autoreleased<Array>(); });
  ns_array.method(
      "count", +[](Array* self, Selector) { return UInteger(self->items.size()); });
  ns_array.method(
      "objectAtIndexedSubscript:",
      +[](Array* self, Selector, UInteger i) { return self->items.at(i).get(); });
  ns_array.method(
      "addObject:", +[](Array* self, Selector, Object* o) { self->items.emplace_back(o); });

  ns_dictionary.class_method(
      "dictionaryWithObjects:forKeys:count:",
      +[](Class*, Selector, Object** values, Object** keys, UInteger n) {
        auto* dictionary = make_autoreleased<Dictionary>();
        for (UInteger i = 0; i < n; ++i)
          dictionary->items.emplace_back(Strong<Object>(keys[i]), Strong<Object>(values[i]));
        return dictionary;
      });
  ns_mutable_dictionary.class_method(
      "dictionary", +[](Class*, Selector) { return make_autoreleased<Dictionary>(); });
  ns_dictionary.method(
      "setObject:forKeyedSubscript:", +[](Dictionary* self, Selector, Object* value, Object* key) {
        self->items.emplace_back(Strong<Object>(key), Strong<Object>(value));
      });
}

void define_errors() {
  ns_error.method(
      "domain", +[](Error* self, Selector) { return self->domain.get(); });
  ns_error.method(
      "code", +[](Error* self, Selector) { return self->code; });
  ns_error.method(
      "localizedDescription", +[](Error* self, Selector) { return self->text.get(); });
}

void define_process() {
  ns_autorelease_pool.class_method(
      "alloc", +[](Class*, Selector) { return new AutoreleasePool; });
  // One for all, which Foundation never frees: here the pool does.
  ns_process_info.class_method(
      "processInfo", +[](Class*, Selector) { return make_autoreleased<ProcessInfo>(); });
  ns_process_info.method(
      "isOperatingSystemAtLeastVersion:",
      +[](ProcessInfo*, Selector, OsVersion wanted) { return wanted.major <= machine().macos; });
  ns_process_info.method(
      "operatingSystemVersionString", +[](ProcessInfo*, Selector) {
        return make_autoreleased<String>("Version " + std::to_string(machine().macos) + ".0");
      });
}

}  // namespace

String::String(std::string value) : Object(ns_string), text(std::move(value)) {}
Number::Number(long long v) : Object(ns_number), value(v) {}
Array::Array() : Object(ns_array) {}
Dictionary::Dictionary() : Object(ns_dictionary) {}
Error::Error(const std::string& error_domain, Integer error_code, const std::string& words)
    : Object(ns_error),
      domain(Strong<String>::adopt(new String(error_domain))),
      text(Strong<String>::adopt(new String(words))),
      code(error_code) {}

void define_foundation() {
  define_strings();
  define_numbers();
  define_collections();
  define_errors();
  define_process();
}

}  // namespace metalconv::standin
