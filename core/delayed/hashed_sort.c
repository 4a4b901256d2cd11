/* SPDX-License-Identifier: MIT */
#include "core/delayed/hashed_sort.h"

#include <string.h>

/* Below so many the counts of a pass cost more than comparing. */
#define HASHED_FEW 256U

/* Sorted by insertion, then merged. */
#define HASHED_BLOCK 8U

/* One line for each value is open in a pass: 256 of them fit the first cache and its TLB. */
#define HASHED_DIGIT_BITS 8U
#define HASHED_DIGITS (1U << HASHED_DIGIT_BITS)

static void hashed_insertion(struct hashed_due *due, size_t count)
{
	size_t at;

	for (at = 1; at < count; at++) {
		struct hashed_due moved = due[at];
		size_t to = at;

		for (; to && delta_order(due[to - 1].delta, moved.delta) > 0; to--)
			due[to] = due[to - 1];
		due[to] = moved;
	}
}

/* The first `left` and the ones behind them are in order each. */
static void hashed_merge(const struct hashed_due *from, size_t left, size_t count,
			 struct hashed_due *to)
{
	size_t low = 0;
	size_t high = left;

	while (low < left && high < count) {
		bool second = delta_order(from[low].delta, from[high].delta) > 0;

		*to++ = second ? from[high++] : from[low++];
	}
	memcpy(to, from + low, (left - low) * sizeof(*to));
	memcpy(to + (left - low), from + high, (count - high) * sizeof(*to));
}

static size_t hashed_min(size_t a, size_t b)
{
	return a < b ? a : b;
}

void hashed_sort_extent(struct hashed_due *due, struct hashed_due *scratch, size_t count)
{
	struct hashed_due *from = due;
	struct hashed_due *to = scratch;
	size_t width;
	size_t at;

	for (at = 0; at < count; at += HASHED_BLOCK)
		hashed_insertion(due + at, hashed_min(HASHED_BLOCK, count - at));
	for (width = HASHED_BLOCK; width < count; width *= 2) {
		struct hashed_due *swap = from;

		for (at = 0; at < count; at += 2 * width)
			hashed_merge(from + at, hashed_min(width, count - at),
				     hashed_min(2 * width, count - at), to + at);
		from = to;
		to = swap;
	}
	if (from != due)
		memcpy(due, from, count * sizeof(*due));
}

/* By the digit that begins at bit `shift`; equal ones keep their order. */
static void hashed_pass(const struct hashed_due *from, struct hashed_due *to, size_t count,
			unsigned shift)
{
	size_t next[HASHED_DIGITS] = { 0 };
	size_t begin = 0;
	size_t at;

	for (at = 0; at < count; at++)
		next[(from[at].bytenr >> shift) % HASHED_DIGITS]++;
	for (at = 0; at < HASHED_DIGITS; at++) {
		size_t here = next[at];

		next[at] = begin;
		begin += here;
	}
	for (at = 0; at < count; at++)
		to[next[(from[at].bytenr >> shift) % HASHED_DIGITS]++] = from[at];
}

struct hashed_due *hashed_sort(struct hashed_due *due, struct hashed_due *scratch, size_t count)
{
	uint64_t differ = 0; /* bits that are not the same in all */
	size_t at;

	if (count < HASHED_FEW) {
		hashed_sort_extent(due, scratch, count);
		return due;
	}
	for (at = 1; at < count; at++)
		differ |= due[at].bytenr ^ due[0].bytenr;
	while (differ) {
		unsigned shift = (unsigned)__builtin_ctzll(differ);
		struct hashed_due *swap = due;

		hashed_pass(due, scratch, count, shift);
		due = scratch;
		scratch = swap;
		differ &= shift + HASHED_DIGIT_BITS < 64 ?
				  UINT64_MAX << (shift + HASHED_DIGIT_BITS) :
				  0;
	}
	return due;
}
