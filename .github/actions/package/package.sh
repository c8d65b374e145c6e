#!/usr/bin/env bash
# Downloads fleetctl, verifies it before anything of it runs, and builds installers with it.
# Inputs are INPUT_* variables; the enroll secret is FLEET_ENROLL_SECRET, which fleetctl reads.
set -euo pipefail

fail() {
    echo "::error::$1"
    exit 1
}

# The name of the archive for this runner, as far as all releases agree on it.
system() {
    local arch
    case "${RUNNER_ARCH:?}" in
        X64) arch=x86_64 ;;
        ARM64) arch=aarch64 ;;
        *) fail "there is no fleetctl for a $RUNNER_ARCH runner" ;;
    esac
    case "${RUNNER_OS:?}" in
        Linux) echo "$arch-unknown-linux-(musl|gnu)\.tar\.zst" ;;
        macOS) echo "(universal|$arch)-apple-darwin\.tar\.zst" ;;
        Windows) echo "$arch-pc-windows-(msvc|gnu|gnullvm)\.zip" ;;
        *) fail "there is no fleetctl for a $RUNNER_OS runner" ;;
    esac
}

download() {
    curl --fail --silent --show-error --location --retry 3 --proto '=https,file' \
        --output "$work/$1" "${INPUT_RELEASE_URL%/}/$1" || fail "could not download $1"
}

base64_bytes() { # text, offset, count: a part of what the text encodes
    printf '%s' "$1" | openssl base64 -d -A | tail -c "+$(($2 + 1))" | head -c "$3"
}

# Ed25519 over BLAKE2b-512: minisign's format, read with what every runner has.
verify_signature() {
    local signature
    signature=$(sed -n 2p "$work/SHA256SUMS.minisig" | tr -d '\r')
    [ "$(base64_bytes "$signature" 0 2)" = ED ] || fail "the signature is not minisign's"
    cmp -s <(base64_bytes "$signature" 2 8) <(base64_bytes "$INPUT_PUBLIC_KEY" 2 8) ||
        fail "SHA256SUMS is signed with another key"
    # An Ed25519 key in DER is 12 bytes that are always the same, and the key.
    { printf '\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00'; base64_bytes "$INPUT_PUBLIC_KEY" 10 32; } \
        > "$work/key.der"
    base64_bytes "$signature" 10 64 > "$work/signature"
    openssl dgst -blake2b512 -binary -out "$work/digest" "$work/SHA256SUMS"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin \
        -in "$work/digest" -sigfile "$work/signature" > "$work/openssl.log" 2>&1 ||
        fail "SHA256SUMS is not signed by the given key"
}

sha256() {
    if command -v sha256sum > /dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

unpack() {
    case "$1" in
        *.zip) unzip -q "$work/$1" -d "$work/release" ;;
        *) mkdir "$work/release" && zstd --quiet --decompress --stdout "$work/$1" | tar -x -C "$work/release" ;;
    esac
}

for name in VERSION PUBLIC_KEY RELEASE_URL TYPE; do
    variable=INPUT_$name
    [ -n "${!variable:-}" ] || fail "the input $(tr 'A-Z_' 'a-z-' <<< "$name") is empty"
done

work=$(mktemp -d "${RUNNER_TEMP:-/tmp}/fleetctl.XXXXXX")

download SHA256SUMS
download SHA256SUMS.minisig
verify_signature
pattern="^[0-9a-f]{64}  fleetd-${INPUT_VERSION//./\\.}-$(system)\$"
line=$(grep -E "$pattern" "$work/SHA256SUMS" | head -n 1) ||
    fail "the release has no fleetctl $INPUT_VERSION for a $RUNNER_OS $RUNNER_ARCH runner"
archive=${line#*  }
download "$archive"
[ "$(sha256 "$work/$archive")" = "${line%% *}" ] || fail "$archive is not what was released"
unpack "$archive"

folder=${archive%.zip}
fleetctl="$work/release/${folder%.tar.zst}/fleetctl"
[ "$RUNNER_OS" = Windows ] && fleetctl=$fleetctl.exe

# Once more, by fleetctl's own rules: the signed comment must name the same version.
"$fleetctl" verify-release "$work/$archive" --public-key "$INPUT_PUBLIC_KEY" \
    --expect-version "$INPUT_VERSION"

arguments=(--type "$INPUT_TYPE" --arch "${INPUT_ARCH:-amd64}" --out-dir "${INPUT_OUT_DIR:-dist}")
[ -n "${INPUT_FLEET_URL:-}" ] && arguments+=(--fleet-url "$INPUT_FLEET_URL")
[ -n "${INPUT_UPDATE_URL:-}" ] && arguments+=(--update-url "$INPUT_UPDATE_URL")
[ -n "${INPUT_UPDATE_ROOTS:-}" ] && arguments+=(--update-roots "$INPUT_UPDATE_ROOTS")
# The agent comes from the release itself, unless something else is said.
[ -z "${INPUT_UPDATE_URL:-}${INPUT_COMPONENTS:-}" ] && INPUT_COMPONENTS=$(dirname "$fleetctl")
[ -n "${INPUT_COMPONENTS:-}" ] && arguments+=(--components "$INPUT_COMPONENTS")
while IFS= read -r argument; do
    if [ -n "$argument" ]; then arguments+=("$argument"); fi
done <<< "${INPUT_ARGUMENTS:-}"

"$fleetctl" package "${arguments[@]}" --output json > "$work/packages.json"
cat "$work/packages.json"
{
    echo "fleetctl=$fleetctl"
    echo "packages<<end-of-packages"
    sed -n 's/^ *"path": "\(.*\)",\{0,1\}$/\1/p' "$work/packages.json"
    echo "end-of-packages"
} >> "${GITHUB_OUTPUT:?}"
