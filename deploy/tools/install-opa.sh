#!/bin/sh
# Build the real OPA server into .tools/opa; needs Go and some minutes. The tests prefer it to the engine of
# install-opa-engine.sh, and the version is the one which that engine embeds, so both must give the same answers.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p .tools
GOBIN="$PWD/.tools" CGO_ENABLED=0 go install -trimpath github.com/open-policy-agent/opa@v1.20.2
.tools/opa version
