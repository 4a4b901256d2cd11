# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Shell functions for the scripts that make btrfs images with the running kernel. Sourced, never
# run. After `image_begin` the directory $image_tmp is there for scratch files; whatever way the
# script ends, everything mounted or attached through these functions is undone and $image_tmp
# removed.

image_tmp=
image_mounts=()
image_loops=()

# A failure while working.
image_fail() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Wrong arguments, or a machine that cannot do it.
image_refuse() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 2
}

# image_number NAME VALUE MIN MAX: refuses what is not a whole number within the bounds.
image_number() {
	[[ $2 =~ ^[0-9]{1,15}$ ]] || image_refuse "$1 must be a whole number, not '$2'"
	((10#$2 >= $3 && 10#$2 <= $4)) || image_refuse "$1 must be from $3 to $4, not $2"
}

# image_begin PROGRAM...: checks what is needed, makes $image_tmp (under $TMPDIR), sets the traps.
image_begin() {
	local program
	((EUID == 0)) || image_refuse "must be run as root: it attaches loop devices and mounts"
	for program in btrfs mkfs.btrfs losetup mount umount "$@"; do
		command -v "$program" >/dev/null || image_refuse "needs the program $program"
	done
	if ! grep -qw btrfs /proc/filesystems; then
		modprobe btrfs 2>/dev/null || true
		grep -qw btrfs /proc/filesystems || image_refuse "this kernel has no btrfs"
	fi
	trap image_end EXIT
	trap 'exit 130' INT TERM HUP
	image_tmp=$(mktemp -d "${TMPDIR:-/tmp}/refstorm-image.XXXXXXXX")
}

image_end() {
	local status=$? i
	trap - EXIT
	trap '' INT TERM HUP
	set +e
	for ((i = ${#image_mounts[@]} - 1; i >= 0; i--)); do
		fsfreeze -u "${image_mounts[i]}" 2>/dev/null
		umount "${image_mounts[i]}" 2>/dev/null || umount -l "${image_mounts[i]}"
	done
	for ((i = ${#image_loops[@]} - 1; i >= 0; i--)); do
		btrfs device scan --forget "${image_loops[i]}" >/dev/null 2>&1
		losetup -d "${image_loops[i]}"
	done
	[[ -z $image_tmp ]] || rm -rf --one-file-system -- "$image_tmp"
	exit "$status"
}

# image_cc SOURCE: compiles a small C program into $image_tmp; prints nothing.
image_cc() {
	local name=${1##*/}
	"${CC:-cc}" -O2 -Wall -o "$image_tmp/${name%.c}" "$1" || image_fail "cannot compile $1"
}

# image_mkfs ARGUMENT...: quiet unless it fails.
image_mkfs() {
	mkfs.btrfs -q -f "$@" >"$image_tmp/mkfs.log" 2>&1 || image_fail "mkfs: $(cat "$image_tmp/mkfs.log")"
}

# image_attach [-r] FILE: sets $image_loop to a loop device that shows FILE.
image_attach() {
	local try number
	for try in 1 2 3 4 5 6 7 8; do
		# Somebody else may take the free device between the two steps inside losetup.
		image_loop=$(losetup -f --show "$@" 2>"$image_tmp/losetup.log") && break
		image_loop=
		# Where /dev is no devtmpfs a new device has no node yet.
		number=$(sed -n 's/.*\/dev\/loop\([0-9]*\).*/\1/p' "$image_tmp/losetup.log" | head -n 1)
		if [[ -n $number && ! -e /dev/loop$number ]]; then
			mknod "/dev/loop$number" b 7 "$number" || true
		fi
		sleep "0.$try"
	done
	[[ -n $image_loop ]] || image_fail "no loop device: $(cat "$image_tmp/losetup.log")"
	image_loops+=("$image_loop")
}

# image_detach LOOP...
image_detach() {
	local loop kept=() known gone
	for loop; do
		btrfs device scan --forget "$loop" >/dev/null 2>&1 || true
		losetup -d "$loop"
	done
	for known in "${image_loops[@]}"; do
		gone=
		for loop; do
			[[ $known != "$loop" ]] || gone=1
		done
		[[ -n $gone ]] || kept+=("$known")
	done
	image_loops=("${kept[@]}")
}

# image_mount OPTIONS DIR LOOP...: several devices are one file system.
image_mount() {
	local options=$1 dir=$2 loop
	shift 2
	mkdir -p "$dir"
	for loop in "${@:2}"; do
		options+=",device=$loop"
	done
	mount -t btrfs -o "$options" "$1" "$dir"
	image_mounts+=("$dir")
}

image_umount() {
	local dir=$1 kept=() known
	umount "$dir"
	for known in "${image_mounts[@]}"; do
		[[ $known == "$dir" ]] || kept+=("$known")
	done
	image_mounts=("${kept[@]}")
}

# image_sysfs LOOP: prints the directory of the mounted file system in sysfs.
image_sysfs() {
	local entry
	for entry in /sys/fs/btrfs/*/devices/"${1##*/}"; do
		if [[ -e $entry ]]; then
			printf '%s\n' "${entry%/devices/*}"
			return
		fi
	done
	image_fail "$1 is not mounted as btrfs"
}

# image_groups LOOP: prints `LEVEL/ID RFER EXCL` of every group as the kernel has it, in order.
# Sysfs shows what a read-only mount has read, and simple quotas, which old progs cannot show.
image_groups() {
	local base group
	base=$(image_sysfs "$1")
	for group in "$base"/qgroups/[0-9]*_[0-9]*; do
		[[ -d $group ]] || continue
		printf '%s %s %s\n' "${group##*/}" "$(<"$group/referenced")" "$(<"$group/exclusive")"
	done | tr _ / | sort -t/ -k1,1n -k2,2n
}

# image_mode LOOP: prints full, simple or off.
image_mode() {
	local base
	base=$(image_sysfs "$1")
	if [[ ! -d $base/qgroups ]] || [[ $(<"$base/qgroups/enabled") != 1 ]]; then
		echo off
	elif [[ -e $base/qgroups/mode && $(<"$base/qgroups/mode") == squota ]]; then
		echo simple
	else
		echo full
	fi
}

# image_rescan DIR [TIMES]: recounts (twice unless said: a first one may find groups inconsistent).
image_rescan() {
	local times=${2:-2}
	btrfs quota rescan -w "$1" >/dev/null 2>&1 || true	# enabling may have started one
	for ((; times > 0; times--)); do
		btrfs quota rescan -w "$1" >/dev/null || image_fail "rescan of $1 failed"
	done
}

# image_settle DIR: everything written, every deleted subvolume gone.
image_settle() {
	sync -f "$1"
	btrfs subvolume sync "$1" >/dev/null
	btrfs filesystem sync "$1" >/dev/null
}
