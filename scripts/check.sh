#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Static analysis of our own sources; build/release must be built. Exit 77: the tool is not here.
# usage: scripts/check.sh format|headers|tidy|shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# clang-format's output differs between versions; the sources follow this one (Debian 12's).
readonly FORMAT_VERSION=14

sources() {
  find include src bench image cli tests examples python -name '*.h' -o -name '*.cpp' | sort
}
# Headers of translated kernels are only complete in what includes them, and two need Apple's.
headers() {
  find include src bench image cli -name '*.h' ! -name '*-inl.h' ! -path 'src/msl/dialect/*' \
    ! -name msl_emulator.h ! -path src/metal/objects.h ! -path src/metal/queue.h | sort
}

need() {
  command -v "$1" >/dev/null && return
  echo "$1 is not installed: this check is skipped" >&2
  exit 77
}

each() { xargs -P "$(getconf _NPROCESSORS_ONLN)" -n "$1" "${@:2}"; }

check_format() {
  local tool=clang-format
  if command -v $tool-$FORMAT_VERSION >/dev/null; then tool=$tool-$FORMAT_VERSION; fi
  need $tool
  if [[ $($tool --version) != *"version $FORMAT_VERSION."* ]]; then
    echo "the format is that of clang-format $FORMAT_VERSION, here is $($tool --version): skipped" >&2
    exit 77
  fi
  sources | each 50 $tool --dry-run -Werror
}

# Every header compiles alone.
check_headers() {
  # shellcheck disable=SC2016  # for the inner shell to expand
  headers | each 1 sh -c 'echo "#include \"$1\"" | ${CXX:-c++} -std=c++20 -Wall -Wextra -Wshadow \
    -Werror -I. -Iinclude -Isrc -fsyntax-only -x c++ -' sh
}

check_tidy() {
  need clang-tidy
  find src bench image cli -name '*.cpp' ! -path 'src/metal/*' | sort |
    each 1 clang-tidy --quiet -p build/release --extra-arg=-Wno-unknown-warning-option
  [[ -d build/metal-cpp ]] || return 0
  # No other system's build has these; their headers are Apple's, and what tests have in their place.
  local standin=tests/metal_standin
  local flags=(-std=c++20 -fblocks -fobjc-arc -fobjc-runtime=macosx-15.0 -Isrc -Iinclude
    -DMETALCONV_METAL_ABSENCE='""' -isystem build/metal-cpp -isystem "$standin/sdk"
    -isystem "$standin/mm")
  for source in src/metal/*.cpp src/metal/*.mm; do echo "$source"; done |
    xargs -P "$(getconf _NPROCESSORS_ONLN)" -I {} clang-tidy --quiet {} -- "${flags[@]}"
}

check_shell() {
  need shellcheck
  shellcheck -x run test .ci/run bench/peers/run scripts/*.sh
}

"check_${1:?format, headers, tidy or shell}"
