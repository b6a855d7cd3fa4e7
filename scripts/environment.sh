# Sourced by scripts/run and scripts/test: makes .venv and finds the Debian packages that are needed.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

# debian_install PACKAGE...: true if the packages could be installed, which takes root on Debian or Ubuntu.
apt_is_fresh=
debian_install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  if [ -z "$apt_is_fresh" ]; then
    apt-get update -qq >&2 || return 1
    apt_is_fresh=yes
  fi
  say "installing $* (apt-get)"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# find_python: prints a Python of version 3.11 or newer.
find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# ensure_environment [EXTRA]: .venv holds the project and what the extra names; done again when pyproject.toml changes.
ensure_environment() {
  local extra=${1:-} python wanted stamp
  if [ ! -x .venv/bin/python ]; then
    if ! python=$(find_python); then
      debian_install python3 || true
      python=$(find_python) || die "Python 3.11 or newer is needed; name it with PYTHON=..."
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      debian_install python3-venv || die "Python's venv module is missing; on Debian: apt-get install python3-venv"
    fi
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
  fi
  stamp=.venv/.installed${extra:+-$extra}
  wanted=$(cksum pyproject.toml)
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    say "installing turnloom${extra:+ with $extra tools} into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${extra:+[$extra]}"
    printf '%s\n' "$wanted" >"$stamp"
  fi
  # Editors start the server often; where Python is told to write no bytecode it would compile everything each time.
  .venv/bin/python -m compileall -q app_server protocol
}

# ensure_bubblewrap: true if sandboxed commands can run.
ensure_bubblewrap() {
  [ "$(uname -s)" = Linux ] || return 0
  command -v bwrap >/dev/null || debian_install bubblewrap || {
    say "bubblewrap is missing: commands cannot be sandboxed. On Debian or Ubuntu: sudo apt-get install bubblewrap"
    return 1
  }
  if ! bwrap --unshare-user --unshare-pid --ro-bind / / true 2>/dev/null; then
    say "bubblewrap cannot make a namespace here (try: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0)"
    return 1
  fi
}

# ensure_hosts: true if tests can give hosts names of their own and fetch from them; installs what that takes.
ensure_hosts() {
  [ "$(uname -s)" = Linux ] || return 0
  command -v curl >/dev/null || debian_install curl || {
    say "curl is missing. On Debian or Ubuntu: sudo apt-get install curl"
    return 1
  }
  compgen -G '/usr/lib/*/libnss_wrapper.so' >/dev/null || compgen -G '/usr/lib*/libnss_wrapper.so' >/dev/null ||
    debian_install libnss-wrapper || {
    say "libnss-wrapper is missing. On Debian or Ubuntu: sudo apt-get install libnss-wrapper"
    return 1
  }
}
