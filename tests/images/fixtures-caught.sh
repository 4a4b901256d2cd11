# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Fixtures of states that last a moment only, or whose stored numbers are not meant to hold. As
# fixtures.sh, which has the list of names.
# shellcheck disable=SC2154 # variables are shared with make-fixtures

# frozen_copy: $frozen becomes a copy of the (one) image as it is now, still mounted.
frozen_copy() {
	mkdir -p "$image_tmp/frozen"
	frozen=$image_tmp/frozen/${images[0]##*/}
	cp --sparse=always -- "${images[0]}" "$frozen"
}

# A group whose subvolume has gone. The kernel drops the subvolume, commits, and removes the group
# in the next transaction: as long as that one is not committed the file has the group.
fixture_stale_group() {
	local id
	mount_options=${mount_options/commit=1/commit=300}
	start 1 256
	quota_on
	common_content
	subvol stale
	id=$(id_of stale)
	ops stale <<<'many e 100 0
		write f 0 64k'
	settle
	ops '' <<<'delete stale'
	sleep 1
	frozen_copy
	detach
	mount_options=${mount_options/commit=300/commit=1}
	images=("$frozen")
	stored "$image_tmp/stored" "$frozen"
	[[ -z $(root_items "$frozen" "$id") ]] || image_fail "$name: the subvolume is still there"
	grep -q "^0/$id 0 0\$" "$image_tmp/stored" || image_fail "$name: the group has gone"
	publish equal "$image_tmp/stored" "the group 0/$id is there, its subvolume has gone"
	rm -rf -- "$image_tmp/frozen"
}

# root_items IMAGE ID: what the root tree says of one subvolume.
root_items() {
	btrfs inspect-internal dump-tree -t root "$1" 2>/dev/null |
		awk -v id="$2" '/^\titem/ { on = $4 == "(" id && $5 == "ROOT_ITEM" } on'
}

# half_dropped ID TEXT: subvolume ID was deleted just now; unmounts at once, and publishes if the
# drop was caught half-way.
half_dropped() {
	local id=$1 text=$2 progress
	detach
	progress=$(root_items "${images[0]}" "$id" | grep -o 'drop_progress key ([^)]*)' || true)
	[[ -n $progress && $progress != 'drop_progress key (0 '* ]] || return 1
	stored "$image_tmp/stored" "${images[0]}"
	[[ $stored_marks == 0 ]] || return 1
	publish equal "$image_tmp/stored" "$text; $progress"
}

fixture_half_dropped() {
	local wait_us id
	for wait_us in 8000 4000 2000 0 16000 32000 0 8000; do
		start 1 256 -n 4096
		quota_on
		subvol a b
		ops '' <<'E'
			write a/f 0 64k
			write b/f 0 64k
			many a/e 10000 0
			scatter a/g 4k 6000
			clone a/f 0 0 b/shared 0
E
		settle
		id=$(id_of a)
		ops '' <<<"delete a
			sleep $wait_us"
		if half_dropped "$id" "subvolume $id is half dropped: what its tree still reaches counts"; then
			return
		fi
	done
	image_fail "$name: never caught half-way"
}

fixture_half_dropped_shared() {
	local wait_us id
	for wait_us in 8000 4000 2000 0 16000 32000 0 8000; do
		start 1 256 -n 4096
		quota_on
		subvol a
		ops '' <<<'many a/e 3000 0
			scatter a/f 4k 4000'
		snap a s
		# some of the blocks of the snapshot become its own
		ops s <<<'many e 1000 0
			many x 4000 0
			scatter f 16k 300
			scatter g 4k 2000'
		snap -r s s2
		ops s <<<'scatter f 32k 60
			many x 1500 0
			many y 2000 0
			scatter g 8k 300
			scatter h 4k 2000'
		settle
		# By default a shared subtree of four levels is not counted but marks all inconsistent.
		echo 8 >"$(image_sysfs "${loops[0]}")/qgroups/drop_subtree_threshold"
		id=$(id_of s)
		ops '' <<<"delete s
			sleep $wait_us"
		if half_dropped "$id" "snapshot $id is half dropped; it shares blocks with its source and its snapshot"; then
			return
		fi
	done
	image_fail "$name: never caught half-way"
}

fixture_rescan_running() {
	local try progress
	start 1 256 -n 4096
	quota_on
	subvol a
	ops a <<<'scatter f 4k 6000'
	snap a s
	ops a <<<'scatter f 40k 100'
	settle
	for ((try = 0; try < 40; try++)); do
		btrfs quota rescan "$mnt" >/dev/null
		sleep "0.0$((try % 8))"
		fsfreeze -f "$mnt"
		frozen_copy
		fsfreeze -u "$mnt"
		btrfs quota rescan -w "$mnt" >/dev/null 2>&1 || true
		progress=$(btrfs inspect-internal dump-tree -t quota "$frozen" |
			sed -n 's/.*flags .*SCANNING.* scan \([0-9]*\).*/\1/p')
		[[ -z $progress || $progress == 0 ]] || break
		progress=
	done
	[[ -n $progress ]] || image_fail "$name: never caught under way"
	detach
	images=("$frozen")
	stored "$image_tmp/stored" "${images[0]}"
	true_numbers "$image_tmp/true"
	! cmp -s "$image_tmp/true" "$image_tmp/stored" || image_fail "$name: stored numbers are true"
	stored "$image_tmp/stored" "${images[0]}"
	publish may-differ "$image_tmp/true" "a rescan is under way, next at $progress; the numbers here are the true ones"
	rm -rf -- "$image_tmp/frozen"
}

fixture_inconsistent() {
	start 1 256
	quota_on
	common_content
	group create 1/1
	settle
	# a and its snapshots share, so the kernel cannot know the group's numbers without a rescan
	assign "0/$(id_of a)" 1/1
	image_settle "$mnt"
	detach
	stored "$image_tmp/stored" "${images[0]}"
	[[ $stored_marks == 1 ]] || image_fail "$name: not marked inconsistent"
	true_numbers "$image_tmp/true"
	! cmp -s "$image_tmp/true" "$image_tmp/stored" || image_fail "$name: stored numbers are true"
	stored "$image_tmp/stored" "${images[0]}"
	publish may-differ "$image_tmp/true" "marked inconsistent: 1/1 was not counted; the numbers here are the true ones"
}

fixture_quota_off() {
	start 1 256
	common_content
	snap a1 a3
	delete a2
	settle
	detach
	true_numbers "$image_tmp/true"
	stored "$image_tmp/stored" "${images[0]}"
	[[ ! -s $image_tmp/stored ]] || image_fail "$name: numbers are stored"
	publish no-stored "$image_tmp/true" "quotas were never on; the numbers are of a copy where they were turned on"
}

# The file is copied right after fsync, while mounted: the log tree waits to be replayed.
fixture_tree_log() {
	mount_options=${mount_options/commit=1/commit=300}
	start 1 256
	quota_on
	common_content
	settle	# nothing was deleted, so there is no wait
	image_groups "${loops[0]}" >"$image_tmp/live"
	ops a <<'E'
		write f 0 16k
		write logged 0 64k
		fsync f
		fsync logged
E
	frozen_copy
	detach
	mount_options=${mount_options/commit=300/commit=1}
	! btrfs inspect-internal dump-super "$frozen" | grep -Eq '^log_root\s+0$' ||
		image_fail "$name: there is no log tree"
	images=("$frozen")
	stored "$image_tmp/stored" "$frozen"
	cmp -s "$image_tmp/live" "$image_tmp/stored" ||
		image_fail "$name: the stored numbers are not those of the last commit"
	publish equal "$image_tmp/stored" "a log tree waits to be replayed; the numbers are of the last commit, without it"
	rm -rf -- "$image_tmp/frozen"
}
