/* SPDX-License-Identifier: MIT */
#include "stress/oracle/refverify_impl.h"

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

#define FIRST_CHAINS 64U

/* The upper bits choose the shard, the lower ones the chain. */
static uint64_t hash_of(uint64_t bytenr)
{
	uint64_t hash = (bytenr >> 12) * 0x9e3779b97f4a7c15ULL;

	return hash ^ hash >> 32;
}

struct refverify_shard *refverify_entry_shard(struct refverify *verify, uint64_t bytenr)
{
	return &verify->shards[hash_of(bytenr) >> (64 - REFVERIFY_SHARD_BITS)];
}

struct refverify_entry *refverify_entry_find(const struct refverify_shard *shard, uint64_t bytenr)
{
	struct refverify_entry *entry;

	if (!shard->chain_count)
		return NULL;
	entry = shard->chains[hash_of(bytenr) & (shard->chain_count - 1)];
	while (entry && entry->bytenr != bytenr)
		entry = entry->next;
	return entry;
}

static void link_entry(struct refverify_entry **chains, size_t count, struct refverify_entry *entry)
{
	struct refverify_entry **chain = &chains[hash_of(entry->bytenr) & (count - 1)];

	entry->next = *chain;
	*chain = entry;
}

/* Longer chains are no failure: without memory the table stays as it is, unless there is none. */
static int grow(struct refverify_shard *shard)
{
	size_t count = shard->chain_count ? shard->chain_count * 2 : FIRST_CHAINS;
	struct refverify_entry **chains;
	size_t at;

	if (shard->entries < shard->chain_count)
		return 0;
	chains = alloc_zeroed(count, sizeof(struct refverify_entry *));
	if (!chains)
		return shard->chain_count ? 0 : -ENOMEM;
	for (at = 0; at < shard->chain_count; at++) {
		while (shard->chains[at]) {
			struct refverify_entry *entry = shard->chains[at];

			shard->chains[at] = entry->next;
			link_entry(chains, count, entry);
		}
	}
	alloc_free(shard->chains);
	shard->chains = chains;
	shard->chain_count = count;
	return 0;
}

struct refverify_entry *refverify_entry_add(struct refverify_shard *shard, uint64_t bytenr)
{
	struct refverify_entry *entry;

	if (grow(shard))
		return NULL;
	entry = alloc_zeroed(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->bytenr = bytenr;
	entry->level = REFVERIFY_LEVEL_UNKNOWN;
	link_entry(shard->chains, shard->chain_count, entry);
	shard->entries++;
	return entry;
}

static void free_entry(struct refverify_entry *entry)
{
	alloc_free(entry->ref);
	alloc_free(entry->root);
	alloc_free(entry->actions);
	alloc_free(entry);
}

void refverify_entry_sweep(struct refverify_shard *shard,
			   bool (*fn)(void *argument, struct refverify_entry *entry),
			   void *argument)
{
	size_t at;

	for (at = 0; at < shard->chain_count; at++) {
		struct refverify_entry **link = &shard->chains[at];

		while (*link) {
			struct refverify_entry *entry = *link;

			if (fn(argument, entry)) {
				*link = entry->next;
				free_entry(entry);
				shard->entries--;
			} else {
				link = &entry->next;
			}
		}
	}
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_refs(const struct refverify_ref *a, const struct refverify_ref *b)
{
	int order = compare_numbers(a->root, b->root);

	if (!order)
		order = compare_numbers(a->parent, b->parent);
	if (!order)
		order = compare_numbers(a->owner, b->owner);
	return order ? order : compare_numbers(a->offset, b->offset);
}

/* The first reference not below the key. */
static size_t ref_place(const struct refverify_entry *entry, const struct refverify_ref *key)
{
	size_t low = 0;
	size_t high = entry->ref_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_refs(&entry->ref[middle], key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static size_t root_place(const struct refverify_entry *entry, uint64_t root)
{
	size_t at = 0;

	/* Few: one for each tree that names the extent itself. */
	while (at < entry->root_count && entry->root[at].root < root)
		at++;
	return at;
}

struct refverify_ref *refverify_entry_ref(const struct refverify_entry *entry,
					  const struct refverify_ref *key)
{
	size_t at = ref_place(entry, key);

	return at < entry->ref_count && !compare_refs(&entry->ref[at], key) ? &entry->ref[at] :
									      NULL;
}

struct refverify_root *refverify_entry_root(const struct refverify_entry *entry, uint64_t root)
{
	size_t at = root_place(entry, root);

	return at < entry->root_count && entry->root[at].root == root ? &entry->root[at] : NULL;
}

/* Most extents have one reference: room for one first, then twice as much each time. */
static void *room_for_one(void *array, size_t count, size_t *capacity, size_t bytes)
{
	size_t larger = *capacity ? *capacity * 2 : 1;

	if (count < *capacity)
		return array;
	array = alloc_resize(array, larger, bytes);
	if (array)
		*capacity = larger;
	return array;
}

int refverify_entry_reserve(struct refverify_entry *entry)
{
	struct refverify_ref *ref =
		room_for_one(entry->ref, entry->ref_count, &entry->ref_capacity, sizeof(*ref));
	struct refverify_root *root;

	if (!ref)
		return -ENOMEM;
	entry->ref = ref;
	root = room_for_one(entry->root, entry->root_count, &entry->root_capacity, sizeof(*root));
	if (!root)
		return -ENOMEM;
	entry->root = root;
	return 0;
}

static void root_add(struct refverify_entry *entry, uint64_t root, uint64_t count)
{
	size_t at = root_place(entry, root);

	if (at == entry->root_count || entry->root[at].root != root) {
		memmove(&entry->root[at + 1], &entry->root[at],
			(entry->root_count - at) * sizeof(*entry->root));
		entry->root[at] = (struct refverify_root){ .root = root };
		entry->root_count++;
	}
	entry->root[at].count += count;
}

void refverify_entry_ref_add(struct refverify_entry *entry, const struct refverify_ref *ref)
{
	size_t at = ref_place(entry, ref);

	if (at < entry->ref_count && !compare_refs(&entry->ref[at], ref)) {
		entry->ref[at].count += ref->count;
	} else {
		memmove(&entry->ref[at + 1], &entry->ref[at],
			(entry->ref_count - at) * sizeof(*entry->ref));
		entry->ref[at] = *ref;
		entry->ref_count++;
	}
	entry->refs += ref->count;
	if (!ref->parent)
		root_add(entry, ref->root, ref->count);
}

static void root_drop(struct refverify_entry *entry, uint64_t root)
{
	struct refverify_root *found = refverify_entry_root(entry, root);
	size_t behind;

	if (!found || --found->count)
		return;
	entry->root_count--;
	behind = entry->root_count - (size_t)(found - entry->root);
	memmove(found, found + 1, behind * sizeof(*found));
}

void refverify_entry_ref_drop(struct refverify_entry *entry, struct refverify_ref *ref)
{
	size_t behind;

	entry->refs--;
	if (!ref->parent)
		root_drop(entry, ref->root);
	if (--ref->count)
		return;
	entry->ref_count--;
	behind = entry->ref_count - (size_t)(ref - entry->ref);
	memmove(ref, ref + 1, behind * sizeof(*ref));
	if (entry->ref_count)
		return;
	/* Freed for long, as a rule: all that is left is the history. */
	alloc_free(entry->ref);
	alloc_free(entry->root);
	entry->ref = NULL;
	entry->root = NULL;
	entry->ref_capacity = 0;
	entry->root_capacity = 0;
	entry->root_count = 0;
}
