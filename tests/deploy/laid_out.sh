#!/bin/sh
# Runs a command as a container of the image does: as process 1, on a read-only root, as nobody, without capabilities.
# What deploy/Dockerfile puts into /opt/logloom is there, /cache and /tmp are empty and may be written; the code and its
# Python stay at the paths that they have outside, which the kernels are found by.
#
#   unshare --mount --pid --fork laid_out.sh KERNELS CONFIG ENTRYPOINT FOLDERS COMMAND...
set -eu
kernels=$1 config=$2 entrypoint=$3 folders=$4
shift 4
mount --make-rprivate /
root=$(mktemp -d)
mount -t tmpfs -o mode=755 tmpfs "$root"

# First: what is to be seen inside may lie below /tmp.
mkdir "$root/tmp"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
bind() {
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    mount -o remount,ro,bind "$root$2"
}
for folder in /usr /bin /lib /lib64 /etc /dev $folders; do
    [ ! -e "$folder" ] || bind "$folder" "$folder"
done
bind "$kernels" /opt/logloom/kernels
bind "$config" /run/config
mkdir -p "$root/opt/logloom/bin" "$root/run/secrets/logloom" "$root/cache" "$root/proc"
cp "$entrypoint" "$root/opt/logloom/bin/"
# What the wheel's own script does.
printf '#!/bin/sh\nexec "$LAID_OUT_PYTHON" -m worker "$@"\n' >"$root/opt/logloom/bin/logloom"
chmod 755 "$root/opt/logloom/bin/logloom"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755,uid=65534,gid=65534 tmpfs "$root/cache"
mount -o remount,ro "$root"
exec chroot "$root" setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all --inh-caps=-all \
    --no-new-privs env --chdir=/cache PATH=/opt/logloom/bin:/usr/bin:/bin "$@"
