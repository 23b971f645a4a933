#!/bin/sh
# Build MinIO's client into .tools/mc, for the client matrix; needs Go and some minutes.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p .tools
GOBIN="$PWD/.tools" CGO_ENABLED=0 go install -trimpath github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9
.tools/mc --version
