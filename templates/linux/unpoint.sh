# Deletes the symlink $1 if it leads to a packaged file, which is about to go.
unpoint() {
    case $(readlink "$1" || true) in
        packaged/* | */packaged/*) rm -f "$1" ;;
    esac
}
