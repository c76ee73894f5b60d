#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Python package from this tree into build/python-test, a virtual environment, and runs
# its tests. Exit 77: pip, or what it would fetch, cannot be had here.
# usage: scripts/python-test.sh [--junit FILE] [ARGUMENTS OF pytest]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly VENV=build/python-test LOG=build/python-test.log
# The list changes: what is there is brought up to it.
readonly REQUIREMENTS=(scikit-build-core nanobind ninja pytest numpy ml_dtypes)
readonly EXTRAS=(onnx onnxruntime jax pandas)  # peers and partners: tests without one are skipped

skip() { echo "the Python tests are skipped: $*" >&2; exit 77; }
fail() { tail -n 40 "$LOG" >&2; echo "$1; the whole log is $LOG" >&2; exit 1; }
pip() { "$VENV/bin/python" -m pip --disable-pip-version-check --quiet --retries 1 --timeout 20 "$@" >>"$LOG" 2>&1; }

mkdir -p build
: >"$LOG"
command -v python3 >/dev/null || skip "python3 is not installed"
python3 -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
  skip "Python's headers are not installed (python3-dev)"
if [[ ! -x $VENV/bin/python ]]; then
  python3 -m venv "$VENV" >>"$LOG" 2>&1 || { rm -rf "$VENV"; skip "no virtual environment can be made (python3-venv)"; }
fi
if [[ $(cat "$VENV/installed" 2>/dev/null) != "${REQUIREMENTS[*]} ${EXTRAS[*]}" ]]; then
  [[ -z ${METALCONV_NO_INSTALL:-} ]] || skip "METALCONV_NO_INSTALL says to fetch nothing"
  pip install "${REQUIREMENTS[@]}" || skip "pip cannot fetch ${REQUIREMENTS[*]} (see $LOG)"
  if pip install "${EXTRAS[@]}"; then echo "${REQUIREMENTS[*]} ${EXTRAS[*]}" >"$VENV/installed"
  else echo "going on without some of ${EXTRAS[*]}" >&2; fi
fi

# The compiler under the name that build/release has it by, so that ccache knows what it compiled.
export CC=${CC:-$(command -v cc)} CXX=${CXX:-$(command -v c++)}
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN)}
pip install --verbose --no-build-isolation --no-deps --force-reinstall . || fail "pip install . failed"

arguments=()
if [[ ${1:-} == --junit ]]; then
  arguments=(--junit-xml "$2")
  shift 2
fi
# pytest adds python/tests to the path, not python/: what is tested is what was installed.
METALCONV_WISDOM=off "$VENV/bin/python" -m pytest python/tests "${arguments[@]}" "$@"
