#!/usr/bin/env bash
# Makes a Chromium available to the page tests: nothing to do where one is
# installed; on Debian as root it is installed; elsewhere the tests say that
# they were skipped, and why.
set -eu
for name in chromium chromium-browser google-chrome; do
	command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
	echo "no Chromium found: install it (Debian: apt-get install chromium) to run the page tests" >&2
fi
