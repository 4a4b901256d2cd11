/* SPDX-License-Identifier: MIT */
/* Radix sort of 8-byte items by the bits in which they differ. */
#include "core/delayed/batch_impl.h"

#define SORT_FEW 24U       /* by insertion */
#define SORT_CACHED 32768U /* items that are sorted in the cache, from the lowest digit */
#define SORT_DIGIT_MAX 11U
#define SORT_MORE_BITS 8U  /* than the number of items has: few are equal in so many */
#define SORT_SPLIT_BITS 8U /* of the highest digit, by which more than that are split */

static void sort_insert(uint64_t *items, size_t count)
{
	size_t at;

	for (at = 1; at < count; at++) {
		uint64_t item = items[at];
		size_t to = at;

		for (; to && items[to - 1] > item; to--)
			items[to] = items[to - 1];
		items[to] = item;
	}
}

static uint64_t sort_varying(const uint64_t *items, size_t count)
{
	uint64_t first = items[0];
	uint64_t varying = 0;
	size_t at;

	for (at = 1; at < count; at++)
		varying |= items[at] ^ first;
	return varying;
}

/* Puts items to where the counts of their digits say. */
static void sort_pass(const uint64_t *from, uint64_t *to, size_t count, unsigned shift,
		      unsigned bits)
{
	uint32_t begin[1U << SORT_DIGIT_MAX];
	uint64_t mask = (UINT64_C(1) << bits) - 1;
	uint32_t sum = 0;
	size_t at;

	memset(begin, 0, sizeof(begin[0]) << bits);
	for (at = 0; at < count; at++)
		begin[from[at] >> shift & mask]++;
	for (at = 0; at <= mask; at++) {
		uint32_t here = begin[at];

		begin[at] = sum;
		sum += here;
	}
	for (at = 0; at < count; at++) {
		uint64_t item = from[at];

		to[begin[item >> shift & mask]++] = item;
	}
}

static uint64_t *sort_cached(uint64_t *items, uint64_t *other, size_t count, uint64_t varying)
{
	unsigned digit = batch_bits(count);
	unsigned passes;

	digit = digit < 6 ? 6 : digit > SORT_DIGIT_MAX ? SORT_DIGIT_MAX : digit;
	passes = ((unsigned)__builtin_popcountll(varying) + digit - 1) / digit;
	if (passes)
		digit = ((unsigned)__builtin_popcountll(varying) + passes - 1) / passes;
	while (varying) {
		unsigned shift = (unsigned)__builtin_ctzll(varying);
		uint64_t *swap = items;
		unsigned bits = batch_bits(varying >> shift);

		bits = bits < digit ? bits : digit;
		sort_pass(items, other, count, shift, bits);
		varying &= ~(((UINT64_C(1) << bits) - 1) << shift);
		items = other;
		other = swap;
	}
	return items;
}

/* Recursion is as deep as there are digits: each takes the highest that varies. */
static uint64_t *sort_split(uint64_t *items, uint64_t *other, size_t count, uint64_t varying,
			    uint64_t mask)
{
	size_t ends[1U << SORT_SPLIT_BITS] = { 0 };
	unsigned high = batch_bits(varying);
	unsigned shift = high > SORT_SPLIT_BITS ? high - SORT_SPLIT_BITS : 0;
	uint64_t digits = (1U << SORT_SPLIT_BITS) - 1;
	size_t sum = 0;
	size_t at;

	for (at = 0; at < count; at++)
		ends[items[at] >> shift & digits]++;
	for (at = 0; at <= digits; at++) {
		size_t here = ends[at];

		ends[at] = sum;
		sum += here;
	}
	for (at = 0; at < count; at++)
		other[ends[items[at] >> shift & digits]++] = items[at];
	for (at = 0, sum = 0; at <= digits; sum = ends[at], at++) {
		size_t here = ends[at] - sum;
		const uint64_t *sorted = batch_sort_items(other + sum, items + sum, here, mask);

		if (sorted != other + sum)
			memcpy(other + sum, sorted, here * sizeof(*other));
	}
	return other;
}

/*
 * What differs in more bits than it takes to tell most apart is sorted by so many of the highest;
 * what is equal in them is sorted by the others then, most of it a few items at a time.
 */
static uint64_t *sort_highest(uint64_t *items, uint64_t *other, size_t count, uint64_t varying,
			      uint64_t mask)
{
	unsigned bits = batch_bits(count) + SORT_MORE_BITS;
	uint64_t highest = varying;
	uint64_t *to;
	size_t begin;
	size_t end;

	while ((unsigned)__builtin_popcountll(highest) > bits)
		highest &= highest - 1;
	to = sort_cached(items, other, count, highest);
	if (highest == varying)
		return to;
	other = to == items ? other : items;
	items = to;
	for (begin = 0; begin < count; begin = end) {
		const uint64_t *sorted;

		for (end = begin + 1; end < count && !((items[begin] ^ items[end]) & highest);
		     end++)
			;
		if (end == begin + 1)
			continue;
		sorted = batch_sort_items(items + begin, other + begin, end - begin, mask);
		if (sorted != items + begin)
			memcpy(items + begin, sorted, (end - begin) * sizeof(*items));
	}
	return items;
}

uint64_t *batch_sort_items(uint64_t *items, uint64_t *other, size_t count, uint64_t mask)
{
	uint64_t varying;

	if (count <= SORT_FEW) {
		sort_insert(items, count);
		return items;
	}
	varying = sort_varying(items, count) & mask;
	if (count <= SORT_CACHED || !varying)
		return sort_highest(items, other, count, varying, mask);
	return sort_split(items, other, count, varying, mask);
}
