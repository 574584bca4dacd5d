# shellcheck shell=sh
# Sourced by the scripts beside it: a virtual environment inside the clone,
# installed again only when what it is made from has changed.

say() {
    printf '\n== %s\n' "$*" >&2
}

# give_up WHAT ADVICE...: end, saying what failed and what to do about it.
give_up() {
    printf '\nFAILED: %s\n' "$1" >&2
    shift
    for line in "$@"; do
        printf '  %s\n' "$line" >&2
    done
    exit 1
}

# Set $python to an interpreter that is new enough; $PYTHON wins.
find_python() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null; then
            return
        fi
    done
    give_up "no Python 3.11 or later was found" \
        "Install one, or name it: PYTHON=/path/to/python3 $0"
}

# use_venv DIRECTORY: make it if it is not there, and set $venv.
use_venv() {
    venv=$1
    find_python
    # A half-made environment, or one of another Python, is made anew.
    if "$venv/bin/python" -m pip --version >/dev/null 2>&1 &&
        [ "$("$venv/bin/python" -V)" = "$("$python" -V)" ]; then
        return
    fi
    rm -rf "$venv"
    "$python" -m venv "$venv" || {
        rm -rf "$venv"
        give_up "$python cannot make virtual environments" \
            "Install its venv module; on Debian and Ubuntu:" \
            "apt install python3-venv"
    }
}

# install STAMP FILES -- PIP-ARGUMENTS: run pip in $venv, unless it was run
# with the same arguments and the same contents of FILES before.
install() {
    stamp=$venv/installed-$1
    files=$2
    shift 3
    # shellcheck disable=SC2086
    wanted=$({ printf '%s\n' "$PWD" "$*"; cat $files; } | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    say "Installing into ${venv#"$PWD/"} (minutes the first time)"
    rm -f "$stamp"
    # Python compiles what is imported; that is a small part of it all.
    "$venv/bin/python" -m pip install --disable-pip-version-check \
        --no-compile --progress-bar off "$@" ||
        give_up "pip could not install the requirements" \
            "See its messages above; it needs the Python package index or a" \
            "mirror (PIP_INDEX_URL). Run this again when that is mended."
    printf '%s\n' "$wanted" >"$stamp"
}
