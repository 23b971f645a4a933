#!/bin/sh
# Unpack Debian's slapd, its tools and the libraries it needs into .tools/slapd, without root and without configuring a service.
# Tests only. OpenLDAP's version is pinned; the libraries are those of the release.
set -eu
cd "$(dirname "$0")/../.."
version=2.5.13+dfsg-5
command -v apt-get >/dev/null && command -v dpkg >/dev/null || { echo "slapd is taken from Debian, which this is not" >&2; exit 1; }
made="$PWD/.tools/slapd.new"
rm -rf "$made"
mkdir -p "$made/packages"
cd "$made/packages"
fetch() {
  apt-get download -qq "slapd=$version" "ldap-utils=$version" "libldap-2.5-0=$version" libltdl7 libwrap0 libargon2-1 libsasl2-2 2>/dev/null
}
# A machine that has just been made knows no packages yet.
fetch || { [ "$(id -u)" -eq 0 ] && apt-get update -qq && fetch; } ||
  { echo "apt-get cannot download slapd $version: run apt-get update, or use Debian 12" >&2; rm -rf "$made"; exit 1; }
for package in *.deb; do dpkg -x "$package" "$made"; done
cd "$made/../.."
rm -rf "$made/packages" .tools/slapd
mv "$made" .tools/slapd
