#!/bin/bash
# Runs as a unit of the booted systemd: builds the site, then runs the test `inside`.
export PATH=$PATH:/usr/sbin:/sbin
trap 'kill $(jobs -p); systemctl exit' EXIT
. /mnt/site.sh
# Hosts that open a session once in a while.
for number in $(seq 160); do ip -n host addr add "$(printf 2001:db8:1::1:%x "$number")/64" dev lan-peer nodad; done
systemctl start dbus.service systemd-networkd.service
ip netns exec server /run/lab/gate64 lab upstream 192.0.2.1:53 &
echo $! >/run/lab/upstream.pid
/mnt/soak systemd::soak::inside --exact --ignored --nocapture
