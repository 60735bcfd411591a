#!/usr/bin/env bash
# Makes .venv-importers, in which tests/annotations/importers run the importers of others.
set -euo pipefail
cd "$(dirname "$0")/../../.."
python=${1:-python3}
[ -x .venv/bin/python ] && [ $# -eq 0 ] && python=.venv/bin/python
"$python" -m venv --clear .venv-importers
.venv-importers/bin/python -m pip install --quiet --disable-pip-version-check \
    'datumaro>=1.13,<2' 'labelformat>=0.1.17,<0.2' 'supervision>=0.26,<1' 'globox>=2.9,<3' 'pycocotools>=2.0.10,<3'
