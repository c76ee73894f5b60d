// SPDX-License-Identifier: Apache-2.0
// The front end's three translations, word for word on small texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "msl/msl.h"

namespace metalconv::msl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::string kScale = R"(#include <metal_stdlib>
using namespace metal;
constant float kTable[2] = {1.0, 0.5};
[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void scale(device const elem* x [[buffer(0)]],  // the input
           device elem* y [[buffer(2)]],
           uint3 group [[threadgroup_position_in_grid]],
           constant Params& p [[buffer(1)]],
           uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float4 tile[4][8], edge;
  threadgroup float* flat = (threadgroup float*)tile;
  y[lane] = x[lane] * elem(kTable[1] * 1e-3);
}
)";

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

// The lines of a translation from line 1 of the source on.
std::vector<std::string> body(const std::string& text) {
  auto all = lines(text);
  const auto start = std::find_if(all.begin(), all.end(),
                                  [](const std::string& l) { return l.starts_with("#line 1 "); });
  return {start + 1, all.end()};
}

std::string squeeze(const std::string& line) {
  return std::regex_replace(std::regex_replace(line, std::regex(" +"), " "), std::regex("^ | $"),
                            "");
}

TEST(Translate, SignatureSaysWhatTheHostBinds) {
  const auto kernels = to_cuda(kScale, "kernels/scale.metal").kernels;
  ASSERT_EQ(kernels.size(), 1u);
  const KernelSignature& k = kernels[0];
  EXPECT_EQ(k.name, "scale");
  EXPECT_EQ(k.line, 5);
  EXPECT_EQ(k.max_total_threads, "THREADS");
  EXPECT_EQ(k.threadgroup_bytes, "sizeof(float4[4][8]) + sizeof(float4)");
  ASSERT_EQ(k.buffers.size(), 3u);
  EXPECT_EQ(k.buffers[0].name, "x");
  EXPECT_EQ(k.buffers[0].type, "elem");
  EXPECT_TRUE(k.buffers[0].is_const);
  EXPECT_EQ(k.buffers[1].index, 2);
  EXPECT_FALSE(k.buffers[1].is_const);
  EXPECT_EQ(k.buffers[2].space, Space::constant);
  EXPECT_TRUE(k.buffers[2].is_reference);
  ASSERT_EQ(k.builtins.size(), 2u);
  EXPECT_EQ(k.builtins[1].attribute, "thread_index_in_simdgroup");
  EXPECT_EQ(k.builtins[1].type, "uint");
}

TEST(Translate, CudaKernelInPlace) {
  const Translation t = to_cuda(kScale, "kernels/scale.metal");
  EXPECT_THAT(t.text, StartsWith("#include \"msl_cuda.h\"\nnamespace msl_program {\n"
                                 "#line 1 \"kernels/scale.metal\"\n"));
  const auto b = body(t.text);
  EXPECT_EQ(b[0], "");
  EXPECT_EQ(b[2], "__constant__ const float kTable[2] = {1.0f, 0.5f};");
  EXPECT_EQ(b[3], "extern \"C\" __global__ __launch_bounds__(THREADS)");
  EXPECT_EQ(squeeze(b[4]), "void scale( const elem* x , // the input");
  EXPECT_EQ(squeeze(b[5]), "elem* y ,");
  EXPECT_EQ(squeeze(b[6]), "");
  EXPECT_EQ(squeeze(b[7]), "const __grid_constant__ Params p");
  EXPECT_EQ(squeeze(b[8]),
            ") { [[maybe_unused]] uint3 group = "
            "msl::builtin<uint3>(msl::threadgroup_position_in_grid()); [[maybe_unused]] uint lane "
            "= msl::builtin<uint>(msl::thread_index_in_simdgroup());");
  EXPECT_EQ(squeeze(b[9]),
            "__shared__ __align__(16) float4 tile[4][8]; __shared__ __align__(16) float4 edge;");
  EXPECT_EQ(squeeze(b[10]), "float* flat = ( float*)tile;");
  EXPECT_EQ(squeeze(b[11]), "y[lane] = x[lane] * elem(kTable[1] * 1e-3f);");
}

TEST(Translate, EmulatorKernelWithItsThunk) {
  const auto b = body(to_emulator(kScale, "kernels/scale.metal").text);
  EXPECT_EQ(squeeze(b[4]), "void scale( const elem* x , // the input");
  EXPECT_EQ(squeeze(b[7]), "const Params& p ,");
  EXPECT_EQ(squeeze(b[9]), "MSL_THREADGROUP(tile, float4[4][8]); MSL_THREADGROUP(edge, float4);");
  EXPECT_EQ(b[12],
            "} MSL_KERNEL(scale, THREADS) { scale(msl::buffer<const elem*>(msl_arguments, 0), "
            "msl::buffer<elem*>(msl_arguments, 2), "
            "msl::builtin<uint3>(msl_thread.threadgroup_position_in_grid), "
            "msl::buffer<const Params&>(msl_arguments, 1), "
            "msl::builtin<uint>(msl_thread.thread_index_in_simdgroup)); }");
}

TEST(Translate, CheckKeepsTheAddressSpaces) {
  const auto b = body(to_check(kScale, "kernels/scale.metal").text);
  EXPECT_EQ(squeeze(b[4]), "void scale(device const elem* x , // the input");
  EXPECT_EQ(squeeze(b[9]), "static threadgroup float4 tile[4][8], edge;");
  EXPECT_EQ(squeeze(b[10]), "threadgroup float* flat = (threadgroup float*)tile;");
}

TEST(Translate, CheckMarksVectorConstructors) {
  const auto b =
      body(to_check("typedef vec<elem, 4> elem4;\n"
                    "elem4 f() { return elem4(1, 2, 3, 4); }\n"
                    "float4 g(float4 v) { return vec<float, 4>(v) + metal::float4(2); }\n",
                    "k.metal")
               .text);
  EXPECT_EQ(b[0], "typedef vec<elem, 4> elem4;");
  EXPECT_EQ(b[1], "elem4 f() { return metal::make<elem4>(1, 2, 3, 4); }");
  EXPECT_EQ(b[2],
            "float4 g(float4 v) { return metal::make<vec<float, 4>>(v) + "
            "metal::make<metal::float4>(2); }");
}

TEST(Translate, LiteralsHaveMetalsTypes) {
  const auto b = body(to_cuda("a = 1.5; b = .5; c = 2.f; d = 1e3; e = 0x1F; f = 1.0h; g = 2.5bf;\n"
                              "h = 10; i = 0x1.8p3; #define no 1.0\n#define HALF 0.5\n",
                              "k.metal")
                          .text);
  EXPECT_EQ(b[0],
            "a = 1.5f; b = .5f; c = 2.f; d = 1e3f; e = 0x1F; f = half(1.0f); "
            "g = bfloat(2.5f);");
  EXPECT_THAT(b[1], StartsWith("h = 10; i = 0x1.8p3f;"));
  EXPECT_EQ(b[2], "#define HALF 0.5f");
}

TEST(Translate, ConstIsNotSaidTwice) {
  const auto b =
      body(to_emulator("constexpr constant int kTile = 8;\n"
                       "static float f(constant const float* p, const constant int& i);\n",
                       "k.metal")
               .text);
  EXPECT_EQ(b[0], "constexpr const int kTile = 8;");
  EXPECT_EQ(squeeze(b[1]), "static float f( const float* p, const int& i);");
}

TEST(Translate, CommentsAndStringsStay) {
  const std::string text = "// device constant 1.0\n/* threadgroup\n   kernel */ int a; // '\n";
  EXPECT_THAT(to_cuda(text, "k.metal").text, HasSubstr(text));
}

TEST(Translate, MacroLinesStay) {
  const std::string text =
      "#ifdef WIDE\n#define STEP 4\n#else\n#define STEP 1 \\\n  + 0\n#endif\n#error don't\n";
  EXPECT_THAT(to_cuda(text, "k.metal").text, HasSubstr(text));
}

TEST(Translate, LineDirectivesAreFollowed) {
  try {
    to_cuda("int a;\n#line 7 \"params.h\"\nint b;\ndouble c;\n", "k.metal");
    FAIL();
  } catch (const SourceError& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    EXPECT_STREQ(e.what(), "params.h:8: Metal has no double");
    EXPECT_EQ(e.rule(), "no-double");
  }
}

TEST(Translate, ALineNumberOutOfRangeIsLeftToTheCompiler) {
  const std::string text = "#line 99999999999 \"a\"\nint a;\n";
  EXPECT_THAT(to_cuda(text, "k.metal").text, HasSubstr(text));
}

// Text, rule, line: what the front end refuses by itself, for every target.
struct Refusal {
  const char* text;
  const char* rule;
  int line;
};

TEST(Translate, RefusalsNameRuleAndLine) {
  const Refusal refusals[] = {
      {"int a;\n/* no end", "text", 2},
      {"\nconst char* s = \"no end;\n", "text", 2},
      {"#include \"params.h\"\n", "include", 1},
      {"#include <vector>\n", "std-header", 1},
      {"kernel void k(device float* x) {}\n", "kernel-parameter", 1},
      {"kernel void k(device float* x [[buffer(N)]]) {}\n", "buffer-index", 1},
      {"kernel void k(device float** x [[buffer(0)]]) {}\n", "syntax", 1},
      {"kernel void k(threadgroup float* x [[threadgroup(0)]]) {}\n", "unknown-attribute", 1},
      {"kernel void k(uint3 i [[thread_index_in_simdgroup]]) {}\n", "builtin-type", 1},
      {"kernel void k();\n", "syntax", 1},
      {"static kernel void k() {}\n", "syntax", 1},
      {"kernel void k() {}\nkernel void k() {}\n", "syntax", 2},
      {"namespace n {\nkernel void k() {}\n}\n", "syntax", 2},
      {"[[vertex]] void k() {}\n", "unknown-attribute", 1},
      {"[[host_name(\"a\")]] kernel void k() {}\n", "unknown-attribute", 1},
      {"void f() {\n  [[likely]] return;\n}\n", "unknown-attribute", 2},
      {"void f() {\n", "syntax", 1},
      {"}\n", "syntax", 1},
      {"#else\n", "directive", 1},
      {"threadgroup float t[4];\n", "threadgroup-scope", 1},
      {"#define KERNEL kernel void\n", "directive", 1},
  };
  for (const Refusal& r : refusals) {
    SCOPED_TRACE(r.text);
    for (const auto& translate : {to_cuda, to_emulator, to_check}) {
      try {
        translate(r.text, "kernels/k.metal");
        ADD_FAILURE() << "accepted";
      } catch (const SourceError& e) {
        EXPECT_EQ(e.rule(), r.rule) << e.what();
        EXPECT_EQ(e.line(), r.line);
        EXPECT_THAT(e.what(), StartsWith("kernels/k.metal:" + std::to_string(r.line) + ": "));
      }
    }
  }
}

// Whatever bytes come, the answer is a translation or a SourceError.
TEST(Translate, TruncatedTextsAreRefusedOrTranslated) {
  for (std::size_t n = 0; n < kScale.size(); ++n) {
    const std::string text = kScale.substr(0, n);
    for (const auto& translate : {to_cuda, to_emulator, to_check}) {
      try {
        translate(text, "k.metal");
      } catch (const SourceError& e) {
        EXPECT_GT(e.line(), 0) << n;
      }
    }
  }
}

class Includes : public testing::Test {
 protected:
  std::map<std::string, std::string> files_;
  const IncludeReader read_ = [this](std::string_view name) -> std::optional<std::string> {
    const auto file = files_.find(std::string(name));
    if (file == files_.end()) return std::nullopt;
    return file->second;
  };
};

TEST_F(Includes, AreInlinedOnceAndLinesStay) {
  files_["a.h"] = "#pragma once\n#include \"b.h\"\nint a;\n";
  files_["b.h"] = "#include \"a.h\"\nint b;\n";
  const std::string text =
      inline_includes("#include <metal_stdlib>\n#include \"a.h\"\n#include \"b.h\"\nint c;\n",
                      "kernels/k.metal", read_);
  EXPECT_THAT(lines(text), ElementsAre("#line 1 \"kernels/k.metal\"", "#include <metal_stdlib>",
                                       "#line 1 \"kernels/a.h\"", "", "#line 1 \"kernels/b.h\"", "",
                                       "int b;", "", "#line 2 \"kernels/a.h\"", "", "int a;", "",
                                       "#line 2 \"kernels/k.metal\"", "", "", "int c;"));
}

TEST_F(Includes, AMissingFileIsNamed) {
  try {
    inline_includes("\n#include \"none.h\"\n", "kernels/k.metal", read_);
    FAIL();
  } catch (const SourceError& e) {
    EXPECT_STREQ(e.what(), "kernels/k.metal:2: there is no file 'none.h' to include");
  }
}

TEST_F(Includes, ErrorsInsideThemNameTheirLine) {
  files_["a.h"] = "int a;\nint b = goto;\n";
  const std::string text = inline_includes("#include \"a.h\"\nint c;\n", "kernels/k.metal", read_);
  try {
    to_cuda(text, "kernels/k.metal");
    FAIL();
  } catch (const SourceError& e) {
    EXPECT_EQ(e.file(), "kernels/a.h");
    EXPECT_EQ(e.line(), 2);
  }
}

// ---- the project's own kernels ----

std::vector<std::filesystem::path> kernel_files() {
  std::vector<std::filesystem::path> out;
  if (!std::filesystem::is_directory(METALCONV_KERNEL_FOLDER)) return out;
  for (const auto& entry : std::filesystem::directory_iterator(METALCONV_KERNEL_FOLDER)) {
    if (entry.is_regular_file()) out.push_back(entry.path());
  }
  return out;
}

// Undoes what a translation may do to a line: everything else must be the Metal text.
std::string without_dialect(std::string line) {
  static const std::regex kWords(
      R"(\b(device|constant|const|threadgroup|thread|kernel|static|__constant__)\b|#include.*|\s+)");
  return std::regex_replace(line, kWords, "");
}

TEST(Kernels, OneStringGoesToMetalAndToTheTranslations) {
  for (const auto& path : kernel_files()) {
    if (path.extension() != ".metal") continue;
    SCOPED_TRACE(path);
    const std::string name = diagnostic_name(path.string());
    const std::string metal = load_source(path.string());  // what newLibrary(source) is given
    EXPECT_THAT(metal, Not(HasSubstr("#include \"")));
    const auto source = lines(metal);
    for (const auto& translate : {to_cuda, to_emulator}) {
      const auto translated = body(translate(metal, name).text);
      ASSERT_GE(translated.size(), source.size());
      std::size_t same = 0, expected = 0;
      for (std::size_t i = 0; i < source.size(); ++i) {
        if (source[i].find("[[") != std::string::npos) continue;  // of a kernel's head
        ++expected;
        same += without_dialect(source[i]) == without_dialect(translated[i]);
      }
      // Threadgroup storage and literals differ; the rest is the text itself.
      EXPECT_GT(same, expected * 9 / 10);
    }
  }
}

TEST(Kernels, NameNoTarget) {
  const std::regex target(R"(\b(__METAL\w*|__CUDA\w*|__NVCC__|__APPLE__|MSL_\w+|METALCONV_\w*)\b)");
  for (const auto& path : kernel_files()) {
    std::ifstream in(path);
    int number = 0;
    for (std::string line; std::getline(in, line);) {
      ++number;
      EXPECT_FALSE(std::regex_search(line, target)) << path << ":" << number << ": " << line;
    }
  }
}

}  // namespace
}  // namespace metalconv::msl
