/* SPDX-License-Identifier: MIT */
/* The table of extents that a transaction changed: one lock, as the kernel has it. */
#include <string.h>

#include "core/base/alloc.h"
#include "core/qgroup/live_extent_impl.h"

#define RECORD_BUCKETS 1024U /* to begin with; a power of two */

static struct live_extent_record **bucket_of(const struct live_extent *engine, uint64_t bytenr)
{
	uint64_t hash = bytenr / RS_DELTA_UNIT * UINT64_C(0x9e3779b97f4a7c15);

	return &engine->buckets[(size_t)(hash >> 32) & engine->mask];
}

static struct live_extent_record *find_locked(const struct live_extent *engine, uint64_t bytenr)
{
	struct live_extent_record *record = engine->buckets ? *bucket_of(engine, bytenr) : NULL;

	while (record && record->bytenr != bytenr)
		record = record->chain;
	return record;
}

/* False: no memory, and there are no buckets. Where there are, it goes on with those. */
static bool grow_locked(struct live_extent *engine)
{
	size_t count = engine->buckets ? (engine->mask + 1) * 2 : RECORD_BUCKETS;
	struct live_extent_record **buckets;
	struct live_extent_record *record;

	if (engine->buckets && engine->record_count <= engine->mask)
		return true;
	buckets = alloc_zeroed(count, sizeof(*buckets));
	if (!buckets)
		return engine->buckets != NULL;
	alloc_free(engine->buckets);
	engine->buckets = buckets;
	engine->mask = count - 1;
	for (record = engine->records; record; record = record->next) {
		struct live_extent_record **bucket = bucket_of(engine, record->bytenr);

		record->chain = *bucket;
		*bucket = record;
	}
	return true;
}

static struct live_extent_record *find_or_insert_locked(struct live_extent *engine,
							struct live_extent_record *made)
{
	struct live_extent_record *record = find_locked(engine, made->bytenr);
	struct live_extent_record **bucket;

	if (record)
		return record;
	if (!grow_locked(engine))
		return NULL;
	bucket = bucket_of(engine, made->bytenr);
	made->chain = *bucket;
	*bucket = made;
	made->next = engine->records;
	engine->records = made;
	engine->record_count++;
	return made;
}

struct live_extent_record *live_extent_record_add(struct live_extent *engine, uint64_t bytenr,
						  uint64_t bytes, bool metadata, bool *fresh)
{
	struct live_extent_record *made;
	struct live_extent_record *record;

	*fresh = false;
	lock_acquire(&engine->lock);
	record = find_locked(engine, bytenr);
	lock_release(&engine->lock);
	if (record)
		return record;
	made = alloc_zeroed(1, sizeof(*made));
	if (!made)
		return NULL;
	made->bytenr = bytenr;
	made->bytes = bytes;
	made->metadata = metadata;
	lock_acquire(&engine->lock);
	record = find_or_insert_locked(engine, made);
	lock_release(&engine->lock);
	*fresh = record == made;
	if (!*fresh)
		alloc_free(made);
	return record;
}

void live_extent_finish(struct live_extent *engine)
{
	while (engine->records) {
		struct live_extent_record *record = engine->records;

		engine->records = record->next;
		alloc_free(record->old);
		alloc_free(record->now);
		alloc_free(record);
	}
	if (engine->buckets)
		memset(engine->buckets, 0,
		       (engine->mask + 1) * sizeof(struct live_extent_record *));
	engine->record_count = 0;
	engine->gone_count = 0;
	engine->lost = 0;
}
