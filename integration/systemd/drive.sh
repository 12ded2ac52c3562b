#!/bin/bash
# Runs as a unit of the booted systemd: takes the gateway's unit through its life and says what it saw.
export PATH=$PATH:/usr/sbin:/sbin
trap 'kill $(jobs -p); systemctl exit' EXIT
say() { echo "LAB $*"; }
links() { ip -o link | wc -l; }
forwarding() { sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding | tr '\n' ' '; }
name() { dig +time=2 +tries=2 +short @2001:db8:1::53 -b 2001:db8:1::10 ipv4only.arpa AAAA | sort | head -1; }
show() { systemctl show -p "$1" --value gate64.service; }

. /mnt/site.sh
ip addr add 192.0.2.2/24 dev wan
ip route add default via 192.0.2.1
for addr in 2001:db8:1::1 2001:db8:1::53 2001:db8:1::10; do ip addr add $addr/64 dev lan nodad; done
server=2001:db8:64::c000:201
links_before=$(links)
sysctl_before=$(forwarding)

systemctl start gate64.service
say "start: $(show ActiveState) $(show SubState)"
pid=$(show MainPID)
say "type: $(show Type)"
if [ "$pid" != 0 ]; then
    say "uid: $(awk '/^Uid:/ { print ($2 == 0 || $3 == 0) ? "root" : "own" }' /proc/$pid/status)"
    say "device: $([ "$(links)" -gt "$links_before" ] && echo there || echo missing)"
    say "name: $(name)"
    say "$(/run/lab/gate64 status | grep -o 'steering.*')"
fi
systemctl reload gate64.service
say "reload: $? $(show ActiveState) $(show Result)"
config=/run/lab/gate64.toml
cp $config /run/lab/good.toml
sed -e 's/2001:db8:64::/2001:db8:65::/' -e 's|^clients.*|clients = ["everyone"]|' /run/lab/good.toml >$config
systemctl reload gate64.service
say "invalid file: $? $(show ActiveState) $(show Result) $(name)"
/run/lab/gate64 reload --config $config
say "exit code: $?"
sed -e 's/2001:db8:64::/2001:db8:66::/' /run/lab/good.toml >$config
systemctl reload gate64.service
say "new prefix: $? $(name)"
cp /run/lab/good.toml $config
systemctl reload gate64.service
say "old prefix: $? $(name)"
say "errors in the journal: $(journalctl -u gate64.service -p err -o cat --no-pager | grep -c 'reload refused')"
say "same process: $([ "$pid" = "$(show MainPID)" ] && echo yes || echo no)"
# Sessions over a restart, a kill, and the end of the device.
bytes=33554432
mapped() { ip netns exec host /run/lab/gate64 lab probe --bind "[::]:40000" "[$server]:3478" | grep -o '192\.0\.2\.[0-9]*:[0-9]*' | head -1; }
wait_for() { for _ in $(seq 600); do "$@" && return; sleep 0.05; done; say "waited in vain: $*"; }
has_started() { [ -s /run/lab/slow ]; }
is_new() { [ "$(show ActiveState)" = active ] && [ "$(show MainPID)" != "$pid" ] && [ "$(show MainPID)" != 0 ]; }
is_mapped() { [ -n "$(mapped)" ]; }
is_cleaned_up() { [ "$(systemctl show -p ActiveState --value gate64-host.service)" = inactive ]; }
index() { ip -o link show gate64 | cut -d: -f1; }
want=$(ip netns exec server curl -sS http://192.0.2.1/bytes/$bytes | sha256sum)
address=$(mapped) device=$(index)
say "mapped: ${address%:*}"
ip netns exec host timeout 120 curl -sS --limit-rate 3M -o /run/lab/slow "http://[$server]/bytes/$bytes" &
transfer=$!
wait_for has_started
systemctl restart gate64.service
say "restart: $? $([ "$(index)" = "$device" ] && echo same device) $([ "$(mapped)" = "$address" ] && echo same address and port)"
pid=$(show MainPID)
kill -KILL "$pid"
wait_for is_new
say "kill: $([ "$(index)" = "$device" ] && echo same device) $([ "$(mapped)" = "$address" ] && echo same address and port)"
say "in progress: $(kill -0 $transfer && echo yes || echo no)"
wait $transfer
say "transfer: $? $([ "$(sha256sum </run/lab/slow)" = "$want" ] && echo equal)"
for workers in 1 3 2; do
    sed -e "s/^workers.*/workers = $workers/" /run/lab/good.toml >$config
    systemctl restart gate64.service
    say "workers $workers: $? $([ "$(index)" = "$device" ] && echo same device) $([ -n "$(mapped)" ] && echo answered)"
done
# Packets wait in the queues of the device.
ip netns exec host ping -n -q -i 0.02 -c 200 -W 10 $server >/run/lab/ping &
ping=$!
systemctl restart gate64.service
wait $ping
say "pings: $(grep -o '[0-9]* packets transmitted, [0-9]* received' /run/lab/ping)"
grep rtt /run/lab/ping
pid=$(show MainPID)
ip link del gate64
wait_for is_new
wait_for is_mapped
say "deleted device: $(show ActiveState) $([ "$(index)" != "$device" ] && echo new device)"
sed -e 's/2001:db8:64::/2001:db8:66::/' /run/lab/good.toml >$config
systemctl restart gate64.service
say "other prefix: $(ip -6 route show dev gate64 proto 64 | grep -o '^2001[^ ]*' | tr '\n' ' ')"
cp /run/lab/good.toml $config
systemctl restart gate64.service

systemctl stop gate64.service
wait_for is_cleaned_up
say "stop: $(show ActiveState) $(show Result)"
say "links: $([ "$(links)" = "$links_before" ] && echo as before || ip -o link)"
sysctl_after=$(forwarding)
say "sysctls: $([ "$sysctl_before" = "$sysctl_after" ] && echo as before || echo "changed: $sysctl_before to $sysctl_after")"

# A crash: the unit's ExecStopPost has to clean up.
systemctl start gate64.service
pid=$(show MainPID)
[ "$pid" != 0 ] && kill -KILL "$pid"
systemctl stop gate64.service
wait_for is_cleaned_up
say "links after a crash: $([ "$(links)" = "$links_before" ] && echo as before || ip -o link)"
sysctl_after=$(forwarding)
say "sysctls after a crash: $([ "$sysctl_before" = "$sysctl_after" ] && echo as before || echo "changed: $sysctl_before to $sysctl_after")"
say end
