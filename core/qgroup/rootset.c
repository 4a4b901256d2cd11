// SPDX-License-Identifier: MIT
#include "core/qgroup/rootset.h"

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"

static const struct rootset empty_set;

/* What is looked for. */
struct rootset_key {
	const uint32_t *boundaries;
	uint32_t count;
};

static uint64_t key_hash(const struct rootset_key *key)
{
	uint64_t hash = key->count;
	uint32_t at;

	for (at = 0; at < key->count; at++)
		hash = idtable_hash_u64(hash ^ ((uint64_t)key->boundaries[at] << 20));
	return hash;
}

const struct rootset *rootset_at(const struct rootset_table *table, uint32_t id)
{
	order_ptr *home = (order_ptr *)segments_at(&table->sets, id);

	/* Relaxed: stored before the id was shown to anybody (IDTABLE.entry). */
	return id == ROOTSET_EMPTY ? &empty_set : (const struct rootset *)order_load_relaxed(home);
}

static bool key_equal(const void *context, uint32_t id, const void *wanted)
{
	const struct rootset_key *key = (const struct rootset_key *)wanted;
	const struct rootset *set = rootset_at((const struct rootset_table *)context, id);

	return set->count == key->count &&
	       !memcmp(set->boundaries, key->boundaries, key->count * sizeof(uint32_t));
}

static int key_make(void *context, const void *wanted, uint32_t *id)
{
	const struct rootset_key *key = (const struct rootset_key *)wanted;
	struct rootset_table *table = (struct rootset_table *)context;
	struct rootset *set;
	int ret;

	set = alloc_array(1, sizeof(*set) + key->count * sizeof(uint32_t));
	if (!set)
		return -ENOMEM;
	set->count = key->count;
	memcpy(set->boundaries, key->boundaries, key->count * sizeof(uint32_t));
	ret = segments_reserve(&table->sets, id);
	if (ret) {
		alloc_free(set);
		return ret;
	}
	/* Relaxed: the table entry that shows the id is a release (IDTABLE.entry). */
	order_store_relaxed((order_ptr *)segments_at(&table->sets, *id), set);
	return 0;
}

int rootset_table_init(struct rootset_table *table)
{
	uint32_t empty;
	int ret = idtable_init(&table->ids);

	if (ret)
		return ret;
	segments_init(&table->sets, sizeof(order_ptr), ROOTSET_MAX);
	ret = segments_reserve(&table->sets, &empty); /* number 0: nobody else has reserved one */
	if (ret)
		rootset_table_destroy(table);
	return ret;
}

void rootset_table_destroy(struct rootset_table *table)
{
	uint32_t id;

	for (id = 1; id < rootset_limit(table); id++) {
		/* Relaxed: nobody else uses the table any more. */
		order_ptr *home = (order_ptr *)segments_at(&table->sets, id);

		alloc_free(order_load_relaxed(home));
	}
	segments_destroy(&table->sets);
	idtable_destroy(&table->ids);
}

int rootset_intern(struct rootset_table *table, const uint32_t *boundaries, uint32_t count,
		   uint32_t *id)
{
	struct rootset_key key = { boundaries, count };
	uint64_t hash;
	bool made;

	*id = ROOTSET_EMPTY;
	if (!count)
		return 0;
	hash = key_hash(&key);
	rcu_section_enter();
	*id = idtable_find(&table->ids, hash, key_equal, table, &key);
	rcu_section_exit();
	if (*id)
		return 0;
	return idtable_insert(&table->ids, hash, key_equal, key_make, table, &key, id, &made);
}

uint32_t rootset_limit(const struct rootset_table *table)
{
	return segments_used(&table->sets);
}
