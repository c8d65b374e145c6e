# After the files have gone. rpm knows no purge: state and edited configuration stay, so that what
# comes back is what has gone.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
