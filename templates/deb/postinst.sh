#!/bin/sh
# Called after the files are laid, and when a removal or an upgrade has failed halfway: everything
# in here can be done any number of times.
set -e

root=${DPKG_ROOT:-}

{% include "linux/pointers.sh" %}
case $1 in
    configure | abort-upgrade | abort-remove | abort-deconfigure)
{%- for pointer in lifecycle.pointers %}
        point "$root{{ pointer.link }}" {{ pointer.relative() }} {{ pointer.version() }}
{%- endfor %}
{%- if lifecycle.start %}
        # Enables on the first installation, and later only what nobody has disabled since.
        if deb-systemd-helper --quiet was-enabled {{ lifecycle.service }}; then
            deb-systemd-helper enable {{ lifecycle.service }} >/dev/null || true
        else
            deb-systemd-helper update-state {{ lifecycle.service }} >/dev/null || true
        fi
{%- else %}
        # Nothing is enabled, but what an administrator has enabled stays so.
        if deb-systemd-helper debian-installed {{ lifecycle.service }}; then
            if deb-systemd-helper --quiet was-enabled {{ lifecycle.service }}; then
                deb-systemd-helper enable {{ lifecycle.service }} >/dev/null || true
            fi
        fi
        deb-systemd-helper update-state {{ lifecycle.service }} >/dev/null || true
{%- endif %}
        if [ -z "$root" ] && [ -d /run/systemd/system ]; then
            systemctl --system daemon-reload >/dev/null || true
{%- if lifecycle.start %}
            # Passes over a service that is disabled or masked, and asks policy-rc.d. A version to
            # upgrade from in $2 means that an older agent may be running.
            if [ -n "$2" ]; then
                deb-systemd-invoke restart {{ lifecycle.service }} >/dev/null || true
            else
                deb-systemd-invoke start {{ lifecycle.service }} >/dev/null || true
            fi
{%- else %}
            deb-systemd-invoke try-restart {{ lifecycle.service }} >/dev/null || true
{%- endif %}
        fi
        ;;
esac
