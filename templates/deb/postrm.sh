#!/bin/sh
# Called after the files have gone. Removing keeps configuration and state, so that what comes
# back is what has gone; purging keeps nothing.
set -e

root=${DPKG_ROOT:-}

case $1 in
    remove)
        if [ -z "$root" ] && [ -d /run/systemd/system ]; then
            systemctl --system daemon-reload >/dev/null || true
        fi
        ;;
    purge)
{%- if let Some(service) = lifecycle.service %}
        if [ -x "$(command -v deb-systemd-helper)" ]; then
            deb-systemd-helper purge {{ service.name }} >/dev/null || true
        fi
{%- endif %}
{%- for path in lifecycle.state %}
        rm -rf "$root{{ path }}"
{%- endfor %}
        ;;
esac
