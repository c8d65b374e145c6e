#!/bin/sh
# Called before the files go. An upgrade leaves the service running; the new package restarts it.
set -e

root=${DPKG_ROOT:-}
{% if !lifecycle.pointers.is_empty() %}
{% include "linux/unpoint.sh" %}
{%- endif %}
case $1 in
    remove)
{%- if let Some(service) = lifecycle.service %}
        if [ -z "$root" ] && [ -d /run/systemd/system ]; then
            deb-systemd-invoke stop {{ service.name }} >/dev/null || true
        fi
{%- endif %}
{%- for pointer in lifecycle.pointers %}
        unpoint "$root{{ pointer.link }}"
{%- endfor %}
        ;;
esac
