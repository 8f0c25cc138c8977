# shellcheck shell=bash
# Installs what tools/packages.list lists, for tools/demo and tools/check. Nothing is fetched if all is there.

missing_packages() { # PURPOSE...
    local purpose package
    for purpose; do
        # shellcheck disable=SC2013 # words
        for package in $(sed -n "s/^$purpose: *//p" tools/packages.list); do
            dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
                printf "%s " "$package"
        done
    done
}

# Prints what it does, or what somebody with more rights has to do; fails if packages are still missing then.
install_packages() { # PURPOSE...
    local missing
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        printf 'Packages are missing. As root:\n\n  apt-get install --no-install-recommends %s\n\n' "$missing"
        return 1
    fi
    printf 'Installing: %s\n' "$missing"
    # shellcheck disable=SC2086 # a list
    apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $missing
}
