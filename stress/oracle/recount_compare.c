/* SPDX-License-Identifier: MIT */
/* What trees imply against what the forest keeps: extents, buffers, space. */
#include "stress/oracle/recount_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "core/base/alloc.h"

#define REF_TEXT_BYTES 128

static const char *ref_text(const struct recount_ref *ref, char *text)
{
	switch (ref->type) {
	case RS_DELTA_TREE_BLOCK_REF:
		snprintf(text, REF_TEXT_BYTES,
			 "tree block of tree %" PRIu64 ", level %" PRIu64 ", %u times", ref->from,
			 ref->owner, ref->count);
		break;
	case RS_DELTA_SHARED_BLOCK_REF:
		snprintf(text, REF_TEXT_BYTES, "tree block below %" PRIu64 ", %u times", ref->from,
			 ref->count);
		break;
	case RS_DELTA_SHARED_DATA_REF:
		snprintf(text, REF_TEXT_BYTES, "data of the leaf %" PRIu64 ", %u times", ref->from,
			 ref->count);
		break;
	default:
		snprintf(text, REF_TEXT_BYTES,
			 "data of tree %" PRIu64 ", inode %" PRIu64 ", offset %" PRIu64
			 ", %u times",
			 ref->from, ref->owner, ref->offset, ref->count);
	}
	return text;
}

static bool is_block_ref(const struct recount_ref *ref)
{
	return ref->type == RS_DELTA_TREE_BLOCK_REF || ref->type == RS_DELTA_SHARED_BLOCK_REF;
}

/* Walks along what trees imply while the index is walked: both ascend by address. */
struct comparing {
	struct recount *recount;
	size_t at;    /* the next reference of the trees */
	uint64_t end; /* of the extents before, in the index */
	int ret;
};

static void find_ref(struct comparing *comparing, enum recount_kind kind,
		     const struct recount_ref *ref)
{
	char text[REF_TEXT_BYTES];

	recount_find(comparing->recount, kind, ref->bytenr, "%s: %s",
		     kind == RECOUNT_MISSING ? "trees have it, the index not" :
					       "the index has it, trees do not",
		     ref_text(ref, text));
}

/* The end of the references of the same extent. */
static size_t group_end(const struct recount_refs *refs, size_t at)
{
	uint64_t bytenr = refs->refs[at].bytenr;

	while (at < refs->count && refs->refs[at].bytenr == bytenr)
		at++;
	return at;
}

/* Extents that the trees have before `bytenr`: the index has none of them. */
static void pass_missing(struct comparing *comparing, uint64_t bytenr, bool all)
{
	const struct recount_refs *refs = &comparing->recount->refs;

	while (comparing->at < refs->count && (all || refs->refs[comparing->at].bytenr < bytenr)) {
		const struct recount_ref *ref = &refs->refs[comparing->at++];

		find_ref(comparing, RECOUNT_MISSING, ref);
	}
}

/* Length and sort, as each who points to it has them. */
static void compare_extent(struct comparing *comparing, const struct extent *extent, size_t end)
{
	const struct recount_refs *refs = &comparing->recount->refs;
	size_t at;

	for (at = comparing->at; at < end; at++) {
		const struct recount_ref *ref = &refs->refs[at];
		char text[REF_TEXT_BYTES];

		if (ref->bytes == extent->bytes && is_block_ref(ref) == extent->metadata)
			continue;
		recount_find(comparing->recount, RECOUNT_LENGTH, extent->bytenr,
			     "the index says %s of %" PRIu64 " bytes, a tree %" PRIu64 " bytes: %s",
			     extent->metadata ? "a tree block" : "data", extent->bytes, ref->bytes,
			     ref_text(ref, text));
		return;
	}
}

/* Both sides of one extent, each ascending: the trees' up to `end`, and the index's own. */
static void compare_refs(struct comparing *comparing, const struct recount_refs *index, size_t end)
{
	const struct recount_refs *trees = &comparing->recount->refs;
	size_t at = comparing->at;
	size_t other = 0;

	while (at < end || other < index->count) {
		int order;

		if (at == end)
			order = 1;
		else if (other == index->count)
			order = -1;
		else
			order = recount_refs_compare(&trees->refs[at], &index->refs[other]);
		if (order < 0) {
			find_ref(comparing, RECOUNT_MISSING, &trees->refs[at++]);
		} else if (order > 0) {
			find_ref(comparing, RECOUNT_EXTRA, &index->refs[other++]);
		} else {
			char text[REF_TEXT_BYTES];

			if (trees->refs[at].count != index->refs[other].count)
				recount_find(comparing->recount, RECOUNT_COUNT,
					     trees->refs[at].bytenr, "the index has %u: %s",
					     index->refs[other].count,
					     ref_text(&trees->refs[at], text));
			at++;
			other++;
		}
	}
}

/* Of the extent tree and others that a forest does not hold, and nobody changes. */
static bool is_foreign(const struct recount_ref *ref)
{
	bool keyed = ref->type == RS_DELTA_TREE_BLOCK_REF || ref->type == RS_DELTA_EXTENT_DATA_REF;

	return keyed && !format_is_subvolume(ref->from);
}

/* Those that trees of the forest can have. */
static int read_extent(const struct extent *extent, struct recount_refs *refs, uint64_t *sum)
{
	uint32_t at;

	*sum = 0;
	for (at = 0; at < extent_ref_count(extent); at++) {
		const struct extent_ref from = extent_ref_at(extent, at);
		const struct recount_ref ref = {
			.bytenr = extent->bytenr,
			.bytes = extent->bytes,
			.from = from.root_or_parent,
			.owner = from.owner,
			.offset = from.offset,
			.count = from.count,
			.type = from.type,
		};

		*sum += ref.count;
		if (!is_foreign(&ref) && recount_refs_add(refs, &ref))
			return -ENOMEM;
	}
	recount_refs_merge(refs);
	return 0;
}

static void check_place(struct comparing *comparing, const struct extent *extent, bool foreign)
{
	struct recount *recount = comparing->recount;

	if (extent->bytenr < comparing->end)
		recount_find(recount, RECOUNT_OVERLAP, extent->bytenr,
			     "the extent before it ends at %" PRIu64, comparing->end);
	if (extent->bytenr + extent->bytes > comparing->end)
		comparing->end = extent->bytenr + extent->bytes;
	/* Of foreign ones, some lie in system chunks, which are none of the forest's space. */
	if (!foreign && !space_is_used(&recount->forest->space, extent->bytenr, extent->bytes))
		recount_find(recount, RECOUNT_SPACE, extent->bytenr,
			     "%" PRIu64 " bytes of an extent are, in part or all, free space",
			     extent->bytes);
}

static int on_extent(void *argument, const struct extent *extent)
{
	struct comparing *comparing = argument;
	struct recount *recount = comparing->recount;
	struct recount_refs index = { 0 };
	size_t end;
	uint64_t sum;

	recount->report.extents++;
	pass_missing(comparing, extent->bytenr, false);
	if (comparing->at < recount->refs.count &&
	    recount->refs.refs[comparing->at].bytenr == extent->bytenr)
		end = group_end(&recount->refs, comparing->at);
	else
		end = comparing->at;
	comparing->ret = read_extent(extent, &index, &sum);
	if (!comparing->ret) {
		bool foreign = extent_ref_count(extent) && !index.count;

		recount->report.foreign += foreign;
		check_place(comparing, extent, foreign);
		if (sum != extent->refs)
			recount_find(recount, RECOUNT_COUNT, extent->bytenr,
				     "the index says %" PRIu64 " references, and has %" PRIu64,
				     extent->refs, sum);
		compare_extent(comparing, extent, end);
		compare_refs(comparing, &index, end);
	}
	comparing->at = end;
	alloc_free(index.refs);
	return comparing->ret;
}

int recount_compare_index(struct recount *recount)
{
	struct comparing comparing = { .recount = recount };

	(void)extent_index_each(recount->forest->extents, on_extent, &comparing);
	if (comparing.ret)
		return comparing.ret;
	pass_missing(&comparing, 0, true);
	return 0;
}

static int on_buffer(void *argument, struct buffer *buffer)
{
	struct recount *recount = argument;
	const struct recount_block *block = recount_blocks_find(&recount->blocks, buffer->bytenr);
	uint64_t word = buffer_word_approx(buffer);
	uint64_t pointers = block ? block->pointers : 0;

	if (!pointers)
		recount_find(recount, RECOUNT_LOST, buffer->bytenr,
			     "no tree leads to the block of tree %" PRIu64 ", level %u, and it "
			     "counts %" PRIu64 " references",
			     format_le64(&node_header(buffer->data)->owner), buffer->level,
			     buffer_refs(word));
	else if (buffer_refs(word) != pointers || word & BUFFER_LOCK)
		recount_find(recount, RECOUNT_WORD, buffer->bytenr,
			     "the block counts %" PRIu64 " references%s, and there are %" PRIu64,
			     buffer_refs(word), word & BUFFER_LOCK ? " (and is locked)" : "",
			     pointers);
	return 0;
}

int recount_compare_buffers(struct recount *recount)
{
	return buffer_map_each(&recount->forest->buffers, on_buffer, recount);
}
