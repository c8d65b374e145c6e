#!/bin/sh
# Called before the files go. An upgrade leaves the agent running; the new package restarts it.
set -e

root=${DPKG_ROOT:-}

{% include "linux/unpoint.sh" %}
case $1 in
    remove)
        if [ -z "$root" ] && [ -d /run/systemd/system ]; then
            deb-systemd-invoke stop {{ lifecycle.service }} >/dev/null || true
        fi
{%- for pointer in lifecycle.pointers %}
        unpoint "$root{{ pointer.link }}"
{%- endfor %}
        ;;
esac
