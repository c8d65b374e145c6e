#!/bin/sh
# Runs after the files are laid, as root. Can be run any number of times.
set -eu
{% if let Some(service) = lifecycle.service %}
label={{ service.name }}
plist=/Library/LaunchDaemons/$label.plist
icon_label=com.fleetdm.fleet-desktop
icon=/Library/LaunchAgents/$icon_label.plist
orbit=/opt/orbit/bin/orbit
{%- if service.start %}

# On anything but a first installation an administrator may have switched the service off.
first=yes
if [ -e /opt/orbit/installed.json ]; then
    first=no
fi
{%- endif %}

# Points to the newest version of each program, and takes over the secret if it is a new one.
"$orbit/packaged/orbit" installer configure

mkdir -p /var/log/orbit /usr/local/bin
chown 0:0 /var/log/orbit
chmod 755 /var/log/orbit
# For people; launchd starts the program itself, because others may write to this folder. Nothing
# that somebody else has put there is replaced.
if [ -L /usr/local/bin/orbit ] || [ ! -e /usr/local/bin/orbit ]; then
    ln -sfn "$orbit/orbit" /usr/local/bin/orbit
fi

# What Fleet's own agent leaves behind.
rm -rf "$orbit/macos" /opt/orbit/bin/osqueryd/macos-app /opt/orbit/bin/desktop/macos

chown 0:0 "$plist"
chmod 644 "$plist"
if [ -e "$icon" ]; then
    chown 0:0 "$icon"
    chmod 644 "$icon"
fi
{% if service.start %}
is_disabled() {
    launchctl print-disabled system 2>/dev/null | grep -Eq "\"$label\" => (true|disabled)"
}

# An agent that ends takes a while, and launchd does not take its successor before.
restart() {
    pkill -x fleet-desktop || true
    launchctl bootout "system/$label" 2>/dev/null || true
    launchctl enable "system/$label"
    tries=0
    until launchctl bootstrap system "$plist"; do
        tries=$((tries + 1))
        if [ "$tries" -ge 30 ]; then
            echo "fleetd: launchd does not take $plist" >&2
            return 1
        fi
        sleep 1
    done
    launchctl kickstart "system/$label"
    show_icon
}

# Whoever sits at the device sees the icon now, others when they sign in. One that was shown already is
# started again by launchd.
show_icon() {
    [ -e "$icon" ] || return 0
    user=$(stat -f %u /dev/console)
    if [ "$user" -ne 0 ] && ! launchctl print "gui/$user/$icon_label" >/dev/null 2>&1; then
        launchctl bootstrap "gui/$user" "$icon" || true
    fi
}

if [ "$first" = no ] && is_disabled; then
    rm -f /opt/orbit/.inband_upgrade
    echo "fleetd: the service is disabled and stays so; \`launchctl enable system/$label\` changes that"
elif [ -e /opt/orbit/.inband_upgrade ]; then
    # The agent itself is installing this and has to report how that ended.
    rm -f /opt/orbit/.inband_upgrade
    (trap '' HUP; sleep 30; restart) </dev/null >/dev/null 2>&1 &
else
    restart
fi
{%- else %}
# The service is left to the administrator; what runs goes on with the new files.
rm -f /opt/orbit/.inband_upgrade
if launchctl print "system/$label" >/dev/null 2>&1; then
    launchctl kickstart -k "system/$label" || true
fi
{%- endif %}
{%- endif %}
