#!/bin/sh
# Called after the files are laid, and when a removal or an upgrade has failed halfway: everything
# in here can be done any number of times.
set -e

root=${DPKG_ROOT:-}
{% if !lifecycle.pointers.is_empty() %}
{% include "linux/pointers.sh" %}
{% endif %}
{%- if lifecycle.service.is_some() %}
{% include "linux/restart.sh" %}
{%- endif %}
case $1 in
    configure | abort-upgrade | abort-remove | abort-deconfigure)
{%- if let Some(account) = lifecycle.account %}
        systemd-sysusers ${root:+--root="$root"} {{ account.name }}.conf
        # What belongs to the account was laid before there was one. Later it is the
        # administrator's to say who may read it.
        if [ -z "$2" ]; then
            group=$(sed -n 's/^{{ account.name }}:[^:]*:\([0-9]*\):.*/\1/p' "$root/etc/group")
{%- for path in owned %}
            chgrp "$group" "$root{{ path }}"
{%- endfor %}
        fi
{%- endif %}
{%- for pointer in lifecycle.pointers %}
        point "$root{{ pointer.link }}" {{ pointer.relative() }} {{ pointer.version() }}
{%- endfor %}
{%- if let Some(service) = lifecycle.service %}
{%- if service.start %}
        # Enables on the first installation, and later only what nobody has disabled since.
        if deb-systemd-helper --quiet was-enabled {{ service.name }}; then
            deb-systemd-helper enable {{ service.name }} >/dev/null || true
        else
            deb-systemd-helper update-state {{ service.name }} >/dev/null || true
        fi
{%- else %}
        # Nothing is enabled, but what an administrator has enabled stays so.
        if deb-systemd-helper debian-installed {{ service.name }}; then
            if deb-systemd-helper --quiet was-enabled {{ service.name }}; then
                deb-systemd-helper enable {{ service.name }} >/dev/null || true
            fi
        fi
        deb-systemd-helper update-state {{ service.name }} >/dev/null || true
{%- endif %}
        if [ -z "$root" ] && [ -d /run/systemd/system ]; then
            systemctl --system daemon-reload >/dev/null || true
{%- if service.start %}
            # Passes over a service that is disabled or masked, and asks policy-rc.d. A version to
            # upgrade from in $2 means that an older one may be running.
            if [ -n "$2" ]; then
                once_installed {{ service.name }} deb-systemd-invoke restart {{ service.name }} ||
                    deb-systemd-invoke restart {{ service.name }} >/dev/null || true
            else
                deb-systemd-invoke start {{ service.name }} >/dev/null || true
            fi
{%- else %}
            once_installed {{ service.name }} deb-systemd-invoke try-restart {{ service.name }} ||
                deb-systemd-invoke try-restart {{ service.name }} >/dev/null || true
{%- endif %}
        fi
{%- endif %}
        ;;
esac
