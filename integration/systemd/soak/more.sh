# Sourced by boot.sh at its end. A sysfs of these namespaces, read-only: networkd does not wait for udev then.
mkdir /run/lab/cgroup
mount --rbind /sys/fs/cgroup /run/lab/cgroup
mount -t sysfs -o ro sysfs /sys
mount --rbind /run/lab/cgroup /sys/fs/cgroup
# Small file systems for the state and the saved sessions.
mkdir -p /var/lib/gate64
mount -t tmpfs -o size=24m,mode=755 tmpfs /var/lib/gate64
head -c 8 /dev/zero >/run/lab/clock
mkdir -p /run/systemd/network /run/dbus "$units/gate64.service.d" "$units/systemd-networkd.service.d"
printf '[Match]\nName=wan\n[Network]\nAddress=192.0.2.2/24\nGateway=192.0.2.1\nLinkLocalAddressing=no\n' \
    >/run/systemd/network/20-wan.network
printf '[Match]\nName=lan\n[Network]\nAddress=2001:db8:1::1/64\nIPv6DuplicateAddressDetection=0\nIPv6AcceptRA=no\n' \
    >/run/systemd/network/20-lan.network
printf '[Unit]\nDefaultDependencies=no\n' >"$units/systemd-networkd.service.d/lab.conf"
printf '[Service]\nEnvironment=LD_PRELOAD=/run/lab/clock.so\n' >"$units/gate64.service.d/clock.conf"
cat >"$units/dbus.service" <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/usr/bin/dbus-daemon --system --nofork --nopidfile --address=unix:path=/run/dbus/system_bus_socket
UNIT
cc -shared -fPIC -O1 -o /run/lab/clock.so "$out/clock.c"
chmod 755 /run/lab/clock.so
