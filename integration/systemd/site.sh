# Sourced by the scripts that run in the booted systemd: the gateway's links, a host of the zone behind `lan`, a server
# beyond `wan`. The gateway has no addresses yet.
systemctl start systemd-journald.service
ip link set lo up
ip link add wan type veth peer name wan-peer
ip link add lan type veth peer name lan-peer
for link in wan wan-peer lan lan-peer; do ip link set "$link" up; done
for at in "host lan-peer 2001:db8:1::20/64" "server wan-peer 192.0.2.1/24"; do
    set -- $at
    ip netns add "$1"
    ip link set "$2" netns "$1"
    ip -n "$1" link set lo up
    ip -n "$1" link set "$2" up
    case $1 in host) ip -n "$1" addr add "$3" dev "$2" nodad ;; server) ip -n "$1" addr add "$3" dev "$2" ;; esac
done
ip -n host route add default via 2001:db8:1::1
mkdir -p /run/lab/up
ip netns exec server /run/lab/gate64 lab web /run/lab/up 192.0.2.1:80 &
