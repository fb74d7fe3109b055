# shellcheck shell=sh
# Example, enabled by nobody: copied to /etc/profile.d/rdnafix.sh, it puts the library into every
# login shell, for every program started from there. Undo: delete the copy, and log in again.
LD_PRELOAD="librdnafix.so${LD_PRELOAD:+:$LD_PRELOAD}"
export LD_PRELOAD
