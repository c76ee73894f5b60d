#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fetches oneDNN 3.2 for x86-64 Linux with pip into build/onednn3, where CMake finds it: the vendor
# that the CPU kernels are compared with is then the newer of two. Optional: where it cannot be had,
# one line says so, the exit status is 1, and everything works without it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly TARGET=build/onednn3

give_up() {
  echo "going on without oneDNN 3: $*" >&2
  exit 1
}

[[ ! -f $TARGET/lib/libdnnl.so.3 ]] || exit 0
[[ $(uname -sm) == 'Linux x86_64' ]] || give_up "its package is for Linux on x86-64"
python3 -m pip --version >/dev/null 2>&1 || give_up "there is no pip"

mkdir -p build
work=$(mktemp -d build/onednn3.XXXXXX)
trap 'rm -rf "$work"' EXIT

# The variant that runs on GNU's OpenMP, as Debian's oneDNN does.
cat >"$work/requirements" <<'END'
onednn-cpu-gomp==2023.2.0 --hash=sha256:2f22a54d6a890ed14bfa185d42a4be65d8b5b1df85dc1f0f3a9abe31620416fb
onednn-devel-cpu-gomp==2023.2.0 --hash=sha256:9763c69e8c907e119056bd52ad918ca84ac9ba939d130a99dfa95ccca3e5e284
END
python3 -m pip download --quiet --disable-pip-version-check --retries 1 --timeout 10 --no-deps \
  --only-binary :all: --require-hashes -r "$work/requirements" -d "$work" >"$work/log" 2>&1 ||
  give_up "$(tail -n 1 "$work/log")"
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/files"; done

# The library once instead of under its three names, the headers, and the licences.
mkdir -p "$work/onednn3/lib" "$work/onednn3/share"
mv "$work"/files/onednn_cpu_gomp-*.data/data/lib/libdnnl.so.3 "$work/onednn3/lib/"
mv "$work"/files/onednn_cpu_gomp-*.data/data/share/doc "$work/onednn3/share/"
mv "$work"/files/onednn_devel_cpu_gomp-*.data/data/include "$work/onednn3/"
rm -rf "$TARGET"
mv "$work/onednn3" "$TARGET"
