#!/bin/sh
# Install the certified OpenID provider from npm into .tools/oidc-provider, for the tests on machines with Node.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p .tools/oidc-provider
cp tests/servers/oidc_provider/package.json .tools/oidc-provider/
cd .tools/oidc-provider
npm install --no-audit --no-fund --silent
