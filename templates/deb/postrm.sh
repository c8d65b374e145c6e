#!/bin/sh
# Called after the files have gone. Removing keeps configuration and state, so that the device
# comes back as itself; purging keeps nothing.
set -e

root=${DPKG_ROOT:-}

case $1 in
    remove)
        if [ -z "$root" ] && [ -d /run/systemd/system ]; then
            systemctl --system daemon-reload >/dev/null || true
        fi
        ;;
    purge)
        if [ -x "$(command -v deb-systemd-helper)" ]; then
            deb-systemd-helper purge {{ lifecycle.service }} >/dev/null || true
        fi
{%- for path in lifecycle.state %}
        rm -rf "$root{{ path }}"
{%- endfor %}
        ;;
esac
