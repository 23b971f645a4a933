#!/bin/sh
# Install Keycloak from Maven Central into .tools/keycloak, for the slow tests on machines with Java 17 or later and Maven.
# The version is that of deploy/compose.
set -eu
VERSION=26.4.7
cd "$(dirname "$0")/../.."
[ -x ".tools/keycloak/keycloak-$VERSION/bin/kc.sh" ] && exit 0
mkdir -p .tools/keycloak
mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
    "-Dartifact=org.keycloak:keycloak-quarkus-dist:$VERSION:zip" "-DoutputDirectory=$PWD/.tools/keycloak"
python3 -m zipfile -e ".tools/keycloak/keycloak-quarkus-dist-$VERSION.zip" .tools/keycloak
rm ".tools/keycloak/keycloak-quarkus-dist-$VERSION.zip"
chmod +x ".tools/keycloak/keycloak-$VERSION"/bin/*.sh
