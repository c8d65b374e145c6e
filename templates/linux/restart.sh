# Has the command after $1 run half a minute later, if this runs below the service $1: its restart
# ends all that runs there, and a package manager would leave off halfway. Fails where it does not.
once_installed() {
    grep -Eqs "/$1(/|\$)" /proc/self/cgroup || return 1
    shift
    systemd-run --quiet --on-active=30 --timer-property=AccuracySec=1s "$@"
}
