# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, and only that. Sourced by ./run and ./test; kept to bash 3.2, which is
# what macOS has. Package names hold no spaces, so lists of them are plain strings.
# shellcheck disable=SC2086,SC2046

# use     apt (Debian, Ubuntu)  brew           a command that will do instead ("-": none)
readonly PACKAGES='
build     g++                   -              c++
build     cmake                 cmake          cmake
build     ninja-build           ninja          ninja
build     libfmt-dev            fmt            -
build     libtbb-dev            tbb            -
build     libhwy-dev            highway        -
build     libcli11-dev          cli11          -
build     nlohmann-json3-dev    nlohmann-json  -
build     libboost-context-dev  boost          -
vendor    libdnnl-dev           onednn         -
picture   libpng-dev            libpng         -
picture   libturbojpeg0-dev     jpeg-turbo     -
test      libgtest-dev          googletest     -
test      libgmock-dev          googletest     -
property  librapidcheck-dev     -              -
metal     clang                 -              clang++
metal     python3-pip           -              pip3
property  clang-16              -              clang++-16
python    python3-venv          python         -
python    python3-dev           python         -
check     clang-tidy            -              clang-tidy
check     clang-format          clang-format   clang-format
check     shellcheck            shellcheck     shellcheck
'

say() { printf 'metalconv: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

package_manager() {
  if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then echo apt
  elif command -v brew >/dev/null; then echo brew
  else echo none; fi
}

# wanted_packages USE...: the packages for these uses, a line each: name, command.
wanted_packages() {
  local use apt brew tool name
  while read -r use apt brew tool; do
    case " $* " in *" $use "*) ;; *) continue ;; esac
    if [[ $MANAGER == brew ]]; then name=$brew; else name=$apt; fi
    [[ $name == - ]] || echo "$name $tool"
  done <<<"$(sed '/^$/d' <<<"$PACKAGES")"
}

# Those of the named packages that are on the machine. One query for all of them takes 20 ms.
installed() {
  case $MANAGER in
    apt) dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "$@" 2>/dev/null |
           sed -n 's/^ii *//p' || true ;;
    brew) local name prefix
          prefix=$(brew --prefix)
          for name in "$@"; do [[ ! -d $prefix/opt/$name ]] || echo "$name"; done ;;
  esac
}

# missing_packages USE...: on one line, the packages for these uses that are not there.
missing_packages() {
  local wanted have name tool missing=''
  wanted=$(wanted_packages "$@")
  have=" $(installed $(cut -d' ' -f1 <<<"$wanted") | tr '\n' ' ') "
  while read -r name tool; do
    [[ -z $name || $have == *" $name "* || " $missing " == *" $name "* ]] && continue
    [[ $tool != - ]] && command -v "$tool" >/dev/null && continue
    missing="${missing:+$missing }$name"
  done <<<"$wanted"
  echo "$missing"
}

# Root, or sudo without a password, or sudo with someone there to type it.
may_install() {
  [[ -z ${METALCONV_NO_INSTALL:-} ]] || return 1
  [[ $MANAGER == brew || $(id -u) == 0 ]] && return 0
  command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 && -t 2 ]]; }
}

apt_get() {
  local sudo=sudo
  [[ $(id -u) != 0 ]] || sudo=''
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=60 \
    -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@"
}

# The package index is fetched only when the one on the machine does not do.
install_packages() {
  {
    if [[ $MANAGER == brew ]]; then brew install "$@"
    else
      apt_get install -y --no-install-recommends "$@" ||
        { apt_get update && apt_get install -y --no-install-recommends "$@"; }
    fi
  } >>"$ROOT/build/install.log" 2>&1 </dev/null
}

# What the user can type, and why we did not.
how_to_install() {
  local command="apt-get update && apt-get install $*"
  case $MANAGER in
    brew) command="brew install $*" ;;
    apt) [[ $(id -u) == 0 ]] || command="sudo apt-get update && sudo apt-get install $*" ;;
  esac
  if may_install; then echo "$command (failed here, see build/install.log)"
  else echo "$command"; fi
}

# ensure_packages NEEDED_USES EXTRA_USES: afterwards the needed packages are there, or the program
# has ended with one line that names the missing ones. What is extra and cannot be had is named too,
# and not tried again until something about it changes.
ensure_packages() {
  MANAGER=$(package_manager)
  mkdir -p "$ROOT/build"
  if [[ $(uname) == Darwin ]] && ! xcode-select -p >/dev/null 2>&1; then
    die "missing Apple's command line tools: xcode-select --install"
  fi
  if [[ $MANAGER == none ]]; then
    say "neither apt nor brew on this machine; building with the libraries that CMake finds"
    return
  fi
  local needed extra tried
  needed=$(missing_packages $1)
  extra=$(missing_packages $2)
  tried=$(cat "$ROOT/build/unavailable" 2>/dev/null || true)
  if [[ -n $needed || ( -n $extra && $extra != "$tried" ) ]] && may_install; then
    say "installing" $needed $extra
    # Together if possible: one transaction is quicker than two.
    install_packages $needed $extra || { [[ -z $needed ]] || install_packages $needed || true; }
    needed=$(missing_packages $1)
    extra=$(missing_packages $2)
  fi
  [[ -z $needed ]] || die "missing packages: $(how_to_install $needed)"
  [[ -z $extra ]] || say "going on without $extra; to have it: $(how_to_install $extra)"
  echo "$extra" >"$ROOT/build/unavailable"
}
