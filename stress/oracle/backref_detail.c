/* SPDX-License-Identifier: MIT */
#include "stress/oracle/backref_detail.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

int backref_detail_add(struct detail_list *list, const struct reference *reference, uint64_t stored,
		       uint64_t implied)
{
	struct detailed_reference *references =
		array_grow(list->references, list->count, 1, &list->capacity, sizeof(*references));

	if (!references)
		return -ENOMEM;
	list->references = references;
	list->references[list->count++] =
		(struct detailed_reference){ *reference, stored, implied };
	return 0;
}

static int compare_details(const void *a, const void *b)
{
	return reference_compare(&((const struct detailed_reference *)a)->reference,
				 &((const struct detailed_reference *)b)->reference);
}

/* All lists in one, sorted, each reference once. */
static int gather(struct detail_list *lists, unsigned count, struct detail_list *all)
{
	size_t kept = 0;
	size_t at;
	unsigned list;

	for (list = 0; list < count; list++)
		all->capacity += lists[list].count;
	all->references = alloc_array(all->capacity, sizeof(*all->references));
	if (!all->references)
		return -ENOMEM;
	for (list = 0; list < count; list++) {
		if (lists[list].count)
			memcpy(all->references + all->count, lists[list].references,
			       lists[list].count * sizeof(*all->references));
		all->count += lists[list].count;
	}
	qsort(all->references, all->count, sizeof(*all->references), compare_details);
	for (at = 0; at < all->count; at++) {
		struct detailed_reference *next = &all->references[at];

		if (kept && !compare_details(&all->references[kept - 1], next)) {
			all->references[kept - 1].stored += next->stored;
			all->references[kept - 1].implied += next->implied;
		} else {
			all->references[kept++] = *next;
		}
	}
	all->count = kept;
	return 0;
}

static bool is_data(const struct reference *reference)
{
	return reference->type == BTRFS_EXTENT_DATA_REF_KEY ||
	       reference->type == BTRFS_SHARED_DATA_REF_KEY;
}

/*
 * One that only the extent tree has, of the same sort and number as one that only
 * trees have, is the same reference with another owner. Returns the partner of
 * `implied` among those of its extent, or NULL.
 */
static struct detailed_reference *find_partner(const struct detailed_reference *implied,
					       struct detailed_reference *first,
					       const struct detailed_reference *end)
{
	for (; first < end; first++)
		if (!first->implied && first->stored == implied->implied &&
		    is_data(&first->reference) == is_data(&implied->reference))
			return first;
	return NULL;
}

static int report_owner(struct findings *findings, struct detailed_reference *implied,
			struct detailed_reference *stored)
{
	char has[REFERENCE_TEXT_BYTES];
	char needs[REFERENCE_TEXT_BYTES];
	int ret = findings_add(findings, BACKREF_OWNER, implied->reference.bytenr,
			       "has a reference of %s; it should be of %s",
			       reference_text(&stored->reference, has),
			       reference_text(&implied->reference, needs));

	/* Both are said. */
	stored->stored = 0;
	implied->implied = 0;
	return ret;
}

static int report_reference(struct findings *findings, const struct detailed_reference *detail)
{
	char text[REFERENCE_TEXT_BYTES];
	enum backref_kind kind = !detail->stored  ? BACKREF_MISSING :
				 !detail->implied ? BACKREF_EXTRA :
						    BACKREF_COUNT;

	if (detail->stored == detail->implied)
		return 0;
	return findings_add(findings, kind, detail->reference.bytenr,
			    "%s: stored %" PRIu64 " times, implied %" PRIu64 " times",
			    reference_text(&detail->reference, text), detail->stored,
			    detail->implied);
}

/* The references of one extent. */
static int report_extent(struct findings *findings, struct detailed_reference *first,
			 struct detailed_reference *end)
{
	struct detailed_reference *at;
	int ret = 0;

	for (at = first; !ret && at < end; at++) {
		struct detailed_reference *partner = at->stored ? NULL :
								  find_partner(at, first, end);

		if (partner)
			ret = report_owner(findings, at, partner);
	}
	for (at = first; !ret && at < end; at++)
		ret = report_reference(findings, at);
	return ret;
}

static int report_sums(const struct extent_map *map, struct findings *findings)
{
	size_t at;
	int ret = 0;

	for (at = 0; !ret && at < map->count; at++) {
		const struct mapped_extent *extent = &map->extents[at];
		/* Relaxed: no worker runs any more. */
		uint64_t counted = order_load_relaxed(&extent->counted);

		if (extent->refs != counted)
			ret = findings_add(findings, BACKREF_COUNT, extent->bytenr,
					   "extent item says %" PRIu64
					   " references, and has %" PRIu64,
					   extent->refs, counted);
		else if (!counted)
			ret = findings_add(findings, BACKREF_EXTRA, extent->bytenr,
					   "extent item without any reference");
	}
	return ret;
}

int backref_detail_report(struct detail_list *lists, unsigned count, const struct extent_map *map,
			  struct findings *findings)
{
	struct detail_list all = { 0 };
	unsigned list;
	size_t at = 0;
	int ret = gather(lists, count, &all);

	while (!ret && at < all.count) {
		size_t end = at + 1;

		while (end < all.count &&
		       all.references[end].reference.bytenr == all.references[at].reference.bytenr)
			end++;
		ret = report_extent(findings, &all.references[at], &all.references[end]);
		at = end;
	}
	if (!ret)
		ret = report_sums(map, findings);
	for (list = 0; list < count; list++)
		alloc_free(lists[list].references);
	alloc_free(all.references);
	return ret;
}
