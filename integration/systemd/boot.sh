#!/bin/bash
# PID 1 of private namespaces: hides what systemd must not touch, lays out the units, becomes systemd.
# Arguments: the gate64 program, the unit file, a directory for the transcript.
set -eu
program=$1 unit=$2 out=$3
exec >"$out/boot.log" 2>&1
mount --make-rprivate /
mount -t proc proc /proc
mkdir -p "$out/keep"
cp "$program" "$out/keep/gate64"
cp "$unit" "${unit%/*}/gate64-host.service" "$out/keep/"
# The directory may lie in what is hidden next.
mount --bind "$out" /mnt
out=/mnt
# First of all: systemd's own clean-up would empty these of the machine's files.
for dir in /tmp /run /var/log /var/tmp /var/lib/private /etc/systemd/system; do
    [ -d "$dir" ] && mount -t tmpfs -o mode=755 tmpfs "$dir"
done
chmod 1777 /tmp /var/tmp
mkdir -p /run/lab
cp "$out/keep/gate64" /run/lab/gate64
chmod 755 /run/lab /run/lab/gate64
# The unit's own account, should it name one, and a device node that it may open.
user=$(sed -n 's/^User=//p' "$out/keep/gate64.service")
cp /etc/passwd /etc/group /run/lab/
if [ -n "$user" ] && ! grep -q "^$user:" /etc/passwd; then
    echo "$user:x:64646:64646::/nonexistent:/usr/sbin/nologin" >>/run/lab/passwd
    echo "$user:x:64646:" >>/run/lab/group
fi
mount --bind /run/lab/passwd /etc/passwd
mount --bind /run/lab/group /etc/group
mknod /run/lab/tun c 10 200
chmod 666 /run/lab/tun
mount --bind /run/lab/tun /dev/net/tun
cat >/run/lab/gate64.toml <<'CONFIG'
[translator]
pref64 = "2001:db8:64::/96"
pool4 = ["192.0.2.64/28"]

[dns64]
listen = ["[2001:db8:1::53]:53"]
upstreams = ["198.51.100.53"]

[host]
workers = 2

[[zone]]
name = "lab"
clients = ["2001:db8:1::/64"]
CONFIG
chmod 644 /run/lab/gate64.toml
units=/etc/systemd/system
for name in gate64.service gate64-host.service; do
sed -e 's|/usr/bin/gate64|/run/lab/gate64|g' -e 's|/etc/gate64/gate64.toml|/run/lab/gate64.toml|g' \
    -e 's|^\[Unit\]|[Unit]\nDefaultDependencies=no|' "$out/keep/$name" >"$units/$name"
done
cat >$units/lab.target <<'UNIT'
[Unit]
DefaultDependencies=no
Wants=drive.service
UNIT
cat >$units/drive.service <<UNIT
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/bash $out/drive.sh
TimeoutStartSec=infinity
StandardOutput=file:$out/transcript
StandardError=inherit
UNIT
# What one test needs beside this.
[ ! -f "$out/more.sh" ] || . "$out/more.sh"
export container=other
exec /lib/systemd/systemd --system --unit=lab.target --log-target=console
