#!/bin/sh
# The whole journey of tapefs with a virtual library, in a temporary folder:
# a directory served by an sshd of its own on 127.0.0.1 goes onto encrypted tapes
# and comes back out of a mount. Usage: demo.sh TAPEFS [DIR]
set -eu

program=$1
src=${2:-}
PATH=$PATH:/usr/sbin:/sbin
export PATH

work=$(mktemp -d "${TMPDIR:-/tmp}/tapefs-demo.XXXXXX")
mnt=$work/mnt
sshd_pid=

cleanup() {
	code=$?
	trap - EXIT INT TERM
	if grep -q " $mnt fuse" /proc/self/mounts; then
		umount "$mnt" 2>/dev/null || fusermount3 -u "$mnt" || true
	fi
	wait_unmounted
	[ -z "$sshd_pid" ] || kill "$sshd_pid" 2>/dev/null || true
	rm -rf "$work"
	exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The mount's process still gives its tape back after the directory is unmounted.
wait_unmounted() {
	tries=0
	while grep -q " $work/" /proc/self/mounts && [ $tries -lt 150 ]; do
		sleep 0.2
		tries=$((tries + 1))
	done
}

say() { printf '\n# %s\n' "$*"; }

# run shows a command as a user would type it, then does it.
run() {
	shown=
	for word in "$@"; do
		case $word in
		*[!A-Za-z0-9_./:=@,+-]*) word="'$word'" ;;
		esac
		shown="$shown $word"
	done
	printf '$%s\n' "$shown"
	"$@"
}

fail() {
	echo "demo: $*" >&2
	exit 1
}

need() {
	for tool in "$@"; do
		command -v "$tool" >/dev/null || fail "$tool is missing; make demo installs what is needed"
	done
}
need rsync ssh sshd ssh-keygen openssl cmp
[ -e /dev/fuse ] || fail "/dev/fuse is missing: modprobe fuse"

mkdir -p "$mnt" "$work/ssh" "$work/bin"
ln -s "$program" "$work/bin/tapefs"
PATH=$work/bin:$PATH
TAPEFS_CONFIG=$work/config.yaml
export TAPEFS_CONFIG

if [ -z "$src" ]; then
	src=$work/photos
	mkdir -p "$src/2024/summer" "$src/2025" "$src/empty album"
	head -c 6000000 /dev/urandom >"$src/2024/summer/beach.raw"
	head -c 300000 /dev/urandom >"$src/2024/summer/sunset.jpg"
	echo "the first day at the sea" >"$src/2024/summer/diary.txt"
	head -c 70000000 /dev/urandom >"$src/2025/film.mp4"
	echo "names may hold anything" >"$src/2025/odd *name? [1].txt"
	ln -s ../2024/summer/beach.raw "$src/2025/favourite"
	ln "$src/2024/summer/diary.txt" "$src/2025/diary-again.txt"
fi
src=$(cd "$src" && pwd)

# An sshd of our own, that lets only our own key in.
ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/host"
ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/user"
cp "$work/ssh/user.pub" "$work/ssh/authorized_keys"
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd
port=
for try in 1 2 3 4 5 6 7 8 9 10; do
	candidate=$((20000 + ($$ + try * 1237) % 20000))
	cat >"$work/ssh/sshd_config" <<-CONF
		ListenAddress 127.0.0.1
		Port $candidate
		HostKey $work/ssh/host
		AuthorizedKeysFile $work/ssh/authorized_keys
		StrictModes no
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		PermitRootLogin prohibit-password
		UsePAM no
		PidFile none
	CONF
	: >"$work/ssh/log"
	"$(command -v sshd)" -D -e -f "$work/ssh/sshd_config" 2>"$work/ssh/log" &
	sshd_pid=$!
	waited=0
	while kill -0 "$sshd_pid" 2>/dev/null && [ $waited -lt 50 ]; do
		if grep -q 'Server listening' "$work/ssh/log"; then
			port=$candidate
			break 2
		fi
		sleep 0.1
		waited=$((waited + 1))
	done
	kill "$sshd_pid" 2>/dev/null || true
	sshd_pid=
done
[ -n "$port" ] || fail "sshd does not start: $(cat "$work/ssh/log")"
printf '[127.0.0.1]:%s %s\n' "$port" "$(cut -d' ' -f1,2 "$work/ssh/host.pub")" >"$work/ssh/known_hosts"

say "a virtual library, a key, a configuration"
run tapefs init --state "$work/state" --virtual "$work/library" --slots 8 --drives 2 --tape-size 1GiB \
	--source "photos=$(id -un)@127.0.0.1:$src"
# What a user would write under the source: how to reach it.
sed -i "s|^    # ssh: .*|    ssh: [\"-p\", \"$port\", \"-i\", \"$work/ssh/user\", \"-o\", \"UserKnownHostsFile=$work/ssh/known_hosts\"]|" "$TAPEFS_CONFIG"

say "fetch over ssh, seal, write to tape"
run tapefs archive
say "again: nothing is new, no tape moves"
run tapefs archive

say "browse the catalog; no tape is needed"
run tapefs ls -l /photos
run tapefs tape list

say "show it in a directory"
run tapefs mount --daemon "$mnt"
run ls -lA "$mnt/photos"
run df -h "$mnt"

say "copy a file back: its tape is loaded, its bytes are checked and decrypted"
rel=$(cd "$src" && find . -type f -size +0 | LC_ALL=C sort | head -n 1)
rel=${rel#./}
if [ -n "$rel" ]; then
	run tapefs info "/photos/$rel"
	run cp "$mnt/photos/$rel" "$work/copy"
	run cmp "$src/$rel" "$work/copy"
	echo "the same, byte by byte"
fi

say "what is going on"
run tapefs status
run tapefs runs

say "the end"
run umount "$mnt"
wait_unmounted

cat <<'END'

# A real library needs the programs mtx and mt (Debian: mtx, mt-st) and LTFS
# (OpenLTFS, built from source). Then:
#   tapefs init --source photos=user@server:/srv/photos
#   lsscsi -g                       which devices there are
#   edit the library: section of the configuration (its path is printed by init)
#   tapefs key print                and put it into a safe
#   tapefs key check --copy FILE    proves the second copy of the key
#   tapefs library status
#   tapefs tape format BARCODE
#   tapefs archive
END
