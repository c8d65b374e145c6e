# Before the files go. $1 counts the versions that stay: 0 is an erasure; after an upgrade, which
# is to change nothing here, it is 1.
set -e

[ "$1" -eq 0 ] || exit 0
root=

{% include "linux/unpoint.sh" %}
if [ -x /usr/bin/systemctl ]; then
    if [ -d /run/systemd/system ]; then
        systemctl --quiet stop {{ lifecycle.service }} || true
    fi
    systemctl --quiet --no-reload disable {{ lifecycle.service }} || true
fi
{%- for pointer in lifecycle.pointers %}
unpoint {{ pointer.link }}
{%- endfor %}
