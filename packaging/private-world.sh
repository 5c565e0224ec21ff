# Sourced by demo and check: runs a command in mount, IPC and PID namespaces of its own.
#
# Whatever the command mounts or leaves running ends with it, even if this shell is killed with SIGKILL:
# the first process of a PID namespace takes all others with it, and its mounts vanish with the last of them.

# Prints the prefix for a command that is to run so; fails where this user may not have such namespaces.
# An ordinary user is root in there, of a user namespace.
private_world_prefix() {
  local unshare='setpriv --pdeathsig KILL unshare --mount --ipc --pid --fork --kill-child=KILL --mount-proc'
  [ "$(id -u)" = 0 ] || unshare="$unshare --user --map-root-user"
  $unshare true 2>/dev/null || return 1
  echo "$unshare"
}

# Ends a command that was started in the background as process $1 with that prefix, and everything in its world.
end_private_world() {
  local first tries=0
  first=$(cat "/proc/$1/task/$1/children" 2>/dev/null)
  { kill -KILL "$1"; wait "$1"; } 2>/dev/null
  # The kernel ends the others before the first one is gone: so that one is what to wait for.
  while [ -n "$first" ] && [ "$tries" -lt 100 ] && grep -qs '^State:.[^ZX]' "/proc/${first% }/status"; do
    sleep 0.1
    tries=$((tries + 1))
  done
}
