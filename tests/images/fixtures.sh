# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What each fixture holds: a function fixture_NAME, with _ where the name has -. Sourced by
# make-fixtures, which has the words used here. Those caught in the middle of something are in
# fixtures-caught.sh. README.md says why each is there.
# shellcheck disable=SC2034,SC2154 # variables are shared with make-fixtures

fixture_names=(
	reflink bookend snapshots nested-groups multi-family
	nodes-4k nodes-64k deep mixed dup balanced
	compressed inline-prealloc-holes holes-explicit
	raid0-two raid1-two raid1c3-three raid10-four raid5-three raid6-four
	xxhash sha256 blake2b
	block-group-tree old-format metadata-uuid
	simple-quota stale-group
	many-references
	half-dropped half-dropped-shared rescan-running inconsistent quota-off tree-log
)

# A little of everything, for fixtures that are about the format and not about the sharing.
common_content() {
	subvol a b
	ops a <<'E'
		write f 0 256k
		write g 0 64k
		scatter h 8k 40
		many e 30 0
E
	snap a a1
	ops a <<'E'
		write f 64k 16k
		truncate g 20k
E
	snap -r a a2
	ops a1 <<<'write f 128k 4k'
	ops '' <<'E'
		clone a/f 0 128k b/f 0
		clone a1/h 0 32k b/h 64k
E
}

# Fixtures that differ from one another in how the file system is made.
format_fixture() {
	local devices=$1 mib=$2 text=$3
	shift 3
	start "$devices" "$mib" "$@"
	quota_on
	common_content
	finish "$text; mkfs options: ${*:-none}"
}

fixture_reflink() {
	start 1 256
	quota_on
	subvol a b c
	ops '' <<'E'
		write a/f 0 1m
		write a/f 1m 512k
		clone a/f 0 0 b/whole 0
		clone a/f 256k 128k b/part 0
		# one extent many times in one file, and parts of it over itself
		clone a/f 0 64k a/f 2m
		clone a/f 0 64k a/f 3m
		clone a/f 0 4k a/f 64k
		write a/only 0 128k
		clone a/only 0 0 a/again 0
		# the source goes, the copies stay
		write c/gone 0 256k
		clone c/gone 0 0 b/kept 0
		unlink c/gone
		# the same extent twice in one subvolume and once in another, then one of the two goes
		write c/x 0 64k
		clone c/x 0 0 c/y 0
		clone c/x 0 0 a/z 0
		unlink c/y
		buffered b/touching 0 200k
		clone b/touching 100k 100k c/tail 0
E
	finish "files shared by cloning within and between subvolumes, extents used several times by one file"
}

fixture_bookend() {
	start 1 256
	quota_on
	subvol a
	ops a <<'E'
		write f 0 1m
		write g 0 1m
		write h 0 1m
E
	snap -r a s1
	ops a <<'E'
		write f 400k 64k
		write g 0 4k
		truncate h 300k
E
	snap a s2
	ops a <<'E'
		write f 416k 16k
		punch g 512k 256k
		truncate h 100k
		truncate h 2m
		write f 0 1m
E
	ops s2 <<'E'
		write f 1000k 64k
		punch h 0 64k
E
	finish "big extents of which files keep parts: overwritten inside, cut, punched, with snapshots between"
}

fixture_snapshots() {
	start 1 256
	quota_on
	subvol base other
	ops base <<'E'
		scatter f 4k 200
		many e 200 0
		write g 0 512k
E
	snap base w1
	snap -r base r1
	ops w1 <<<'scatter f 40k 20'
	snap w1 w2
	snap -r w2 r2
	ops w2 <<'E'
		write g 0 64k
		many x 60 0
E
	snap w2 w3
	snap w3 w4
	ops base <<<'scatter f 100k 8'
	ops w4 <<<'unlink g'
	delete w2 r1
	image_settle "$mnt"
	snap w4 w5
	snap -r w5 r5
	ops w5 <<<'write new 0 128k'
	delete w3
	snap other empty
	# the source of all of them goes
	delete base
	finish "snapshots of snapshots, some written, some deleted in the middle, the first source deleted"
}

fixture_nested_groups() {
	local each
	start 1 256
	quota_on
	for each in 1/1 1/2 1/3 2/1 2/2 3/1 1/9; do
		group create "$each"
	done
	subvol a b c lonely
	assign "0/$(id_of a)" 1/1
	assign "0/$(id_of b)" 1/1
	assign "0/$(id_of b)" 1/2
	assign "0/$(id_of c)" 2/2
	assign 1/1 2/1
	assign 1/2 2/1
	assign 1/2 2/2
	assign 1/3 3/1
	assign 2/1 3/1
	assign 2/2 3/1
	ops '' <<'E'
		write a/f 0 512k
		scatter a/g 4k 100
		write b/f 0 256k
		clone a/f 0 256k b/shared 0
		write c/f 0 128k
		clone a/f 128k 128k c/shared 0
		write lonely/f 0 64k
		clone c/f 0 0 lonely/shared 0
E
	snap -i 1/1 a a1
	snap -i 1/3 -r a a2
	snap -i 1/2 -i 2/2 b b1
	snap c c1
	ops a <<<'scatter g 20k 20'
	ops b1 <<<'write f 0 64k'
	btrfs qgroup limit 100m 1/1 "$mnt"
	btrfs qgroup limit -e 50m 2/1 "$mnt"
	btrfs qgroup limit 10m "$mnt/a"
	# assignments to a group and to its parent both, and one taken away again
	assign "0/$(id_of a)" 3/1
	group remove "0/$(id_of c)" 2/2 2>/dev/null || true
	finish "groups at three levels, several parents, snapshots with -i, limits, the empty group 1/9"
}

fixture_multi_family() {
	local family i
	start 1 256
	subvol a b c d
	for family in a b c d; do
		ops "$family" <<<'scatter f 4k 60
			write g 0 256k'
	done
	ops '' <<'E'
		clone a/g 0 128k b/from-a 0
		clone b/g 64k 64k c/from-b 0
		clone c/f 0 64k d/from-c 0
		clone d/g 0 0 a/from-d 0
E
	for i in 1 2 3 4 5; do
		for family in a b c d; do
			snap -r "$family" "$family$i"
			ops "$family" <<<"scatter f $((i * 12))k 10"
		done
		ops '' <<<"clone a$i/g 0 64k d/loop$i 0
			clone d$i/f 16k 16k b/loop$i 0"
	done
	delete b2 c3 a5
	quota_on
	finish "four subvolumes with snapshots of their own and clones across, quotas on at the end"
}

fixture_nodes_4k() {
	local each
	start 1 256 -n 4096
	quota_on
	common_content
	group create 1/1
	for each in a a1; do
		assign "0/$(id_of "$each")" 1/1
	done
	finish "nodes of 4 KiB, with a group relation that btrfs check cannot load at this size"
}

fixture_nodes_64k() {
	format_fixture 1 256 "nodes of 64 KiB" -n 65536
}

fixture_deep() {
	start 1 512 -n 4096
	mount_options+=,max_inline=2048
	detach
	attach
	subvol a
	ops a <<<'many f 14500 1900'
	snap -r a s
	ops a <<'E'
		many g 20 1900
		unlink f7000
		unlink f1
E
	quota_on
	mount_options=${mount_options%,max_inline=2048}
	finish "a tree of four levels in nodes of 4 KiB: 14500 inline files; a snapshot and a few changes"
}

fixture_mixed() {
	format_fixture 1 64 "data and metadata in the same block groups" --mixed -n 4096
}

fixture_dup() {
	format_fixture 1 256 "two copies of metadata on one device" -m dup
}

fixture_balanced() {
	local i
	start 1 512 -n 4096
	quota_on
	subvol a
	ops a <<'E'
		scatter f 4k 300
		many e 300 0
E
	for i in 1 2 3 4; do
		snap a "s$i"
		ops a <<<"scatter f $((i * 20))k 12"
	done
	ops s2 <<<'write new 0 256k'
	sync -f "$mnt"
	btrfs balance start --full-balance "$mnt" >/dev/null
	ops a <<<'scatter f 28k 10'
	snap s3 s5
	delete s1
	finish "after a full balance with snapshots: shared back references, then some more changes"
}

# One extent used in COUNT places of file G of subvolume V, and 40 snapshots of V.
many_references() {
	local subvolume=$1 count=$2 i
	{
		echo 'write f 0 64k'
		echo 'write g 0 4k'
		for ((i = 1; i <= count; i++)); do
			echo "clone f $((i % 16 * 4))k 4k g $((i * 8))k"
		done
	} | ops "$subvolume"
	for ((i = 1; i <= 40; i++)); do
		snap -r "$subvolume" "$subvolume.$i"
	done
}

fixture_many_references() {
	start 1 256 -n 4096
	quota_on
	subvol a b
	many_references a 400
	btrfs balance start --full-balance "$mnt" >/dev/null
	many_references b 200
	finish "extents and tree blocks with more references than an item has room for, by address and by tree"
}

fixture_compressed() {
	local kind
	mount_options=${mount_options/max_inline=0/max_inline=2048}
	start 1 256
	subvol a
	for kind in zstd zlib lzo; do
		mount -o "remount,compress=$kind" "$mnt"
		ops a <<<"buffered $kind 0 1m
			buffered $kind-tail 0 130k
			buffered $kind-inline 0 3000
			noise $kind-noise 0 64k 7
			noise $kind-mixed 0 16k 8
			buffered $kind-mixed 16k 240k"
	done
	snap a s
	ops '' <<'E'
		buffered a/zstd 256k 8k
		buffered s/zlib 128k 128k
		clone a/lzo 0 256k a/lzo-part 0
		clone s/zstd 512k 64k s/moved 0
		truncate a/zlib 200k
E
	mount_options=${mount_options/max_inline=2048/max_inline=0}
	quota_on
	finish "zstd, zlib and lzo extents, whole and in part, inline ones too, and bytes that do not compress"
}

holes_content() {
	subvol a
	ops a <<'E'
		many inline 20 100
		fallocate unwritten 0 1m
		fallocate partly 0 1m
		write partly 128k 64k
		write partly 512k 4k
		write punched 0 512k
		punch punched 64k 128k
		punch punched 400k 4k
		scatter sparse 64k 20
		truncate tail 5m
		write beyond 4m 16k
		fallocate cut 0 512k
		truncate cut 100k
E
	snap a s
	ops a <<'E'
		write partly 256k 16k
		write unwritten 0 4k
		punch partly 128k 32k
		buffered inline3 0 9000
		truncate inline4 5000
		unlink cut
E
	ops '' <<<'clone s/partly 96k 128k s/copy 0'
}

fixture_inline_prealloc_holes() {
	mount_options=${mount_options/max_inline=0/max_inline=2048}
	start 1 256
	quota_on
	holes_content
	mount_options=${mount_options/max_inline=2048/max_inline=0}
	finish "inline files, preallocation partly written, punched and sparse files; no items for holes"
}

fixture_holes_explicit() {
	start 1 256 -O ^no-holes
	quota_on
	holes_content
	finish "as inline-prealloc-holes without NO_HOLES and inline files: holes are items with address 0"
}

fixture_raid0_two() {
	format_fixture 2 256 "RAID0 over two devices" -m raid0 -d raid0
}

fixture_raid1_two() {
	format_fixture 2 256 "RAID1 over two devices" -m raid1 -d raid1
}

fixture_raid1c3_three() {
	format_fixture 3 256 "three copies on three devices" -m raid1c3 -d raid1c3
}

fixture_raid10_four() {
	format_fixture 4 256 "RAID10 over four devices" -m raid10 -d raid10
}

fixture_raid5_three() {
	format_fixture 3 256 "RAID5 over three devices, metadata too" -m raid5 -d raid5
}

fixture_raid6_four() {
	format_fixture 4 256 "RAID6 over four devices, metadata too" -m raid6 -d raid6
}

fixture_xxhash() {
	format_fixture 1 256 "xxhash checksums" --checksum xxhash
}

fixture_sha256() {
	format_fixture 1 256 "SHA-256 checksums" --checksum sha256
}

fixture_blake2b() {
	format_fixture 1 256 "BLAKE2b checksums" --checksum blake2
}

# Progs 6.2 of Debian 12 cannot make it; those of its backports can.
fixture_block_group_tree() {
	if ! mkfs.btrfs -O list-all 2>&1 | grep -q '^block-group-tree'; then
		echo "$name: left alone: this mkfs.btrfs cannot make it" >&2
		return
	fi
	format_fixture 1 256 "block group items in a tree of their own" -O block-group-tree
}

fixture_old_format() {
	format_fixture 1 256 "tree blocks as EXTENT_ITEM with a level, version 1 space cache" \
		-O ^skinny-metadata,^no-holes,^extref -R ^free-space-tree
}

fixture_metadata_uuid() {
	start 1 256
	detach
	btrfstune -m "${images[0]}" >/dev/null
	attach
	quota_on
	common_content
	finish "file system id changed with btrfstune -m, so tree blocks carry another one"
}

fixture_simple_quota() {
	start 1 256
	subvol old
	ops old <<'E'
		write before 0 256k
		write kept 0 128k
		scatter f 4k 40
E
	image_settle "$mnt"
	ops '' <<<'simple-quota'
	image_settle "$mnt"
	subvol a b owner
	ops '' <<'E'
		write a/f 0 512k
		scatter a/g 4k 60
		clone a/f 0 128k b/shared 0
		clone old/kept 0 0 b/kept 0
		# parts of old extents, and new extents over them
		write old/before 64k 64k
		scatter old/f 16k 5
		write owner/f 0 256k
		clone owner/f 0 0 b/orphan 0
E
	snap a a1
	snap -r old old1
	snap owner owner1
	ops a <<<'scatter g 8k 10'
	ops a1 <<<'write f 0 64k'
	group create 1/1
	group create 2/1
	assign 1/1 2/1
	subvol late
	assign "0/$(id_of late)" 1/1
	ops late <<<'write f 0 96k'
	# what it wrote lives on in its snapshot and a clone: its group must stay
	delete owner
	finish "simple quotas on a used file system: extents from before, clones, an owner deleted while used"
}
