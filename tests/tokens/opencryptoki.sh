#!/bin/sh
# Runs a command beside a pkcsslotd of its own, with an empty soft token of opencryptoki's, in namespaces that nobody else sees:
#
#   unshare --mount --ipc --pid --fork --kill-child --mount-proc [--user --map-root-user] sh opencryptoki.sh ROOT PIN LABEL COMMAND…
#
# ROOT holds Debian's packages, unpacked. opencryptoki has its paths and the name of its group compiled in, and a store for the whole
# machine; here they are empty places of this namespace, which vanish with it.
set -eu
root=$1 pin=$2 label=$3
shift 3
libraries=$(dirname "$(ls "$root"/usr/lib/*/opencryptoki/libopencryptoki.so.0)")

etc=$(mktemp -d)
cp -L /etc/passwd /etc/nsswitch.conf /etc/ld.so.cache "$etc/"
{ grep -v '^pkcs11:' /etc/group; echo 'pkcs11:x:0:root'; } >"$etc/group"
mkdir "$etc/opencryptoki"
printf 'version opencryptoki-3.1\nslot 0\n{\nstdll = libpkcs11_sw.so\n}\n' >"$etc/opencryptoki/opencryptoki.conf"

for place in /etc /run /usr/sbin /var/lib /var/log /dev/shm; do mount -t tmpfs tmpfs "$place"; done
cp -R "$etc"/. /etc/ && rm -r "$etc"
cp "$root/usr/sbin/pkcsslotd" /usr/sbin/
mkdir -p /run/lock/opencryptoki/swtok /var/lib/opencryptoki/swtok/TOK_OBJ /var/log/opencryptoki

export LD_LIBRARY_PATH="$libraries:$libraries/stdll"
export OPENCRYPTOKI_MODULE="$libraries/libopencryptoki.so.0"
/usr/sbin/pkcsslotd

# A new token has the PINs of the manual, and does nothing before both were changed.
tool() { pkcs11-tool --module "$OPENCRYPTOKI_MODULE" "$@" >&2; }
tool --init-token --label "$label" --so-pin 87654321
tool --login --login-type so --so-pin 87654321 --change-pin --new-pin 76543210
tool --login --login-type so --so-pin 76543210 --init-pin --new-pin 11111111
tool --login --pin 11111111 --change-pin --new-pin "$pin"
"$@"
