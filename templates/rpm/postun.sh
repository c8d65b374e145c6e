# After the files have gone. rpm knows no purge: state and edited configuration stay, so that the
# device comes back as itself.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
