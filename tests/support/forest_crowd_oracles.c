/* SPDX-License-Identifier: MIT */
/* What a forest has from the beginning, for the oracles and for the threads; and what the oracles find. */
#include "tests/support/forest_crowd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/base/random.h"
#include "core/forest/inode.h"
#include "core/forest/root.h"
#include "refstorm/quota.h"
#include "stress/oracle/recount_groups.h"

#define STREAM 1000U /* of the random numbers; no thread's */

void forest_crowd_report(const struct recount_report *report)
{
	size_t at;

	for (at = 0; at < report->finding_count && at < RECOUNT_FINDINGS_MAX; at++)
		print_error("%s: %s\n", recount_kind_name(report->findings[at].kind),
			    report->findings[at].text);
	assert_int_equal(report->finding_count, 0);
}

static void crowd_verify(struct forest_crowd *crowd)
{
	char text[REFVERIFY_TEXT_BYTES];
	int result = refverify_check(crowd->verify, crowd->forest->extents);

	if (refverify_failures(crowd->verify))
		fail_msg("%s", refverify_text(crowd->verify, text, sizeof(text)));
	assert_int_equal(result, 0);
}

void forest_crowd_check(struct forest_crowd *crowd)
{
	const struct recount_options options = { .references = true, .holdings = true };
	struct recount_groups_done groups;
	struct rs_quota_status status;
	uint64_t rescans;
	struct rs_error error = RS_ERROR_INIT;
	struct recount *recount;
	struct rs_writer *writer;

	assert_int_equal(rs_writer_join(crowd->forest, &writer), 0);
	assert_int_equal(crowd->forest->drop_thread_runs ? rs_forest_drop_wait(writer) :
							   rs_forest_commit(writer),
			 0);
	rs_writer_leave(writer);
	if (crowd->watched)
		crowd_verify(crowd);
	assert_int_equal(recount_create(crowd->forest, &options, &recount), 0);
	if (crowd->watched)
		assert_int_equal(recount_accounts_compare(crowd->accounts, recount), 0);
	rs_quota_status_read(crowd->forest, &status);
	rescans = status.rescan == RS_RESCAN_NONE ? status.rescans : UINT64_MAX;
	assert_int_equal(recount_groups_compare(recount, &groups), 0);
	forest_crowd_report(recount_report(recount));
	recount_destroy(recount);
	rs_quota_status_read(crowd->forest, &status);
	/* Where one ran at any time nothing may have been compared. */
	if (status.enabled && status.rescan == RS_RESCAN_NONE && status.rescans == rescans) {
		if (rs_quota_reason(crowd->forest, &error))
			fail_msg("the accounts are inconsistent: %s", error.what);
		assert_true(groups.groups > 0);
	}
}

static int load_extent(void *argument, const struct extent *extent)
{
	return refverify_load(argument, extent);
}

/* A sample: each file has the same chance, however many there are. */
static void load_file(struct forest_crowd_files *files, uint64_t *seen, uint64_t inode,
		      const void *name, size_t name_bytes, struct random_state *random)
{
	uint64_t at = (*seen)++;

	if (at >= FOREST_CROWD_IMAGE_FILES)
		at = random_state_below(random, *seen);
	if (at >= FOREST_CROWD_IMAGE_FILES)
		return;
	free(files->files[at].name);
	files->files[at].inode = inode;
	files->files[at].name = name ? strndup(name, name_bytes) : NULL;
	if (at == files->count)
		files->count++;
}

static void load_item(struct forest_crowd_files *files, uint64_t *seen,
		      const struct btree_path *path, struct random_state *random)
{
	const uint8_t *data = node_item_data(btree_leaf(path), path->slots[0]);
	struct format_key key = node_key(btree_leaf(path), path->slots[0]);

	if (key.type == BTRFS_INODE_ITEM_KEY) {
		const struct btrfs_inode_item *item = (const void *)data;

		if (S_ISREG(format_le32(&item->mode)))
			load_file(files, seen, key.objectid, NULL, 0, random);
	} else if (key.type == BTRFS_DIR_INDEX_KEY && key.objectid == INODE_ROOT) {
		const struct btrfs_dir_item *entry = (const void *)data;
		struct format_key location = format_key_read(&entry->location);

		if (entry->type == BTRFS_FT_REG_FILE)
			load_file(files, seen, location.objectid, data + sizeof(*entry),
				  format_le16(&entry->name_len), random);
	}
}

static const struct forest_crowd_files *
load_files(struct forest_crowd *crowd, struct rs_subvol *subvol, struct random_state *random)
{
	static const struct format_key begin;
	struct forest_crowd_files *files = calloc(1, sizeof(*files));
	struct btree_path path;
	uint64_t seen = 0;
	bool more;

	assert_non_null(files);
	lock_acquire(&subvol->lock);
	btree_find(subvol, &begin, &path);
	for (more = btree_settle(subvol, &path); more; more = btree_next(subvol, &path))
		load_item(files, &seen, &path, random);
	lock_release(&subvol->lock);
	files->next = crowd->files;
	crowd->files = files;
	return files->count ? files : NULL;
}

static void load_oracles(struct forest_crowd *crowd)
{
	const struct recount_options options = { .references = true, .holdings = true };
	struct recount *recount;

	assert_int_equal(extent_index_each(crowd->forest->extents, load_extent, crowd->verify), 0);
	assert_int_equal(recount_create(crowd->forest, &options, &recount), 0);
	assert_int_equal(recount_accounts_load(crowd->accounts, recount), 0);
	forest_crowd_report(recount_report(recount));
	recount_destroy(recount);
}

void forest_crowd_load(struct forest_crowd *crowd, struct rs_forest *forest, uint64_t seed)
{
	struct random_state random;
	struct rs_subvol *subvol = NULL;

	random_state_seed(&random, seed, STREAM);
	crowd->forest = forest;
	load_oracles(crowd);
	while ((subvol = forest_root_next(forest, subvol)))
		/* Relaxed, both: nobody else is there. */
		if (order_load_relaxed(&subvol->state) == ROOT_LIVE &&
		    order_load_relaxed(&crowd->used) < FOREST_CROWD_KNOWN)
			forest_crowd_keep(crowd, subvol, subvol->read_only,
					  load_files(crowd, subvol, &random));
}
