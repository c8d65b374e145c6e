#!/bin/sh
# Removes the Fleet agent: `sudo sh /opt/orbit/uninstall.sh`. The device's identity and what osquery
# has gathered stay, so that a later installation comes back as the same device; with --purge they go,
# too.
set -eu

label={{ service }}
plist=/Library/LaunchDaemons/$label.plist
icon_label=com.fleetdm.fleet-desktop
icon=/Library/LaunchAgents/$icon_label.plist

# Deletes the symlink $1 if it leads to a packaged program, which is about to go.
unpoint() {
    case $(readlink "$1" || true) in
        packaged/* | */packaged/*) rm -f "$1" ;;
    esac
}

stop() {
    launchctl bootout "system/$label" 2>/dev/null || true
    if [ -e "$icon" ]; then
        # In every session that shows it: who runs it is who sees it.
        for user in $(ps -axo uid=,comm= | sed -n 's,^ *\([0-9]*\) .*fleet-desktop$,\1,p' | sort -u); do
            launchctl bootout "gui/$user/$icon_label" 2>/dev/null || true
        done
    fi
    pkill -x fleet-desktop || true
}

# The installer's own list of what it has put where.
forget() {
    for receipt in $(pkgutil --file-info "$plist" | sed -n 's/^pkgid: //p'); do
        pkgutil --forget "$receipt" || true
    done
}

remove() {
{%- for link in pointers %}
    unpoint {{ link }}
{%- endfor %}
    rm -rf /opt/orbit/bin/*/packaged
    if [ "$(readlink /usr/local/bin/orbit || true)" = /opt/orbit/bin/orbit/orbit ]; then
        rm -f /usr/local/bin/orbit
    fi
{%- for path in owned %}
    rm -rf {{ path }}
{%- endfor %}
    rm -f "$plist" "$icon"
    # Folders that are empty, and no others.
    for folder in /opt/orbit/bin/* /opt/orbit/bin /opt/orbit; do
        rmdir "$folder" 2>/dev/null || true
    done
}

purge() {
    /opt/orbit/bin/orbit/packaged/orbit installer purge || true
    remove
{%- for path in state %}
    rm -rf {{ path }}
{%- endfor %}
}

main() {
    case "$#${1:-}" in
        0 | 1--purge) ;;
        *)
            echo "usage: uninstall.sh [--purge]" >&2
            exit 2
            ;;
    esac
    if [ "$(id -u)" -ne 0 ]; then
        echo "uninstall.sh has to be run as root: sudo sh $0 $*" >&2
        exit 1
    fi
    stop
    forget
    if [ "$#" -eq 1 ]; then
        purge
    else
        remove
    fi
    echo "fleetd is removed"
    exit 0
}

# This file is deleted on the way, so the shell has to have read all of it by then.
main "$@"
