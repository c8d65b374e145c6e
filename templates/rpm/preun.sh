# Before the files go. $1 counts the versions that stay: 0 is an erasure; after an upgrade, which
# is to change nothing here, it is 1.
set -e

[ "$1" -eq 0 ] || exit 0
{%- if !lifecycle.pointers.is_empty() %}
root=

{% include "linux/unpoint.sh" %}
{%- endif %}
{%- if let Some(service) = lifecycle.service %}
if [ -x /usr/bin/systemctl ]; then
    if [ -d /run/systemd/system ]; then
        systemctl --quiet stop {{ service.name }} || true
    fi
    systemctl --quiet --no-reload disable {{ service.name }} || true
fi
{%- endif %}
{%- for pointer in lifecycle.pointers %}
unpoint {{ pointer.link }}
{%- endfor %}
