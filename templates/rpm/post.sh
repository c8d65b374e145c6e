# After the files are laid. $1 counts the versions that are now installed: 1 is a first
# installation, more is an upgrade.
set -e

root=

{% include "linux/pointers.sh" %}
{%- for pointer in lifecycle.pointers %}
point {{ pointer.link }} {{ pointer.relative() }} {{ pointer.version() }}
{%- endfor %}

[ -x /usr/bin/systemctl ] || exit 0
{%- if lifecycle.start %}
if [ "$1" -eq 1 ]; then
    # Works without a running systemd, too, and refuses a unit that is masked.
    systemctl --quiet --no-reload enable {{ lifecycle.service }} || true
fi
{%- endif %}
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true
{%- if lifecycle.start %}
if [ "$1" -eq 1 ] && systemctl --quiet is-enabled {{ lifecycle.service }}; then
    systemctl --quiet --no-block restart {{ lifecycle.service }} || true
else
    systemctl --quiet --no-block try-restart {{ lifecycle.service }} || true
fi
{%- else %}
systemctl --quiet --no-block try-restart {{ lifecycle.service }} || true
{%- endif %}
