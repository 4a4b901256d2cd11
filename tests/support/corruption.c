/* SPDX-License-Identifier: MIT */
#include "tests/support/corruption.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/disk/csum.h"
#include "core/disk/super.h"
#include "tests/support/leaf_edit.h"

#define PAIRS_MAX 4096
#define FLIPS_MAX 8
#define CUT_PIECE (1U << 20)

static void need(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

static uint64_t draw(struct corruption *corruption, uint64_t below)
{
	/* splitmix64: seeds in a row give numbers that have nothing in common. */
	uint64_t z = corruption->random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return (z ^ (z >> 31)) % below;
}

/* --- writing, so that it can be undone --- */

static struct corruption_undo *keep(struct corruption *corruption, int fd, uint64_t offset,
				    uint32_t bytes)
{
	struct corruption_undo *undo = alloc_zeroed(1, sizeof(*undo) + bytes);

	need(undo, "memory");
	undo->next = corruption->undo;
	undo->fd = fd;
	undo->offset = offset;
	undo->bytes = bytes;
	need(!bytes || pread(fd, undo->data, bytes, (off_t)offset) == (ssize_t)bytes, "reading");
	corruption->undo = undo;
	return undo;
}

static void put(struct corruption *corruption, int fd, uint64_t offset, const uint8_t *data,
		uint32_t bytes)
{
	keep(corruption, fd, offset, bytes);
	need(pwrite(fd, data, bytes, (off_t)offset) == (ssize_t)bytes, "writing");
}

static void put_copy(struct corruption *corruption, uint64_t bytenr, unsigned mirror,
		     const uint8_t *block)
{
	uint32_t bytes = corruption->image->rules.node_bytes;
	uint32_t done = 0;

	while (done < bytes) {
		const struct device *device;
		struct chunk_place place;
		uint64_t want = bytes - done;

		need(image_place(corruption->image, bytenr + done, mirror, &device, &place),
		     "a copy");
		if (want > place.bytes)
			want = place.bytes;
		put(corruption, corruption->writer.fds[device - corruption->image->devices.devices],
		    place.physical, block + done, (uint32_t)want);
		done += (uint32_t)want;
	}
}

/* To where `expect` stands. */
static void put_block(struct corruption *corruption, uint64_t bytenr, uint8_t *block)
{
	unsigned copies = chunk_map_mirrors(corruption->image->chunks, bytenr);
	unsigned mirror;

	if (corruption->repaired)
		csum_block_write(corruption->image->rules.csum_type, block,
				 corruption->image->rules.node_bytes);
	for (mirror = 0; mirror < (corruption->one_copy ? 1 : copies); mirror++)
		put_copy(corruption, bytenr, mirror, block);
}

static uint8_t *get_block(struct corruption *corruption, uint32_t index)
{
	uint8_t *block = image_block_alloc(corruption->image);
	struct rs_error error = RS_ERROR_INIT;

	need(block && !image_read(corruption->image, &corruption->list.blocks[index].expect, 0,
				  NULL, block, &error),
	     "reading a block");
	return block;
}

/* --- choosing --- */

/* Half of the time any tree is as likely as another, however small. */
static uint32_t choose_block(struct corruption *corruption)
{
	const struct block_list *list = &corruption->list;
	uint32_t any = (uint32_t)draw(corruption, list->count);
	uint32_t first;
	uint64_t tree;
	uint32_t count = 0;

	if (draw(corruption, 2))
		return any;
	/* Only special trees: subvolumes are most of what there is. */
	tree = 1 + draw(corruption, 11);
	for (first = 0; first < list->count; first++)
		count += list->blocks[first].tree == tree;
	if (!count)
		return any;
	count = (uint32_t)draw(corruption, count);
	for (first = 0; list->blocks[first].tree != tree || count--; first++)
		;
	return first;
}

/* Bytes of the block that matter: header, items, or data. */
static uint32_t choose_byte(struct corruption *corruption, const uint8_t *block)
{
	uint32_t node_bytes = corruption->image->rules.node_bytes;
	uint32_t header = (uint32_t)sizeof(struct format_header);
	uint32_t entry = (uint32_t)(node_level(block) ? sizeof(struct format_key_ptr) :
							sizeof(struct format_item));
	uint32_t entries = node_count(block) * entry;
	uint32_t low = node_count(block) && !node_level(block) ?
			       (uint32_t)(node_item_data(block, node_count(block) - 1) - block) :
			       node_bytes;
	uint64_t part = draw(corruption, 8);

	if (!part)
		return (uint32_t)draw(corruption, header);
	if (low < node_bytes && part < 6)
		return low + (uint32_t)draw(corruption, node_bytes - low);
	return entries ? header + (uint32_t)draw(corruption, entries) :
			 (uint32_t)draw(corruption, node_bytes);
}

/* --- kinds --- */

static void flip_bits(struct corruption *corruption, uint8_t *block)
{
	uint64_t count = 1 + (draw(corruption, 2) ? 0 : draw(corruption, FLIPS_MAX - 1));
	uint32_t bytes[FLIPS_MAX];
	uint64_t at;

	/* All are chosen first: the block does not make sense behind the first one. */
	for (at = 0; at < count; at++)
		bytes[at] = choose_byte(corruption, block);
	for (at = 0; at < count; at++)
		block[bytes[at]] ^= (uint8_t)(1U << draw(corruption, 8));
}

static void zero_range(struct corruption *corruption, uint8_t *block)
{
	uint32_t node_bytes = corruption->image->rules.node_bytes;
	uint32_t at = choose_byte(corruption, block);
	uint32_t bytes = 1 + (uint32_t)draw(corruption, draw(corruption, 2) ? 64 : node_bytes);

	memset(block + at, 0, bytes < node_bytes - at ? bytes : node_bytes - at);
}

static void write_field(struct corruption *corruption, uint8_t *block)
{
	static const uint64_t values[] = {
		0,          1,
		UINT64_MAX, UINT64_C(1) << 63,
		UINT32_MAX, UINT64_C(1) << 31,
		4096,       UINT64_MAX - 4095,
	};
	static const uint32_t sizes[] = { 1, 2, 4, 8 };
	uint32_t node_bytes = corruption->image->rules.node_bytes;
	uint32_t at = choose_byte(corruption, block);
	uint32_t bytes = sizes[draw(corruption, 4)];
	uint8_t value[8];

	leaf_put64(value, values[draw(corruption, sizeof(values) / sizeof(values[0]))]);
	memcpy(block + at, value, bytes < node_bytes - at ? bytes : node_bytes - at);
}

static void change_block(struct corruption *corruption,
			 void (*change)(struct corruption *, uint8_t *), uint32_t index)
{
	uint8_t *block = get_block(corruption, index);

	change(corruption, block);
	put_block(corruption, corruption->list.blocks[index].expect.bytenr, block);
	alloc_free(block);
}

/* Block `from` at the address of `to`; with a right checksum mostly also with the right address. */
static void put_elsewhere(struct corruption *corruption, uint32_t from, uint32_t to)
{
	const struct node_expect *expect = &corruption->list.blocks[to].expect;
	uint8_t *block = get_block(corruption, from);
	struct format_header *header = (struct format_header *)block;

	if (corruption->repaired && draw(corruption, 4)) {
		leaf_put64(&header->bytenr, expect->bytenr);
		if (draw(corruption, 4))
			leaf_put64(&header->generation, expect->generation);
		if (draw(corruption, 2) && expect->owner && expect->owner != NODE_OWNER_ANY)
			leaf_put64(&header->owner, expect->owner);
	}
	put_block(corruption, expect->bytenr, block);
	alloc_free(block);
}

static void make_swap(struct corruption *corruption, uint32_t index)
{
	uint32_t other = choose_block(corruption);

	/* What is read is what stands there: the second comes from a copy in memory. */
	uint8_t *block = get_block(corruption, index);

	put_elsewhere(corruption, other, index);
	if (corruption->repaired)
		leaf_put64(&((struct format_header *)block)->bytenr,
			   corruption->list.blocks[other].expect.bytenr);
	put_block(corruption, corruption->list.blocks[other].expect.bytenr, block);
	alloc_free(block);
}

/* Without a pair: the block as it may have been before its last item came. */
static void make_stale(struct corruption *corruption, uint32_t index)
{
	uint8_t *block;

	if (corruption->pair_count && draw(corruption, 3)) {
		const struct corruption_pair *pair =
			&corruption->pairs[draw(corruption, corruption->pair_count)];

		put_elsewhere(corruption, pair->older, pair->newer);
		return;
	}
	block = get_block(corruption, index);
	if (!node_level(block) && node_count(block) > 1)
		leaf_remove(block, corruption->image->rules.node_bytes, node_count(block) - 1);
	if (draw(corruption, 2))
		leaf_put64(&((struct format_header *)block)->generation,
			   corruption->list.blocks[index].expect.generation - 1);
	put_block(corruption, corruption->list.blocks[index].expect.bytenr, block);
	alloc_free(block);
}

/* A pointer to the block itself, to one above it, or to any. */
static void make_cycle(struct corruption *corruption, uint32_t index)
{
	const struct block_list *list = &corruption->list;
	uint64_t up = draw(corruption, 3);
	uint32_t target;
	struct format_key_ptr *pointer;
	uint8_t *block;

	/* Some node at all; ends: each block is looked at once. */
	for (target = 0; target < list->count && !list->blocks[index].expect.level; target++)
		index = (index + 1) % list->count;
	block = get_block(corruption, index);
	target = draw(corruption, 4) ? index : choose_block(corruption);
	while (up-- && list->blocks[target].parent != BLOCK_LIST_NO_PARENT)
		target = list->blocks[target].parent;
	if (node_level(block)) {
		pointer = (struct format_key_ptr *)(block + sizeof(struct format_header)) +
			  draw(corruption, node_count(block));
		leaf_put64(&pointer->blockptr, list->blocks[target].expect.bytenr);
		if (draw(corruption, 4))
			leaf_put64(&pointer->generation, list->blocks[target].expect.generation);
	}
	put_block(corruption, list->blocks[index].expect.bytenr, block);
	alloc_free(block);
}

/* A file ends somewhere in what it holds, or where its metadata do. */
static void make_cut(struct corruption *corruption, uint32_t index)
{
	const struct device *device;
	struct chunk_place place;
	struct stat status;
	uint64_t size;
	uint64_t at;
	int fd;

	need(image_place(corruption->image, corruption->list.blocks[index].expect.bytenr, 0,
			 &device, &place),
	     "a copy");
	fd = corruption->writer.fds[device - corruption->image->devices.devices];
	need(!fstat(fd, &status), "size");
	size = (uint64_t)status.st_size;
	at = draw(corruption, 2) ? place.physical + draw(corruption, 8192) : draw(corruption, size);
	/* All that holds anything is kept, in pieces; ends: further on each time. */
	for (off_t from = lseek(fd, (off_t)at, SEEK_DATA); from >= 0;
	     from = lseek(fd, from, SEEK_DATA)) {
		uint64_t left = size - (uint64_t)from;

		keep(corruption, fd, (uint64_t)from, left < CUT_PIECE ? (uint32_t)left : CUT_PIECE);
		from += (off_t)(left < CUT_PIECE ? left : CUT_PIECE);
	}
	keep(corruption, fd, 0, 0)->cut_from = size;
	need(!ftruncate(fd, (off_t)at), "cutting");
}

/* The super blocks, all or the first. */
static void make_super(struct corruption *corruption)
{
	const struct device *device =
		&corruption->image->devices
			 .devices[draw(corruption, corruption->image->devices.count)];
	int fd = corruption->writer.fds[device - corruption->image->devices.devices];
	uint8_t block[FORMAT_SUPER_BYTES];
	uint32_t at = (uint32_t)draw(corruption, offsetof(struct format_super, super_roots));
	uint8_t bit = (uint8_t)(1U << draw(corruption, 8));
	unsigned mirror;

	for (mirror = 0; mirror < FORMAT_SUPER_MIRRORS; mirror++) {
		uint64_t offset = super_offset(mirror);

		if (offset + sizeof(block) > device->bytes || (mirror && corruption->one_copy))
			continue;
		need(pread(fd, block, sizeof(block), (off_t)offset) == sizeof(block), "reading");
		block[at] ^= bit;
		if (corruption->repaired)
			csum_block_write(corruption->image->rules.csum_type, block, sizeof(block));
		put(corruption, fd, offset, block, sizeof(block));
	}
}

/* --- variants --- */

static const char *make_kind(struct corruption *corruption, uint32_t index)
{
	switch (draw(corruption, 20)) {
	case 0:
		make_super(corruption);
		return "super";
	case 1:
		make_cut(corruption, index);
		return "cut";
	case 2:
	case 3:
		make_swap(corruption, index);
		return "swap";
	case 4:
	case 5:
	case 6:
		make_stale(corruption, index);
		return "stale";
	case 7:
	case 8:
		make_cycle(corruption, index);
		return "cycle";
	case 9:
	case 10:
		change_block(corruption, zero_range, index);
		return "zero";
	case 11:
	case 12:
	case 13:
	case 14:
		change_block(corruption, write_field, index);
		return "field";
	default:
		change_block(corruption, flip_bits, index);
		return "flip";
	}
}

static bool super_passes(const struct corruption *corruption)
{
	const char *paths[16];
	struct rs_error error = RS_ERROR_INIT;
	struct device_set set;
	bool good;
	size_t at;

	for (at = 0; at < corruption->image->devices.count; at++)
		paths[at] = corruption->image->devices.devices[at].path;
	if (device_set_open(&set, paths, at, &error))
		return false;
	good = !super_check_supported(&set.super, &error);
	device_set_close(&set);
	return good;
}

void corruption_make(struct corruption *corruption, uint64_t seed)
{
	const struct listed_block *block;
	const char *kind;
	uint32_t index;

	corruption->random = seed;
	corruption->repaired = draw(corruption, 4);
	corruption->one_copy = !draw(corruption, 6);
	index = choose_block(corruption);
	kind = make_kind(corruption, index);
	block = &corruption->list.blocks[index];
	snprintf(corruption->text, sizeof(corruption->text),
		 "super=%d kind=%s repaired=%d one_copy=%d tree=%" PRId64 " block=%" PRIu64
		 " level=%u",
		 super_passes(corruption), kind, corruption->repaired, corruption->one_copy,
		 (int64_t)block->tree, block->expect.bytenr, block->expect.level);
}

void corruption_undo_all(struct corruption *corruption)
{
	/* Latest first; ends: one less each time. */
	while (corruption->undo) {
		struct corruption_undo *undo = corruption->undo;

		if (undo->cut_from)
			need(!ftruncate(undo->fd, (off_t)undo->cut_from), "undoing a cut");
		need(pwrite(undo->fd, undo->data, undo->bytes, (off_t)undo->offset) ==
			     (ssize_t)undo->bytes,
		     "undoing");
		corruption->undo = undo->next;
		alloc_free(undo);
	}
}

/* Snapshots hold what their sources held. */
static void find_pairs(struct corruption *corruption)
{
	const struct block_list *list = &corruption->list;
	uint32_t newer;
	uint32_t older;

	corruption->pairs = alloc_array(PAIRS_MAX, sizeof(*corruption->pairs));
	need(corruption->pairs, "memory");
	for (newer = 0; newer < list->count; newer++) {
		const struct node_expect *a = &list->blocks[newer].expect;

		for (older = 0; older < list->count; older++) {
			const struct node_expect *b = &list->blocks[older].expect;

			if (corruption->pair_count < PAIRS_MAX && a->level == b->level &&
			    a->owner == b->owner && a->generation > b->generation &&
			    !format_key_compare(&a->first_key, &b->first_key))
				corruption->pairs[corruption->pair_count++] =
					(struct corruption_pair){ older, newer };
		}
	}
}

void corruption_open(struct corruption *corruption, const char *const *paths, size_t count)
{
	struct rs_error error = RS_ERROR_INIT;

	*corruption = (struct corruption){ 0 };
	if (rs_image_open(paths, count, &corruption->image, &error)) {
		fprintf(stderr, "%s: %s\n", error.where, error.what);
		exit(2);
	}
	block_list_read(&corruption->list, corruption->image);
	image_writer_open(&corruption->writer, corruption->image);
	find_pairs(corruption);
}

void corruption_close(struct corruption *corruption)
{
	corruption_undo_all(corruption);
	image_writer_close(&corruption->writer);
	block_list_destroy(&corruption->list);
	alloc_free(corruption->pairs);
	rs_image_close(corruption->image);
}
