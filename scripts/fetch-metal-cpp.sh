#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Puts Apple's metal-cpp headers (Apache-2.0) into build/metal-cpp, where CMake looks for them. MLX's
# wheels for macOS carry them with their licence, and pip brings the wheel to any machine (45 MB).
# usage: scripts/fetch-metal-cpp.sh [DIRECTORY]
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${1:-$ROOT/build/metal-cpp}

readonly WHEEL=mlx-metal==0.32.4
readonly SHA256=8019b2db622599267d66cc168b2f0dbf5af929790a6c3b3913e00eabc42a7947

[[ ! -f $TARGET/Metal/Metal.hpp ]] || exit 0
if [[ -n ${METALCONV_NO_INSTALL:-} ]]; then
  echo "metal-cpp's headers are not here, and METALCONV_NO_INSTALL says to fetch nothing" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "$WHEEL --hash=sha256:$SHA256" >"$work/wheel.txt"
if ! python3 -m pip --disable-pip-version-check --quiet --retries 1 --timeout 20 download \
  --no-deps --only-binary=:all: --platform macosx_14_0_arm64 \
  --require-hashes --requirement "$work/wheel.txt" --dest "$work" >"$work/log" 2>&1; then
  echo "metal-cpp's headers cannot be fetched: $(tail -n 1 "$work/log")" >&2
  exit 1
fi
python3 - "$work" <<'END'
import glob, sys, zipfile
folder = sys.argv[1]
with zipfile.ZipFile(glob.glob(folder + "/*.whl")[0]) as wheel:
    wheel.extractall(folder, [n for n in wheel.namelist() if "/include/metal_cpp/" in n])
END
mkdir -p "$(dirname "$TARGET")"
rm -rf "$TARGET"
mv "$work/mlx/include/metal_cpp" "$TARGET"
