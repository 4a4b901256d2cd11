/* SPDX-License-Identifier: MIT */
#include "tests/support/file_case.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct file_case_ref *ref_find(struct file_case_ref *refs, const struct file_case_ref *key)
{
	uint64_t hash = (key->bytenr >> 12) * 3 + key->root * 7 + key->owner * 31 +
			(key->offset >> 12) * 101;
	unsigned at = (unsigned)(hash * UINT64_C(0x9e3779b97f4a7c15) >> 48) % FILE_CASE_REFS;
	unsigned tries;

	for (tries = 0; tries < FILE_CASE_REFS; tries++, at = (at + 1) % FILE_CASE_REFS) {
		struct file_case_ref *ref = &refs[at];

		if (!ref->bytenr) {
			*ref = *key;
			ref->count = 0;
			return ref;
		}
		if (ref->bytenr == key->bytenr && ref->root == key->root &&
		    ref->owner == key->owner && ref->offset == key->offset)
			return ref;
	}
	abort();
}

static int case_ref(void *argument, const struct rs_ref_action *action)
{
	struct file_case *test = argument;
	const struct file_case_ref key = {
		.bytenr = action->bytenr,
		.root = action->root,
		.owner = action->owner,
		.offset = action->offset,
	};
	int ret = 0;

	if (action->metadata)
		return 0;
	pthread_mutex_lock(&test->mutex);
	test->calls++;
	if (action->parent || !action->root || action->root != action->real_root)
		ret = -EINVAL;
	else
		ref_find(test->refs, &key)->count += action->kind == RS_REF_DROP ? -1 : 1;
	pthread_mutex_unlock(&test->mutex);
	return ret;
}

void file_case_begin(struct file_case *test, unsigned roots, uint64_t capacity)
{
	const struct rs_forest_options options = {
		.node_bytes = 4096,
		.capacity = capacity,
		.no_drop_thread = true,
		.observer = &test->observer,
	};
	char name[16];

	memset(test, 0, sizeof(*test));
	pthread_mutex_init(&test->mutex, NULL);
	test->observer.argument = test;
	test->observer.ref = case_ref;
	test->refs = calloc(FILE_CASE_REFS, sizeof(*test->refs));
	assert_non_null(test->refs);
	assert_int_equal(rs_forest_create(&options, &test->forest, NULL), 0);
	assert_int_equal(rs_writer_join(test->forest, &test->writer), 0);
	for (test->root_count = 0; test->root_count < roots; test->root_count++) {
		snprintf(name, sizeof(name), "v%u", test->root_count);
		assert_int_equal(rs_subvol_create(test->writer, name,
						  &test->roots[test->root_count]),
				 0);
	}
}

void file_case_end(struct file_case *test)
{
	rs_writer_leave(test->writer);
	rs_forest_destroy(test->forest);
	free(test->refs);
	pthread_mutex_destroy(&test->mutex);
}

uint64_t file_case_file(struct file_case *test, struct rs_subvol *root, const char *name)
{
	uint64_t inode = 0;

	assert_int_equal(rs_file_find(test->writer, root, name, true, &inode), 0);
	return inode;
}

size_t file_case_items(struct rs_subvol *root, uint64_t inode, struct file_extent *items,
		       size_t capacity)
{
	struct btree_path path;
	struct file_extent item;
	size_t count = 0;
	bool more = file_extent_find(root, inode, 0, &path, &item);

	while (more) {
		assert_true(count < capacity);
		items[count++] = item;
		more = btree_next(root, &path) &&
		       file_extent_read(btree_leaf(&path), path.slots[0], inode, &item);
	}
	return count;
}

/* A walk over one tree. */
struct walk {
	struct file_case_ref *refs; /* less what the items have */
	uint64_t root;
	uint64_t inode; /* whose items are at hand */
	struct inode sizes;
	uint64_t bytes;
	uint64_t end;
	unsigned wrong;
};

static void walk_inode_end(struct walk *walk)
{
	if (walk->inode && (walk->bytes != walk->sizes.nbytes || walk->end > walk->sizes.size)) {
		walk->wrong++;
		print_error("inode %" PRIu64 ": %" PRIu64 " bytes up to %" PRIu64
			    ", but the inode has %" PRIu64 " and ends at %" PRIu64 "\n",
			    walk->inode, walk->bytes, walk->end, walk->sizes.nbytes,
			    walk->sizes.size);
	}
	walk->inode = 0;
}

static void walk_extent(struct walk *walk, const struct file_extent *item)
{
	const struct file_case_ref key = {
		.bytenr = item->bytenr,
		.root = walk->root,
		.owner = walk->inode,
		.offset = file_extent_key_offset(item),
	};

	if (item->offset < walk->end || !item->length || !item->bytenr ||
	    item->inside + item->length > item->bytes) {
		walk->wrong++;
		print_error("inode %" PRIu64 ": the item at %" PRIu64 " is wrong\n", walk->inode,
			    item->offset);
	}
	walk->bytes += item->length;
	walk->end = file_extent_end(item);
	ref_find(walk->refs, &key)->count--;
}

static void walk_item(struct walk *walk, struct rs_subvol *root, const struct btree_path *path)
{
	struct format_key key = node_key(btree_leaf(path), path->slots[0]);
	struct file_extent item;

	if (key.type == BTRFS_INODE_ITEM_KEY && key.objectid != INODE_ROOT) {
		walk_inode_end(walk);
		walk->inode = key.objectid;
		walk->bytes = 0;
		walk->end = 0;
		walk->wrong += inode_read(root, walk->inode, &walk->sizes) != 0;
	} else if (key.type == BTRFS_EXTENT_DATA_KEY) {
		if (key.objectid != walk->inode) {
			walk->wrong++;
			print_error("an extent of no inode\n");
		} else if (file_extent_read(btree_leaf(path), path->slots[0], walk->inode, &item)) {
			walk_extent(walk, &item);
		}
	}
}

static unsigned walk_root(struct rs_subvol *root, struct file_case_ref *refs)
{
	const struct format_key first = { 0 };
	struct walk walk = { .refs = refs, .root = root->id };
	struct btree_path path;
	bool more;

	btree_find(root, &first, &path);
	for (more = btree_settle(root, &path); more; more = btree_next(root, &path))
		walk_item(&walk, root, &path);
	walk_inode_end(&walk);
	return walk.wrong;
}

static unsigned refs_wrong(const struct file_case_ref *refs, const char *who)
{
	unsigned wrong = 0;
	unsigned at;

	for (at = 0; at < FILE_CASE_REFS; at++) {
		if (!refs[at].bytenr || !refs[at].count)
			continue;
		wrong++;
		print_error("%s: extent %" PRIu64 " by %" PRIu64 "/%" PRIu64 "/%" PRId64
			    ": %" PRId64 " references too many\n",
			    who, refs[at].bytenr, refs[at].root, refs[at].owner,
			    (int64_t)refs[at].offset, refs[at].count);
	}
	return wrong;
}

/* Of all roots, and `refs` less what their items have. */
static unsigned roots_wrong(struct file_case *test, struct file_case_ref *refs, const char *who)
{
	unsigned wrong = 0;
	unsigned at;

	for (at = 0; at < test->root_count; at++)
		wrong += walk_root(test->roots[at], refs);
	wrong += refs_wrong(refs, who);
	free(refs);
	return wrong;
}

unsigned file_case_wrong(struct file_case *test)
{
	struct file_case_ref *refs = calloc(FILE_CASE_REFS, sizeof(*refs));

	assert_non_null(refs);
	memcpy(refs, test->refs, FILE_CASE_REFS * sizeof(*refs));
	return roots_wrong(test, refs, "observer");
}

static int index_take(void *argument, const struct extent *extent)
{
	struct file_case_ref *refs = argument;
	uint32_t at;

	for (at = 0; !extent->metadata && at < extent_ref_count(extent); at++) {
		const struct file_case_ref key = {
			.bytenr = extent->bytenr,
			.root = extent_ref_at(extent, at).root_or_parent,
			.owner = extent_ref_at(extent, at).owner,
			.offset = extent_ref_at(extent, at).offset,
		};

		ref_find(refs, &key)->count += extent_ref_at(extent, at).count;
	}
	return 0;
}

unsigned file_case_index_wrong(struct file_case *test)
{
	struct file_case_ref *refs = calloc(FILE_CASE_REFS, sizeof(*refs));

	assert_non_null(refs);
	extent_index_each(test->forest->extents, index_take, refs);
	return roots_wrong(test, refs, "index");
}
