#!/bin/bash
# Runs as a unit of the booted systemd: takes the gateway's unit through its life and says what it saw.
export PATH=$PATH:/usr/sbin:/sbin
trap 'systemctl exit' EXIT
say() { echo "LAB $*"; }
links() { ip -o link | wc -l; }
forwarding() { sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding | tr '\n' ' '; }
name() { dig +time=2 +tries=2 +short @2001:db8:1::53 -b 2001:db8:1::10 ipv4only.arpa AAAA | sort | head -1; }
show() { systemctl show -p "$1" --value gate64.service; }

systemctl start systemd-journald.service
ip link set lo up
ip link add wan type veth peer name wan-peer
ip link add lan type veth peer name lan-peer
for link in wan wan-peer lan lan-peer; do ip link set "$link" up; done
ip addr add 192.0.2.2/24 dev wan
ip route add default via 192.0.2.1
for addr in 2001:db8:1::1 2001:db8:1::53 2001:db8:1::10; do ip addr add $addr/64 dev lan nodad; done
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
systemctl stop gate64.service
say "stop: $(show ActiveState) $(show Result)"
say "links: $([ "$(links)" = "$links_before" ] && echo as before || ip -o link)"
sysctl_after=$(forwarding)
say "sysctls: $([ "$sysctl_before" = "$sysctl_after" ] && echo as before || echo "changed: $sysctl_before to $sysctl_after")"

# A crash: the unit's ExecStopPost has to clean up.
systemctl start gate64.service
pid=$(show MainPID)
[ "$pid" != 0 ] && kill -KILL "$pid"
systemctl stop gate64.service
say "links after a crash: $([ "$(links)" = "$links_before" ] && echo as before || ip -o link)"
sysctl_after=$(forwarding)
say "sysctls after a crash: $([ "$sysctl_before" = "$sysctl_after" ] && echo as before || echo "changed: $sysctl_before to $sysctl_after")"
say end
