# Whether the symlink $1 leads to a version of its program that is newer than $2, put beside the
# packaged one by an update: `<version>/<program>`.
leads_to_newer() {
    target=$(readlink "$1") || return 1
    case $target in
        /*) file=$root$target ;;
        *) file=${1%/*}/$target ;;
    esac
    [ -x "$file" ] || return 1
    version=${target%/*}
    version=${version##*/}
    case $version in
        [0-9]*) ;;
        *) return 1 ;;
    esac
    # A tilde sorts before the end, as a pre-release comes before its release.
    ours=$(echo "$2" | tr - '~')
    newest=$(printf '%s\n' "$ours" "$version" | tr - '~' | LC_ALL=C sort -V | tail -n 1)
    [ "$newest" != "$ours" ]
}

# Lets the symlink $1 lead to $2, a file below its folder, unless an update has brought a version
# newer than $3. The agent may be started at any moment, so there is always a symlink.
point() {
    if ! leads_to_newer "$1" "$3"; then
        ln -sfn "$2" "$1.new"
        mv -fT "$1.new" "$1"
    fi
}
