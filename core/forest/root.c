/* SPDX-License-Identifier: MIT */
#include "core/forest/root.h"

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"

#define ROOT_BUCKETS 65536U

static unsigned root_bucket_of_name(const char *name)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return (unsigned)(hash >> 32) % ROOT_BUCKETS;
}

static unsigned root_bucket_of_id(uint64_t id)
{
	return (unsigned)(id % ROOT_BUCKETS);
}

int root_table_init(struct rs_forest *forest)
{
	forest->next_id = BTRFS_FIRST_FREE_OBJECTID;
	forest->by_id = alloc_zeroed(ROOT_BUCKETS, sizeof(struct rs_subvol *));
	forest->by_name = alloc_zeroed(ROOT_BUCKETS, sizeof(struct rs_subvol *));
	return forest->by_id && forest->by_name ? 0 : -ENOMEM;
}

static void root_destroy(struct rs_subvol *root)
{
	/* Relaxed: nobody else is left. */
	alloc_free(order_load_relaxed(&root->commit));
	alloc_free(root->committing);
	lock_destroy(&root->lock);
	alloc_free(root->inherit);
	alloc_free(root->name);
	alloc_free(root);
}

void root_table_destroy(struct rs_forest *forest)
{
	struct rs_subvol *root = forest->first;

	while (root) {
		struct rs_subvol *next = root->next;

		root_destroy(root);
		root = next;
	}
	alloc_free(forest->by_id);
	alloc_free(forest->by_name);
}

static struct rs_subvol *root_find_id_locked(const struct rs_forest *forest, uint64_t id)
{
	struct rs_subvol *root = forest->by_id[root_bucket_of_id(id)];

	while (root && root->id != id)
		root = root->next_id;
	return root;
}

static struct rs_subvol *root_find_name_locked(const struct rs_forest *forest, const char *name)
{
	struct rs_subvol *root = forest->by_name[root_bucket_of_name(name)];

	while (root && strcmp(root->name, name) != 0)
		root = root->next_name;
	return root;
}

/* Into the list by id; new ones mostly are the last. */
static void root_link_locked(struct rs_forest *forest, struct rs_subvol *root)
{
	struct rs_subvol **at = &forest->first;
	unsigned bucket = root_bucket_of_id(root->id);

	if (forest->last && forest->last->id < root->id)
		at = &forest->last->next;
	while (*at && (*at)->id < root->id)
		at = &(*at)->next;
	root->next = *at;
	*at = root;
	if (!root->next)
		forest->last = root;
	root->next_id = forest->by_id[bucket];
	forest->by_id[bucket] = root;
	if (root->name) {
		bucket = root_bucket_of_name(root->name);
		root->next_name = forest->by_name[bucket];
		forest->by_name[bucket] = root;
	}
	if (root->id >= forest->next_id)
		forest->next_id = root->id + 1;
	/* Relaxed, both: sums. */
	order_fetch_add_relaxed(&forest->root_count, 1);
	order_fetch_add_relaxed(&forest->live_count, 1);
}

static int root_add_locked(struct rs_forest *forest, struct rs_subvol *root, uint64_t id)
{
	if (order_load_relaxed(&forest->root_count) >= ROOT_COUNT_MAX)
		return -ENFILE;
	root->id = id ? id : forest->next_id;
	if (!format_is_subvolume(root->id))
		return -ENFILE;
	if (root_find_id_locked(forest, root->id) ||
	    (root->name && root_find_name_locked(forest, root->name)))
		return -EEXIST;
	root_link_locked(forest, root);
	return 0;
}

static int root_make(struct rs_forest *forest, uint64_t id, const char *name, uint32_t state,
		     struct rs_subvol **out)
{
	struct rs_subvol *root = alloc_zeroed(1, sizeof(*root));
	int result = -ENOMEM;

	if (!root)
		return -ENOMEM;
	root->forest = forest;
	/* Relaxed: published by the lock. */
	order_store_relaxed(&root->state, state);
	root->next_inode = BTRFS_FIRST_FREE_OBJECTID + 1;
	lock_init(&root->lock, LOCK_RANK_FOREST_ROOT, "forest.root");
	if (name)
		root->name = alloc_string(name);
	if (!name || root->name) {
		lock_acquire(&forest->table_lock);
		result = root_add_locked(forest, root, id);
		lock_release(&forest->table_lock);
	}
	if (result)
		root_destroy(root);
	else
		*out = root;
	return result;
}

int root_add(struct rs_forest *forest, uint64_t id, const char *name, struct rs_subvol **out)
{
	return root_make(forest, id, name, ROOT_LIVE, out);
}

int root_add_new(struct rs_forest *forest, const char *name, struct rs_subvol **out)
{
	return root_make(forest, 0, name, ROOT_NEW, out);
}

void root_forget_name(struct rs_subvol *root)
{
	struct rs_forest *forest = root->forest;
	struct rs_subvol **at;

	if (!root->name)
		return;
	lock_acquire(&forest->table_lock);
	at = &forest->by_name[root_bucket_of_name(root->name)];
	while (*at && *at != root)
		at = &(*at)->next_name;
	if (*at)
		*at = root->next_name;
	lock_release(&forest->table_lock);
}

void root_give_up(struct rs_subvol *root)
{
	root_forget_name(root);
	/* Relaxed, all of them: nobody else has it; sums. */
	order_store_relaxed(&root->state, ROOT_GONE);
	order_fetch_sub_relaxed(&root->forest->live_count, 1);
	order_fetch_sub_relaxed(&root->forest->root_count, 1);
}

struct rs_subvol *forest_root_next(struct rs_forest *forest, struct rs_subvol *previous)
{
	struct rs_subvol *next;

	lock_acquire(&forest->table_lock);
	next = previous ? previous->next : forest->first;
	lock_release(&forest->table_lock);
	return next;
}

static struct rs_subvol *root_if_live(struct rs_subvol *root)
{
	/* ROOT.state: sees the tree that the commit made. */
	return root && order_load_acquire(&root->state) == ROOT_LIVE ? root : NULL;
}

struct rs_subvol *rs_subvol_find(struct rs_forest *forest, const char *name)
{
	struct rs_subvol *root;

	lock_acquire(&forest->table_lock);
	root = root_find_name_locked(forest, name);
	lock_release(&forest->table_lock);
	return root_if_live(root);
}

void root_inherit_forget(struct rs_subvol *root)
{
	alloc_free(root->inherit);
	root->inherit = NULL;
	root->inherit_count = 0;
}

struct rs_subvol *root_find_id(struct rs_forest *forest, uint64_t id)
{
	struct rs_subvol *root;

	lock_acquire(&forest->table_lock);
	root = root_find_id_locked(forest, id);
	lock_release(&forest->table_lock);
	return root;
}

struct rs_subvol *rs_subvol_find_id(struct rs_forest *forest, uint64_t id)
{
	return root_if_live(root_find_id(forest, id));
}

uint64_t rs_subvol_id(const struct rs_subvol *subvol)
{
	return subvol->id;
}

const char *rs_subvol_name(const struct rs_subvol *subvol)
{
	return subvol->name;
}
