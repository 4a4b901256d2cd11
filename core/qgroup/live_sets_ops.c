// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/qgroup/live_sets_impl.h"

#define BUFFER_INSIDE 32U

/* Room for a tuple that is being made. */
struct ops_buffer {
	uint32_t *at;
	uint32_t few[BUFFER_INSIDE];
};

static inline int buffer_begin(struct ops_buffer *buffer, uint32_t count)
{
	buffer->at = buffer->few;
	if (count > BUFFER_INSIDE)
		buffer->at = alloc_array(count, sizeof(*buffer->at));
	return buffer->at ? 0 : -ENOMEM;
}

static inline void buffer_end(struct ops_buffer *buffer)
{
	if (buffer->at != buffer->few)
		alloc_free(buffer->at);
}

bool live_sets_has(const struct live_sets *sets, uint32_t id, uint32_t element)
{
	const struct live_set *set = live_sets_slot(sets, id);
	const uint32_t *boundaries = live_sets_tuple(set);
	uint32_t at = live_sets_lower(sets, boundaries, set->count, element);

	at += at < set->count && boundaries[at] == element;
	return at % 2;
}

/*
 * Flips the boundaries at the element and at the one behind it, which stand side by side if at all.
 */
int live_sets_toggle(struct live_sets *sets, uint32_t id, uint32_t element, uint32_t *out)
{
	const struct live_set *set = live_sets_slot(sets, id);
	const uint32_t *old = live_sets_tuple(set);
	uint32_t next = lineage_next(sets->lineage, element);
	uint32_t low = live_sets_lower(sets, old, set->count, element);
	uint32_t high = low;
	uint32_t count = low;
	struct live_sets_key key;
	struct ops_buffer buffer;
	int ret = buffer_begin(&buffer, set->count + 2);

	if (ret)
		return ret;
	assert(next != LINEAGE_NONE);
	memcpy(buffer.at, old, low * sizeof(*old));
	if (high < set->count && old[high] == element)
		high++;
	else
		buffer.at[count++] = element;
	if (high < set->count && old[high] == next)
		high++;
	else
		buffer.at[count++] = next;
	memcpy(buffer.at + count, old + high, (set->count - high) * sizeof(*old));
	key.boundaries = buffer.at;
	key.count = count + set->count - high;
	key.hash = set->hash ^ live_sets_hash(element) ^ live_sets_hash(next);
	ret = live_sets_intern(sets, &key, out);
	buffer_end(&buffer);
	return ret;
}

void live_sets_toggle_prefetch(const struct live_sets *sets, uint32_t id, uint32_t element)
{
	uint32_t hash = live_sets_slot(sets, id)->hash ^ live_sets_hash(element) ^
			live_sets_hash(lineage_next(sets->lineage, element));

	__builtin_prefetch(&sets->buckets[hash & sets->mask]);
}

/* The roots that at least so many of the two have. */
static int sets_combine(struct live_sets *sets, const struct live_set *a, const struct live_set *b,
			unsigned least, uint32_t *out)
{
	const uint32_t *of_a = live_sets_tuple(a);
	const uint32_t *of_b = live_sets_tuple(b);
	struct live_sets_key key = { 0 };
	struct ops_buffer buffer;
	uint32_t at_a = 0;
	uint32_t at_b = 0;
	int ret = buffer_begin(&buffer, a->count + b->count);

	if (ret)
		return ret;
	while (at_a < a->count || at_b < b->count) {
		bool take_a =
			at_b == b->count ||
			(at_a < a->count && !lineage_before(sets->lineage, of_b[at_b], of_a[at_a]));
		bool take_b = !take_a || (at_b < b->count && of_a[at_a] == of_b[at_b]);
		uint32_t boundary = take_a ? of_a[at_a] : of_b[at_b];

		at_a += take_a;
		at_b += take_b;
		/* An odd number of boundaries so far: inside. */
		if ((at_a % 2 + at_b % 2 >= least) == key.count % 2)
			continue;
		buffer.at[key.count++] = boundary;
		key.hash ^= live_sets_hash(boundary);
	}
	key.boundaries = buffer.at;
	ret = live_sets_intern(sets, &key, out);
	buffer_end(&buffer);
	return ret;
}

int live_sets_join(struct live_sets *sets, uint32_t a, uint32_t b, uint32_t *out)
{
	*out = a == LIVE_SET_EMPTY ? b : a;
	if (a == b || a == LIVE_SET_EMPTY || b == LIVE_SET_EMPTY)
		return 0;
	return sets_combine(sets, live_sets_slot(sets, a), live_sets_slot(sets, b), 1, out);
}

int live_sets_meet(struct live_sets *sets, uint32_t a, uint32_t b, uint32_t *out)
{
	*out = a == LIVE_SET_EMPTY ? a : b;
	if (a == b || a == LIVE_SET_EMPTY || b == LIVE_SET_EMPTY)
		return 0;
	return sets_combine(sets, live_sets_slot(sets, a), live_sets_slot(sets, b), 2, out);
}
