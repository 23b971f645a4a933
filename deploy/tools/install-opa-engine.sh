#!/bin/sh
# Install OPA's evaluation engine as a Python module into .tools/opa-engine, for machines without Go. Tests only:
# its metadata asks for a newer Python than we do, though the wheel (ctypes, py3-none) runs on ours; hence the flag.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p .tools
"${PYTHON:-python3}" -m pip install --quiet --ignore-requires-python --no-deps --upgrade --target .tools/opa-engine \
  opa-golib-python-bindings==0.4.4
