#!/bin/sh
# Downloads and verifies the model files of models.yaml. It is safe to run again: no file is downloaded twice.
set -eu

usage() {
    cat <<'TEXT'
usage: scripts/download_weights.sh [NAME... | --all]

Downloads and verifies the files of the named models, of all models, or of the default model.
Files that are there already are not downloaded again; an interrupted download is resumed.

  NAME   a model of models.yaml (cvdetect models list shows them)
  --all  all models (several GB)
  -h     this help

They go into the user's cache folder, or into CVDETECT_CACHE. Exit status: 0 when all files are there, else another.
TEXT
}

fail() {
    echo "download_weights.sh: $2" >&2
    exit "$1"
}

for argument in "$@"; do
    case $argument in
    -h | --help)
        usage
        exit 0
        ;;
    --all) [ $# -eq 1 ] || fail 2 "--all takes no names" ;;
    -*) fail 2 "unknown option $argument; -h shows the usage" ;;
    esac
done

# The virtual environment of this checkout first, then what PATH has, then the module of the system's Python.
venv=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/.venv
if [ -x "$venv/bin/cvdetect" ]; then
    exec "$venv/bin/cvdetect" models pull "$@"
elif command -v cvdetect >/dev/null; then
    exec cvdetect models pull "$@"
elif python3 -m cvdetect --version >/dev/null 2>&1; then
    exec python3 -m cvdetect models pull "$@"
fi
fail 3 "cvdetect is not installed; run: python3 -m venv .venv && .venv/bin/pip install ."
