#!/bin/sh
# Build the MinIO gateway of February 2021 into .tools/former-gateway, for the test of taking over its etcd; needs Go and some minutes.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p .tools
module=$(mktemp -d)
trap 'rm -rf "$module"' EXIT
cat > "$module/main.go" <<'END'
package main

import (
	"os"

	"github.com/minio/minio/cmd"
	_ "github.com/minio/minio/cmd/gateway/s3"
)

func main() { cmd.Main(os.Args) }
END
out="$PWD/.tools/former-gateway"
cd "$module"
go mod init former >/dev/null 2>&1
go get github.com/minio/minio@v0.0.0-20210206053228-97fe57bba92c >/dev/null 2>&1
CGO_ENABLED=0 go build -trimpath -o "$out" .
ls -l "$out"
