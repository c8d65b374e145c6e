# After the files are laid. $1 counts the versions that are now installed: 1 is a first
# installation, more is an upgrade.
set -e
{% if !lifecycle.pointers.is_empty() %}
root=

{% include "linux/pointers.sh" %}
{%- for pointer in lifecycle.pointers %}
point {{ pointer.link }} {{ pointer.relative() }} {{ pointer.version() }}
{%- endfor %}
{%- endif %}
{%- if let Some(service) = lifecycle.service %}

[ -x /usr/bin/systemctl ] || exit 0
{%- if service.start %}
if [ "$1" -eq 1 ]; then
    # Works without a running systemd, too, and refuses a unit that is masked.
    systemctl --quiet --no-reload enable {{ service.name }} || true
fi
{%- endif %}
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true

{% include "linux/restart.sh" %}
{% if service.start %}
if [ "$1" -eq 1 ] && systemctl --quiet is-enabled {{ service.name }}; then
    systemctl --quiet --no-block restart {{ service.name }} || true
else
    once_installed {{ service.name }} systemctl try-restart {{ service.name }} ||
        systemctl --quiet --no-block try-restart {{ service.name }} || true
fi
{%- else %}
once_installed {{ service.name }} systemctl try-restart {{ service.name }} ||
    systemctl --quiet --no-block try-restart {{ service.name }} || true
{%- endif %}
{%- endif %}
