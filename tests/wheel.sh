#!/bin/sh
# Builds the wheel, installs it where there is nothing else, and serves from an empty folder.
set -eu
folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
"$PYTHON" -m pip wheel --quiet --no-deps --wheel-dir "$folder/wheels" .
rm -rf build ./*.egg-info/SOURCES.txt.tmp
"$PYTHON" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "$folder"/wheels/*.whl
cd "$folder"
MAIE_SERVER__PORT=0 MAIE_LOG__FORMAT=json "$folder/venv/bin/maie-aiohttp" 2> "$folder/log" &
server=$!
for _ in $(seq 100); do
    grep -q '"event": "ready"' "$folder/log" && break
    kill -0 "$server" || { cat "$folder/log"; exit 1; }
    sleep 0.1
done
url=$(sed -n 's/.*"url": "\([^"]*\)".*/\1/p' "$folder/log")
"$folder/venv/bin/python" -c "import urllib.request; print('wheel:', urllib.request.urlopen('$url/ready').read().decode())"
