# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Configures and builds a preset, quietly unless it fails. Sourced by ./run and ./test.

cores() { getconf _NPROCESSORS_ONLN; }

# Keeps the build's whole output in a log and shows its "[done/all]" as one moving line, or, where
# nobody watches, as one line at the start. A build with nothing to compile shows nothing.
show_progress() {
  local name=$1 log=$2 line shown=''
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$log"
    [[ $line == \[*\ Building\ * || $line == \[*\ Linking\ * ]] || continue
    if [[ -t 2 ]]; then printf '\r\033[Kmetalconv: building %s %s' "$name" "${line%% *}" >&2
    elif [[ -z $shown ]]; then say "building $name"; fi
    shown=yes
  done
  [[ -z $shown || ! -t 2 ]] || printf '\r\033[K' >&2
}

fail_with_log() {
  tail -n 40 "$2" >&2
  die "$1 failed; the whole log is $2"
}

# What a configured build depends on beside the CMake files: where it is and which libraries were
# there. When that changes it is configured afresh, so that nothing found before is believed.
# shellcheck disable=SC2046
build_key() {
  { echo "$ROOT"
    cat "$ROOT/CMakePresets.json"
    installed $(wanted_packages build test vendor picture property metal | cut -d' ' -f1) | sort
    ls "$ROOT/build/metal-cpp" 2>/dev/null || true; } | cksum
}

# build_preset PRESET TARGET...
build_preset() {
  local preset=$1 dir="$ROOT/build/$1" log="$ROOT/build/$1.log" key
  shift
  key=$(build_key)
  : >"$log"
  if [[ ! -f $dir/build.ninja || $key != "$(cat "$dir/.key" 2>/dev/null)" ]]; then
    (cd "$ROOT" && cmake --fresh --preset "$preset") >>"$log" 2>&1 ||
      fail_with_log "configuring $preset" "$log"
    echo "$key" >"$dir/.key"
  fi
  cmake --build "$dir" --parallel "$(cores)" --target "$@" 2>&1 | show_progress "$preset" "$log" ||
    fail_with_log "building $preset" "$log"
}
