#!/bin/sh
# Install the AWS SDK for JavaScript and minio-js into .tools/npm-clients, for the client matrix on machines with Node.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p .tools/npm-clients
cp tests/clients/programs/package.json .tools/npm-clients/
cd .tools/npm-clients
npm install --no-audit --no-fund --silent
