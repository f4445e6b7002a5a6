#!/bin/busybox sh
# The first process of a guest: the host's tree under it, nothing of it changed, then one command.
#
# Invariants: / is an overlay whose lower layer is the host's / and is read only; what the guest
# writes is in its memory and goes with it. Only /share is the host's own to write. Whatever fails
# here ends the guest, so the host never waits for nothing.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

give_up() {
  echo "guest: $*" >/dev/console
  poweroff -f
}

for module in $(cat /modules.order); do
  insmod "/modules/$module" || echo "guest: no module $module" >/dev/console
done

nine() { mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$3" "$1" "$2"; }
nine root /low ro,cache=loose || give_up 'the tree of the host is not there'
nine share /share cache=none || give_up '/share is not there'
# Written by guest.ts: where the tree of this clone and the modules of this kernel are.
clone=$(cat /share/clone)
modules=$(cat /share/modules)

mount -t tmpfs -o size=80% tmpfs /up
mkdir -p /up/upper /up/work
mount -t overlay -o lowerdir=/low,upperdir=/up/upper,workdir=/up/work overlay /new ||
  give_up 'no overlay'
# Folders of its own, as after a boot; the clone stays visible also when it is below one of them.
mkdir -p /clone /new/share
mount --bind "/new$clone" /clone
for dir in /tmp /run; do
  mount -t tmpfs -o mode=1777 tmpfs "/new$dir"
done
mkdir -p "/new$clone" /new/run/netns /new/run/lock
mount --move /clone "/new$clone"
mount --move /share /new/share
nine compiled "/new$clone/.cache/kernel/compiled" cache=none || give_up 'no cache for Node'
mkdir -p "/new/lib/modules/$(uname -r)"
mount --bind "/low$modules" "/new/lib/modules/$(uname -r)"
for dir in proc sys dev; do
  mount --move "/$dir" "/new/$dir"
done
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts devpts /new/dev/pts
mount -t tmpfs tmpfs /new/dev/shm
mount -t bpf bpf /new/sys/fs/bpf
mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
ln -sf /proc/self/fd /new/dev/fd

# The port that the output leaves by appears when the host has answered.
for _ in $(seq 100); do
  [ -n "$(ls /new/dev/vport* 2>/dev/null)" ] && break
  sleep 0.1
done

exec switch_root /new /bin/sh /share/run.sh
