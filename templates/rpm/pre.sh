# Before the files are laid, some of which belong to the account.
set -e

systemd-sysusers --replace=/usr/lib/sysusers.d/{{ account.name }}.conf - <<'EOF'
{{ account.sysusers() }}
EOF
