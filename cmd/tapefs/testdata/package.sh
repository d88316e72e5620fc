# Installs a package in a fresh Debian, uses it as its own user and as root, and purges it: DEB DIR. As root.
set -eux
deb=$1 root=$2/root
debootstrap --variant=minbase --include=ca-certificates,mount bookworm "$root" >/dev/null
cleanup() {
	for at in archive then proc; do umount -l "$root/$at" 2>/dev/null || true; done
	rm -rf "$root"
}
trap cleanup EXIT
mount -t proc proc "$root/proc"
[ -e "$root/dev/fuse" ] || mknod -m 666 "$root/dev/fuse" c 10 229
cp "$deb" "$root/tapefs.deb"
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
as_user() { in_root runuser -u tapefs -- env HOME=/var/lib/tapefs "$@"; }

in_root apt-get install -y -qq --no-install-recommends /tapefs.deb >/dev/null
in_root id tapefs
in_root sh -c 'id -nG tapefs | grep -w tape'
[ "$(in_root stat -c '%a %U %G' /var/lib/tapefs)" = "700 tapefs tapefs" ]
[ "$(in_root stat -c '%a %U %G' /etc/tapefs)" = "750 root tapefs" ]
code=0
in_root tapefs doctor || code=$?
[ "$code" = 2 ] # there is no configuration yet

# As the user of the services, as docs/systemd.md says.
as_user tapefs --config /var/lib/tapefs/config.yaml --state /var/lib/tapefs init --virtual /var/lib/tapefs/library --tape-size 64MiB --source bin=/usr/share/doc
in_root install -m 640 -g tapefs /var/lib/tapefs/config.yaml /etc/tapefs/config.yaml
as_user rm /var/lib/tapefs/config.yaml
as_user tapefs config check
as_user tapefs doctor || true
as_user tapefs archive
as_user tapefs verify --sample 5%
in_root install -d -o tapefs -g tapefs /archive
in_root sh -c 'echo user_allow_other >>/etc/fuse.conf'
as_user tapefs mount --daemon /archive
in_root cmp /usr/share/doc/tapefs/copyright /archive/bin/tapefs/copyright
in_root umount /archive
as_user tapefs status

# As root, by fstab.
in_root mkdir /then
in_root tapefs --config /root/config.yaml --state /root/state init --virtual /root/library --tape-size 64MiB --source doc=/usr/share/doc/fuse3
in_root tapefs --config /root/config.yaml archive
in_root sh -c 'echo "/root/config.yaml /then fuse.tapefs ro,nofail,_netdev 0 0" >>/etc/fstab'
in_root mount /then
in_root cmp /usr/share/doc/fuse3/copyright /then/doc/copyright
in_root mount -a
[ "$(in_root grep -c ' /then ' /proc/self/mountinfo)" = 1 ]
in_root umount /then
in_root mount -t fuse.tapefs -o at=2020-01-01 /root/config.yaml /then
[ "$(in_root ls /then)" = "" ]
in_root umount /then
while in_root sh -c 'ls -l /proc/[0-9]*/exe 2>/dev/null | grep -q /usr/bin/tapefs'; do sleep 0.2; done

# Purged, nothing of the package is left, and keys and catalog are all there.
in_root sh -c 'dpkg -L tapefs | while read -r f; do [ -d "$f" ] || echo "$f"; done' >"$2/files"
in_root apt-get purge -y -qq tapefs 2>"$2/purge"
cat "$2/purge"
grep 'tapefs: /var/lib/tapefs stays, with' "$2/purge"
while read -r f; do [ ! -e "$root$f" ]; done <"$2/files"
in_root sh -c 'ls /var/lib/tapefs/keys/*.key /var/lib/tapefs/catalog.db /etc/tapefs/config.yaml'
