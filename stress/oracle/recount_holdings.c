/* SPDX-License-Identifier: MIT */
/* What each root has: its whole tree, however much of it others share. */
#include "stress/oracle/recount_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

static int hold(struct recount *recount, uint64_t root, uint64_t bytenr, uint64_t bytes,
		bool metadata)
{
	struct recount_holding *holdings = array_grow(recount->holdings, recount->holding_count, 1,
						      &recount->holding_capacity,
						      sizeof(*holdings));

	if (!holdings)
		return -ENOMEM;
	recount->holdings = holdings;
	holdings[recount->holding_count++] = (struct recount_holding){
		.root = root, .bytenr = bytenr, .bytes = bytes, .count = 1, .metadata = metadata
	};
	return 0;
}

/* Recursion ends: what was found sound has children one level lower. */
static int read_node(struct recount *recount, uint64_t root, const struct buffer *node)
{
	int ret = hold(recount, root, node->bytenr, recount->forest->node_bytes, true);
	uint32_t slot;

	for (slot = 0; !ret && slot < node_count(node->data); slot++) {
		const struct recount_block *child;
		uint64_t bytenr;
		uint64_t bytes;

		if (!node->level) {
			if (recount_node_extent(node->data, slot, &bytenr, &bytes))
				ret = hold(recount, root, bytenr, bytes, false);
			continue;
		}
		bytenr = format_le64(&node_pointer(node->data, slot)->blockptr);
		child = recount_blocks_find(&recount->blocks, bytenr);
		if (child && child->sound && child->buffer->level < node->level)
			ret = read_node(recount, root, child->buffer);
	}
	return ret;
}

int recount_holdings_read(struct recount *recount, uint64_t root, const struct buffer *node)
{
	return read_node(recount, root, node);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_root(const void *a, const void *b)
{
	const struct recount_holding *left = a;
	const struct recount_holding *right = b;
	int order = compare_numbers(left->root, right->root);

	return order ? order : compare_numbers(left->bytenr, right->bytenr);
}

static int by_extent(const void *a, const void *b)
{
	const struct recount_holding *left = a;
	const struct recount_holding *right = b;
	int order = compare_numbers(left->bytenr, right->bytenr);

	return order ? order : compare_numbers(left->root, right->root);
}

static int by_id(const void *a, const void *b)
{
	return compare_numbers(((const struct recount_root *)a)->root,
			       ((const struct recount_root *)b)->root);
}

static int by_number(const void *a, const void *b)
{
	return compare_numbers(*(const uint64_t *)a, *(const uint64_t *)b);
}

static void add_up(struct recount *recount)
{
	struct recount_holding *holdings = recount->holdings;
	size_t kept = 0;
	size_t at;

	for (at = 1; at < recount->holding_count; at++) {
		if (!by_root(&holdings[kept], &holdings[at]))
			holdings[kept].count += holdings[at].count;
		else
			holdings[++kept] = holdings[at];
	}
	if (recount->holding_count)
		recount->holding_count = kept + 1;
}

static struct recount_root *root_of(const struct recount *recount, uint64_t id)
{
	const struct recount_root key = { .root = id };

	return bsearch(&key, recount->roots, recount->root_count, sizeof(key), by_id);
}

/* One extent of one root, alone or not. */
static void count_bytes(const struct recount *recount, const struct recount_holding *holding,
			bool alone)
{
	struct recount_root *root = root_of(recount, holding->root);
	uint64_t data = holding->metadata ? 0 : holding->bytes;

	root->rfer += holding->bytes;
	root->data_rfer += data;
	root->excl += alone ? holding->bytes : 0;
	root->data_excl += alone ? data : 0;
}

static int gather_sizes(struct recount *recount, uint64_t *sizes, size_t count)
{
	size_t at;

	qsort(sizes, count, sizeof(*sizes), by_number);
	recount->sizes = alloc_array(count, sizeof(*recount->sizes));
	if (!recount->sizes)
		return -ENOMEM;
	for (at = 0; at < count; at++) {
		if (!at || sizes[at - 1] != sizes[at])
			recount->sizes[recount->size_count++] =
				(struct recount_size){ .bytes = sizes[at] };
		recount->sizes[recount->size_count - 1].count++;
	}
	return 0;
}

/* `holdings` by extent. */
static int count_extents(struct recount *recount, const struct recount_holding *holdings)
{
	uint64_t *sizes = alloc_array(recount->holding_count, sizeof(*sizes));
	size_t size_count = 0;
	size_t first = 0;
	size_t at;
	int ret = 0;

	if (!sizes)
		return -ENOMEM;
	while (first < recount->holding_count) {
		size_t end = first + 1;

		while (end < recount->holding_count &&
		       holdings[end].bytenr == holdings[first].bytenr)
			end++;
		for (at = first; at < end; at++)
			count_bytes(recount, &holdings[at], end - first == 1);
		if (!holdings[first].metadata)
			sizes[size_count++] = holdings[first].bytes;
		first = end;
	}
	if (size_count)
		ret = gather_sizes(recount, sizes, size_count);
	alloc_free(sizes);
	return ret;
}

int recount_holdings_finish(struct recount *recount)
{
	size_t count = recount->holding_count;
	int ret;

	if (!count)
		return 0;
	qsort(recount->roots, recount->root_count, sizeof(*recount->roots), by_id);
	qsort(recount->holdings, count, sizeof(*recount->holdings), by_root);
	add_up(recount);
	qsort(recount->holdings, recount->holding_count, sizeof(*recount->holdings), by_extent);
	ret = count_extents(recount, recount->holdings);
	qsort(recount->holdings, recount->holding_count, sizeof(*recount->holdings), by_root);
	return ret;
}
