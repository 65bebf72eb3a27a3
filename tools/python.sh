#!/usr/bin/env bash
# python.sh VENV REQUIREMENTS makes a virtual environment that holds what the
# file pins: nothing to do where it does already. Without a Python that can, the
# tests say that they were skipped, and why.
set -eu
venv=$1 requirements=$2
cmp -s "$requirements" "$venv/.setup" && exit 0
python=$(command -v python3) || { echo "no Python found: install Python 3.10 or newer to run the tests of Python SDKs" >&2; exit 0; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$("$python" --version) is too old for the tests of Python SDKs: install 3.10 or newer" >&2; exit 0; }
rm -rf "$venv"
if ! "$python" -m venv "$venv" 2>/dev/null; then
	rm -rf "$venv"
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
		"$python" -m venv "$venv"
	else
		echo "$python cannot make a virtual environment: install its venv module (Debian: apt-get install python3-venv) to run the tests of Python SDKs" >&2
		exit 0
	fi
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
cp "$requirements" "$venv/.setup"
