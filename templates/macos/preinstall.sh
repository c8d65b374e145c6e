#!/bin/sh
# Runs before the files are laid, as root, with the volume to install on as $3. Programs that run may
# be replaced: the installer puts new files in the place of old ones, which live on until they end.
set -eu

if [ "${3:-/}" != / ]; then
    echo "fleetd: it can be installed on the startup volume only, not on $3" >&2
    exit 1
fi
{% if let Some(service) = lifecycle.service %}
# Fleet's own agent is at the same place under the same label. It is replaced; it ends first, because
# it would take the new files for an update of its own.
if [ -d /opt/orbit/bin/orbit/macos ] && [ ! -e /opt/orbit/.inband_upgrade ]; then
    echo "fleetd: stopping Fleet's agent, which this package replaces"
    launchctl bootout system/{{ service.name }} || true
    pkill -x fleet-desktop || true
fi
{%- endif %}
