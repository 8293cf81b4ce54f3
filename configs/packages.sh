# shellcheck shell=bash
# configs/packages.sh - sourced by ./check and ./demo: which Debian packages are missing, and how
# to get them without starting any service.

# packages_of LIST...: the names in those lists, comments removed.
packages_of() {
    sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$@"
}

# packages_missing LIST...: those not installed.
packages_missing() {
    local name
    for name in $(packages_of "$@"); do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done
}

# packages_apt NAME...: installs, with services kept from starting by a policy-rc.d that says 101
# ("forbidden") and goes away again; one that was there before stays as it is.
packages_apt() (
    export DEBIAN_FRONTEND=noninteractive
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    apt-get -q -o DPkg::Lock::Timeout=300 update &&
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
)

# packages_want LIST...: makes sure that all are there. Returns 2 (and prints the one line to run)
# when they are not and this user can't install them.
packages_want() {
    local missing
    if ! command -v dpkg-query >/dev/null; then
        echo "This is no Debian system: needed are the tools and libraries named in $*" >&2
        return 0
    fi
    mapfile -t missing < <(packages_missing "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "Missing packages. Run this once, then start again:" >&2
        echo "  sudo apt-get install --no-install-recommends ${missing[*]}" >&2
        return 2
    fi
    echo "Installing ${#missing[@]} missing packages: ${missing[*]}"
    if ! packages_apt "${missing[@]}" </dev/null >"${PACKAGES_LOG:-/dev/stdout}" 2>&1; then
        echo "apt-get failed${PACKAGES_LOG:+, see $PACKAGES_LOG}" >&2
        return 1
    fi
}
