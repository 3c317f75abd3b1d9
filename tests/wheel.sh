#!/bin/sh
# Builds the wheel, installs it where there is nothing else, and stores recordings from an empty folder.
set -eu
folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
cp -r setup.cfg pyproject.toml README.md maie_aiohttp "$folder"
"$PYTHON" -m pip wheel --quiet --no-deps --wheel-dir "$folder/wheels" "$folder"
for sample in wav mp3; do
    "$PYTHON" -c "import sys; from tests import audio; sys.stdout.buffer.write(audio.sample('$sample').content)" \
        > "$folder/speech.$sample"
done
"$PYTHON" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "$folder"/wheels/*.whl
mkdir "$folder/empty"
cd "$folder/empty"
MAIE_SERVER__PORT=0 MAIE_LOG__FORMAT=json "$folder/venv/bin/maie-aiohttp" 2> "$folder/log" &
server=$!
for _ in $(seq 100); do
    grep -q '"event": "ready"' "$folder/log" && break
    kill -0 "$server" || { cat "$folder/log"; exit 1; }
    sleep 0.1
done
url=$(sed -n 's/.*"url": "\([^"]*\)".*/\1/p' "$folder/log")
for sample in wav mp3; do
    curl --silent --show-error --fail --form "file=@$folder/speech.$sample" "$url/v1/uploads" > /dev/null
done
echo "wheel: $(find "$folder/empty/data/audio" -type f | wc -l) recordings stored"
